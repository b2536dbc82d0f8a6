import type { CorrelationFigures } from '@firebreak/shared/sigma/correlate/groups.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Signal } from '../triage/index.ts'

export type { Feed, UndetectedBatch } from './feed.ts'
export type { AccountingFinding } from './accounting-signals.ts'

export interface RuleStatus {
  readonly id: string
  readonly title: string
  readonly level: string
  /** Relative to the folder of rules. */
  readonly file: string
  readonly techniques: readonly string[]
  /** Of events that it looks at. */
  readonly classes: readonly EventClass[]
  readonly state: 'live' | 'refused'
  /** Why it does not run. */
  readonly why: string | null
  /** Since the rules were loaded. */
  readonly matches: number
  readonly lastMatchAt: string | null
  /** Of a correlation: what it remembers and what it could not count; `null` for a rule, or while it does not run. */
  readonly correlation: CorrelationFigures | null
}

export interface RulesHealth {
  readonly ready: boolean
  readonly live: number
  readonly refused: number
  /** Of the live ones, those that run in their last good version. */
  readonly kept: number
  /** Why it is not ready, or why the rules in force are older than the files. */
  readonly why?: string
}

export interface Detect {
  /** Loads the rules, takes what a crash has left, then follows `batch.committed`. */
  start(): Promise<void>
  /** After the batch at hand. */
  stop(): Promise<void>
  /** The door for what other detectors find. Durable when it resolves; the same signal again changes nothing. */
  raise(signal: Signal): Promise<void>
  /** Reads and checks the rules anew; when nothing of it would run, the ones before stay in force and the health says why. */
  reloadRules(): Promise<RulesHealth>
  rulesHealth(): RulesHealth
  ruleList(): readonly RuleStatus[]
  /** Resolves when nothing that was committed before the call is undetected. */
  idle(): Promise<void>
}

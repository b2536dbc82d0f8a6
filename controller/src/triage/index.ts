import type { AgentId, AlertId, EventId, IncidentId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { Tx } from '../store/state/state-store.ts'

export const SEVERITIES = ['informational', 'low', 'medium', 'high', 'critical'] as const
export type Severity = (typeof SEVERITIES)[number]

/** One named contribution to a confidence, in log-odds; they add up (`confidence = 100 / (1 + e^-sum)`). */
export interface ConfidencePart {
  readonly name: string
  readonly logOdds: number
  readonly why: string
}

/** What alerts have in common when they belong together. */
export interface Entities {
  readonly processes: readonly string[]
  readonly users: readonly string[]
  readonly hashes: readonly string[]
  readonly addresses: readonly string[]
  readonly files: readonly string[]
}

/** What one detector said about one event. */
export interface Signal {
  readonly agentId: AgentId
  readonly detector: 'sigma' | 'agent' | 'accounting' | 'indicator'
  readonly ruleId: string
  readonly ruleTitle: string
  readonly ruleSha256: string
  readonly level: Severity
  /** How proved the rule is, as its author says; `null` when the rule does not say. */
  readonly ruleStatus: RuleStatus | null
  readonly techniques: readonly string[]
  readonly tactics: readonly string[]
  readonly eventId: EventId
  readonly eventTime: string
  readonly event: Readonly<Record<string, unknown>>
}

export const RULE_STATUSES = ['stable', 'test', 'experimental', 'deprecated', 'unsupported'] as const
export type RuleStatus = (typeof RULE_STATUSES)[number]

export const ROUTES = ['act', 'ask', 'log'] as const
export type Route = (typeof ROUTES)[number]

/** A person's judgement. benign: the rule was right about what happened, and it was meant to happen. */
export const VERDICTS = ['true_positive', 'false_positive', 'benign'] as const
export type Verdict = (typeof VERDICTS)[number]

export interface TriageOutcome {
  /** Signals that were not there before. */
  readonly signals: number
  readonly alerts: readonly AlertId[]
  readonly incidents: readonly IncidentId[]
}

/** How common something was before; `known: false` says why that cannot be told. */
export type Prevalence =
  | { readonly known: true; readonly field: string; readonly events: number; readonly hosts: number }
  | { readonly known: false; readonly why: string }

/** What was looked up outside of the transaction: the store's writer never waits for the telemetry store. */
export interface Findings {
  readonly prevalence: ReadonlyMap<string, Prevalence>
  /** Enrolled hosts. */
  readonly fleet: number
}

export type VerdictRefusal = 'not_found' | 'merged'
export interface Judged {
  readonly kind: 'incident' | 'alert'
  readonly id: string
}

export interface Triage {
  /** Before the transaction. Never throws for a slow or broken telemetry store, never takes longer than configured. */
  prepare(signals: readonly Signal[]): Promise<Findings>
  /** In the transaction: signals that are new become alerts and incidents. The same signals again change nothing. */
  take(tx: Tx, signals: readonly Signal[], findings: Findings): Promise<TriageOutcome>
  /** After the commit: tells the other rooms. */
  announce(outcome: TriageOutcome): void
  /** What this rule alone raised about this host has its explanation: its open alerts are closed as benign. */
  explain(agentId: AgentId, ruleId: string, why: string): Promise<void>
  /** `actor`: user:<name>. A verdict on an incident closes it and its alerts. */
  setVerdict(judged: Judged, verdict: Verdict, actor: string, reason: string): Promise<Result<void, VerdictRefusal>>
}

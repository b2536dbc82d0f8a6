import type { AgentId, AlertId, EventId } from '@firebreak/shared/ids.ts'

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
  readonly detector: 'sigma' | 'agent' | 'accounting'
  readonly ruleId: string
  readonly ruleTitle: string
  readonly ruleSha256: string
  readonly level: Severity
  readonly techniques: readonly string[]
  readonly tactics: readonly string[]
  readonly eventId: EventId
  readonly eventTime: string
  readonly event: Readonly<Record<string, unknown>>
}

export interface TriageOutcome {
  readonly alerts: readonly AlertId[]
}

import type { AgentId } from '@firebreak/shared/ids.ts'

/** What the controller itself notices about a host: not what the host tells, but that its story does not add up. */
export const ALARM_KINDS = [
  'unaccounted_events',
  'events_damaged',
  'host_cloned',
  'host_reverted',
  'missing_receipt',
  'broken_receipt_chain',
] as const
export type AlarmKind = (typeof ALARM_KINDS)[number]

export interface Alarm {
  readonly kind: AlarmKind
  readonly agentId: AgentId
  /** What makes it one occasion: the same key again is the same alarm. */
  readonly key: string
  readonly atMs: number
  /** In words, with the numbers. */
  readonly message: string
}

/** Hands an alarm to detection; durable when it resolves. */
export type RaiseAlarm = (alarm: Alarm) => Promise<void>

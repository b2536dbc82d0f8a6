import type { Event } from '@firebreak/shared/events/event.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'

/** An event with the numbers that make it one of a kind. */
export interface StoredEvent {
  readonly agentId: AgentId
  readonly epoch: string
  readonly class: string
  readonly seq: number
  readonly event: Event
}

/** An event on its way into the store: its JSON text as the agent wrote it, checked, in UTF-8. */
export interface EventLine {
  readonly agentId: string
  readonly epoch: string
  readonly class: string
  readonly seq: number
  /** ISO 8601 UTC, ms. */
  readonly ingestedAt: string
  readonly json: Uint8Array
}

export interface EventQuery {
  readonly agentId?: string
  readonly class?: string
  /** ISO 8601, inclusive. */
  readonly since?: string
  readonly until?: string
  /** ECS field → value; equal, without case. `*` stands for any text. */
  readonly fields?: Readonly<Record<string, string>>
  /** Anywhere in the command line, path or message, without case. */
  readonly text?: string
  readonly limit: number
}

/** Events, searched by analysts and enrichment. chDB in the process here, a ClickHouse cluster beyond one machine. */
export interface TelemetryStore {
  /** Durable when it resolves. The same `token` again stores nothing twice, whatever happened in between. */
  insert(token: string, events: readonly EventLine[]): Promise<void>
  search(query: EventQuery): Promise<readonly Event[]>
  /** Events of one stream, for the equation of `streams`. */
  count(agentId?: string): Promise<number>
  /** How often a command line, an executable or an address was seen on how many hosts before a time. */
  prevalence(field: string, value: string, before: string): Promise<{ readonly events: number; readonly hosts: number }>
  healthy(): boolean
  close(): Promise<void>
}

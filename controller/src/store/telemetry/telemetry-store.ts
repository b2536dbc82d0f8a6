import type { Event } from '@firebreak/shared/events/event.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { SeenKind } from './event-table.ts'

/** An event with the numbers that make it one of a kind. */
export interface StoredEvent {
  readonly agentId: AgentId
  readonly epoch: string
  readonly class: string
  readonly seq: number
  readonly event: Event
}

/** An event on its way into the store, or several of one stream: their JSON text as the agent wrote it, checked, in UTF-8. */
export interface EventLine {
  readonly agentId: string
  readonly epoch: string
  readonly class: string
  /** Of the first. */
  readonly seq: number
  /** Of each, where the text is several lines, each but the last with a line end. */
  readonly seqs?: readonly number[]
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
  /** Anywhere in the command line, path, domain or message, without case. */
  readonly text?: string
  readonly limit: number
}

/** Values of `{name:Type}` in a statement. Never put into its text. */
export type Params = Readonly<Record<string, string | number | readonly string[] | readonly number[]>>

/** SQL that our own code wrote, with what came from outside only in `params`. */
export interface Statement {
  readonly sql: string
  readonly params: Params
}

/** Past one of them a query ends with a code and nothing else suffers. */
export interface QueryLimits {
  /** ms; at most 300,000. Default 30,000. */
  readonly timeoutMs?: number
  /** Rows of the answer; past it the query is refused, so that nothing is cut silently. Default 10,000. */
  readonly rows?: number
  /** Bytes of the answer, uncompressed. Default 64 MiB. */
  readonly bytes?: number
  /** Bytes of memory while it runs; at most 1,000,000,000, which is the default. */
  readonly memoryBytes?: number
}

/** `too_long`: past its time; `too_much`: past memory, rows or bytes; `cancelled`: by its signal. All are the caller's to narrow or to report. */
export type QueryRefusal = 'too_long' | 'too_much' | 'cancelled'

/** Where an event stands in the order of a search; a page goes on after it. */
export interface EventKey {
  /** ms since 1970. */
  readonly timeMs: number
  readonly agentId: string
  readonly epoch: string
  readonly class: string
  readonly seq: number
}

/** Events that a condition holds for, in the order of time. */
export interface EventSearch {
  /** One condition over the table of events, as `Conditions` writes it; all events when left out. */
  readonly where?: Statement
  readonly order: 'newest' | 'oldest'
  /** Only what comes after it in that order. */
  readonly after?: EventKey
  /** A hint, ms since 1970: nothing that is looked for comes before it in that order. Changes how fast, never what is found. */
  readonly nearMs?: number
  readonly limit: number
}

export interface FoundEvent {
  readonly key: EventKey
  /** With host.id, event.id and event.ingested as the controller knows them. */
  readonly event: Event
}

export interface Seen {
  readonly kind: SeenKind
  readonly value: string
  /** ISO 8601, ms, by the clocks of the hosts. */
  readonly first: string
  readonly last: string
  readonly events: number
  /** Within about 1 % above a few thousand. */
  readonly hosts: number
}

export const EXPORT_FORMATS = ['ndjson', 'parquet'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface ClassStats {
  /** YYYY-MM-DD of arrival. */
  readonly day: string
  readonly class: string
  readonly events: number
  /** On disk, compressed, with indexes. */
  readonly bytes: number
  readonly parts: number
}

export interface TelemetryStats {
  readonly events: number
  readonly bytes: number
  readonly parts: number
  readonly days: readonly ClassStats[]
  /** Class → the first day that is still whole; what came before has expired and is explained by that, not lost. */
  readonly retainedSince: Readonly<Record<string, string>>
}

export interface RetentionPolicy {
  /** Class → days of arrival that are kept; a class that is not named is kept. */
  readonly days: Readonly<Record<string, number>>
  /** Of the whole store on disk. Past it the oldest day of the least important class goes first. */
  readonly maxBytes: number
}

export interface Expired {
  readonly day: string
  readonly class: string
  readonly events: number
  readonly bytes: number
  readonly why: 'age' | 'size'
}

export interface Frozen {
  readonly tables: readonly FrozenTable[]
  release(): Promise<void>
}

export interface FrozenTable {
  readonly table: FrozenName
  /** Folders of parts lie in it. */
  readonly dir: string
}
export const FROZEN_TABLES = ['events', 'seen'] as const
type FrozenName = (typeof FROZEN_TABLES)[number]

export interface TelemetryHealth {
  readonly ok: boolean
  /** In words, when not ok. */
  readonly why?: string
  /** Parts of the fullest partition, and how many the engine takes before it slows inserts down. */
  readonly parts: { readonly most: number; readonly slowedAt: number }
}

/** Events, searched by analysts and enrichment. chDB in the process here, a ClickHouse cluster beyond one machine. */
export interface TelemetryStore {
  /** Durable when it resolves. The same `token` again stores nothing twice, whatever happened in between. */
  insert(token: string, events: readonly EventLine[]): Promise<void>
  search(query: EventQuery): Promise<readonly Event[]>
  /** Events in the order of time, a page. */
  find(
    search: EventSearch,
    limits?: QueryLimits,
    signal?: AbortSignal,
  ): Promise<Result<readonly FoundEvent[], QueryRefusal>>
  /** Rows of any other statement that reads. 64-bit numbers come as numbers: round or cast in SQL what is larger than 2^53. */
  select<Row>(
    statement: Statement,
    limits?: QueryLimits,
    signal?: AbortSignal,
  ): Promise<Result<readonly Row[], QueryRefusal>>
  /**
   * All events that a condition holds for, as a file: NDJSON (one ECS event a line, as `find` gives it) or Parquet (a column a field,
   * under its ECS name, and the whole event as `event`). Pulled; nothing is held in memory but a piece. Fails with a Fault `export_failed`.
   */
  export(
    search: Omit<EventSearch, 'after' | 'limit'> & { readonly limit?: number },
    format: ExportFormat,
    signal?: AbortSignal,
  ): AsyncIterable<Uint8Array>
  /** Events of one stream, for the equation of `streams`. */
  count(agentId?: string): Promise<number>
  /** How often a command line, an executable or an address was seen on how many hosts before a time. */
  prevalence(field: string, value: string, before: string): Promise<{ readonly events: number; readonly hosts: number }>
  /** First and last time over everything that ever came, also what has expired; `undefined` when it was never seen. */
  seen(kind: SeenKind, value: string): Promise<Seen | undefined>
  stats(): Promise<TelemetryStats>
  /** Lets go what the policy says; tells what went. */
  retain(policy: RetentionPolicy, nowMs: number): Promise<readonly Expired[]>
  /** Nothing is taken in while `work` runs; `lastToken` is that of the last block that was. */
  hold<T>(work: (lastToken: string | undefined) => Promise<T>): Promise<T>
  /**
   * Everything that is stored now, as files that do not change any more, in no time and without space of their own (hard links).
   * Fault `backup_elsewhere` where the files are not on this machine.
   */
  freeze(name: string): Promise<Frozen>
  health(): Promise<TelemetryHealth>
  healthy(): boolean
  close(): Promise<void>
}

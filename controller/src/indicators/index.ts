import type { Observable, ObservableType } from '@firebreak/shared/indicators/observable.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { Signal } from '../triage/index.ts'
import type { Tx } from '../store/state/state-store.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'

/** Traffic Light Protocol 2.0 (FIRST, August 2022). */
export const TLPS = ['clear', 'green', 'amber', 'amber+strict', 'red'] as const
export type Tlp = (typeof TLPS)[number]

export const DEFAULT_CONFIDENCE = 50

/** As a loader found it; the value in its one spelling. */
export interface NewIndicator extends Observable {
  /** ISO 8601 UTC; since it was taken in when left out. */
  readonly validFrom?: string
  /** For ever when left out. */
  readonly validUntil?: string
  /** 0..100; `DEFAULT_CONFIDENCE` when its source does not say. */
  readonly confidence?: number
  readonly tlp?: Tlp
  readonly labels?: readonly string[]
  readonly description?: string
  /** What the source calls it. */
  readonly reference?: string
}

/** A pattern that cannot be matched on the stream, kept so that nothing is silently skipped. */
export interface KeptPattern {
  readonly reference: string
  readonly pattern: string
  readonly code: string
  readonly why: string
}

/** Entries of a feed that were not taken, by reason. */
export interface RefusedEntries {
  readonly code: string
  readonly entries: number
  readonly examples: readonly string[]
}

/** A whole feed, read and checked. */
export interface FeedContent {
  readonly indicators: readonly NewIndicator[]
  readonly patterns: readonly KeptPattern[]
  readonly refused: readonly RefusedEntries[]
  /** References that the source has taken back. */
  readonly revoked: readonly string[]
}

export interface IndicatorView extends Observable {
  readonly n: number
  readonly source: string
  readonly validFrom: string
  readonly validUntil: string | null
  readonly confidence: number
  readonly tlp: Tlp | null
  readonly labels: readonly string[]
  readonly description: string | null
  readonly reference: string | null
  readonly sightings: number
  readonly lastSightedAt: string | null
  readonly createdAt: string
  readonly updatedAt: string
  readonly expired: boolean
  /** The warning list that it is on: it never raises more than an informational alert. */
  readonly warning: string | null
}

export type ImportRefusal = 'too_many_indicators' | 'import_empty' | 'bad_indicator'

export interface ImportPart {
  readonly source: string
  readonly importId: string
  readonly indicators: readonly NewIndicator[]
  readonly patterns: readonly KeptPattern[]
}
export interface ImportEnd {
  readonly source: string
  readonly importId: string
  /** What the source said before and does not say any more is over. */
  readonly replace: boolean
  readonly revoked: readonly string[]
}
export interface ImportCounts {
  readonly indicators: number
  readonly added: number
  readonly expired: number
}

export interface HuntView {
  readonly id: string
  readonly state: 'waiting' | 'running' | 'done' | 'failed'
  readonly indicators: number
  readonly lookedAt: number
  readonly hits: number
  readonly skipped: number
  readonly why: string | null
  readonly createdAt: string
  readonly updatedAt: string
}

export interface IndicatorQuery {
  readonly type?: ObservableType
  readonly source?: string
  readonly expired?: boolean
  readonly before?: number
  readonly limit: number
}

export const FEED_KINDS = ['list', 'csv', 'stix', 'misp', 'misp-feed', 'taxii'] as const
export type FeedKind = (typeof FEED_KINDS)[number]

export interface FeedOptions {
  readonly confidence?: number
  readonly tlp?: Tlp
  readonly labels?: readonly string[]
  /** Days that an entry stays in force when the feed does not say. */
  readonly valid_days?: number
  /** Of CSV: what it is → name of the column. */
  readonly columns?: Readonly<Record<string, string>>
  /** Of TAXII: id or title. */
  readonly collection?: string
  /** Name of the file that holds the secret: a token, or `user:password`. */
  readonly secret_file?: string
  readonly auth?: 'bearer' | 'basic'
}
export interface NewFeed {
  readonly name: string
  readonly kind: FeedKind
  readonly url: string
  readonly everyS: number
  readonly options: FeedOptions
}
export interface FeedView extends NewFeed {
  readonly createdBy: string
  readonly createdAt: string
  readonly lastRunAt: string | null
  readonly lastOkAt: string | null
  readonly lastError: string | null
  readonly lastCounts: (ImportCounts & { readonly patterns: number; readonly refused: number }) | null
}

export interface Feeds {
  start(): void
  stop(): Promise<void>
  list(): Promise<readonly FeedView[]>
  add(feed: NewFeed, actor: string): Promise<Result<FeedView, 'feed_exists' | 'too_many_feeds'>>
  remove(name: string, actor: string): Promise<boolean>
  /** Fetches it in its turn; what became of it is in the list. */
  begin(name: string): void
  /** Waits for its turn and for the fetch. */
  fetch(name: string): Promise<Result<FeedView, 'not_found'>>
}

export interface Indicators {
  readonly feeds: Feeds
  /** Reads what is in force into memory, then hunts in the background for what is new. */
  start(): Promise<void>
  stop(): Promise<void>
  /** Durable and matched on when it resolves. */
  take(part: ImportPart): Promise<Result<number, ImportRefusal>>
  complete(end: ImportEnd, actor: string): Promise<Result<ImportCounts, ImportRefusal>>
  expire(n: number, actor: string, reason: string): Promise<Result<IndicatorView, 'not_found'>>
  list(query: IndicatorQuery): Promise<readonly IndicatorView[]>
  get(n: number): Promise<IndicatorView | undefined>
  /** What is known of a value: itself, the blocks and the names that it lies in. */
  lookup(
    written: string,
  ): Promise<Result<{ readonly value: Observable; readonly indicators: readonly IndicatorView[] }, 'bad_indicator'>>
  patterns(limit: number): Promise<readonly (KeptPattern & { readonly source: string })[]>
  hunts(limit: number): Promise<readonly HuntView[]>
  counts(): Promise<readonly { readonly source: string; readonly type: string; readonly indicators: number }[]>
  /** What the indicators say of events; of those that a warning list has, too. */
  signalsOf(events: readonly StoredEvent[]): Promise<readonly Signal[]>
  /** In the transaction that stores the signals. */
  stored(tx: Tx, signals: readonly Signal[]): Promise<void>
}

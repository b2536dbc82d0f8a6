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

export interface Indicators {
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

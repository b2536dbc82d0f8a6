/** What a type of correlation counts, and when its condition holds. One file a type; the table is here. */
import type { CorrelationType } from '../rule.ts'
import { eventCount } from './event-count.ts'
import type { Fields } from './fields.ts'
import type { CorrelationSource, ResolvedCorrelation } from './resolve.ts'
import { temporal } from './temporal.ts'
import { temporalOrdered } from './temporal-ordered.ts'
import { valueAvg } from './value-avg.ts'
import { valueCount } from './value-count.ts'
import { valuePercentile } from './value-percentile.ts'
import { valueSum } from './value-sum.ts'
import type { Entry, Stretch } from './window.ts'

/** Kept up to date with the entries of a stretch as they come and go. */
export interface Tally {
  clear(): void
  add(entry: Entry): void
  remove(entry: Entry): void
  /** What was measured, where the condition holds in the stretch that was added; `undefined` where it does not. */
  holds(stretch: Stretch): number | undefined
}

export interface Measure {
  /** What is kept of an event; `undefined`: it has nothing that could be counted and is left out. */
  valueOf(fields: Fields, source: CorrelationSource): { readonly value: Entry['value'] } | undefined
  tally(): Tally
}

const MEASURES: Readonly<Record<CorrelationType, (resolved: ResolvedCorrelation) => Measure>> = {
  event_count: eventCount,
  value_count: valueCount,
  temporal,
  temporal_ordered: temporalOrdered,
  value_sum: valueSum,
  value_avg: valueAvg,
  value_percentile: valuePercentile,
}

export function measureOf(resolved: ResolvedCorrelation): Measure {
  return MEASURES[resolved.correlation.type](resolved)
}

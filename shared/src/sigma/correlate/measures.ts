/** One file a type of correlation; this is their table. */
import type { CorrelationType } from '../rule.ts'
import { eventCount } from './event-count.ts'
import type { Measure } from './measure.ts'
import type { ResolvedCorrelation } from './resolve.ts'
import { temporal } from './temporal.ts'
import { temporalOrdered } from './temporal-ordered.ts'
import { valueAvg } from './value-avg.ts'
import { valueCount } from './value-count.ts'
import { valuePercentile } from './value-percentile.ts'
import { valueSum } from './value-sum.ts'

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

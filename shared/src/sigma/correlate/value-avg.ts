/** The average of a number. */
import { within } from './bounds.ts'
import type { Measure } from './measure.ts'
import { numericValue, RunningSum } from './numbers.ts'
import type { ResolvedCorrelation } from './resolve.ts'

export function valueAvg({ correlation: { bounds, fields } }: ResolvedCorrelation): Measure {
  return {
    valueOf: numericValue(fields),
    tally: () => new RunningSum((sum, count) => (within(bounds, sum / count) ? sum / count : undefined)),
  }
}

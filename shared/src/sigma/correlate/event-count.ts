/** How many events. */
import { within } from './bounds.ts'
import type { Measure } from './measure.ts'
import type { ResolvedCorrelation } from './resolve.ts'

export function eventCount({ correlation: { bounds } }: ResolvedCorrelation): Measure {
  return {
    valueOf: () => ({ value: undefined }),
    tally: () => ({
      clear() {},
      add() {},
      remove() {},
      holds({ first, last }) {
        const count = last - first + 1
        return within(bounds, count) ? count : undefined
      },
    }),
  }
}

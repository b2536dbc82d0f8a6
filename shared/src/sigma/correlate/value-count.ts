/** How many different values; of several fields, how many different combinations. An event without one of them is not counted. */
import { within } from './bounds.ts'
import { fieldOf } from './fields.ts'
import type { Entry, Measure } from './measure.ts'
import type { ResolvedCorrelation } from './resolve.ts'

export function valueCount({ correlation: { bounds, fields: names } }: ResolvedCorrelation): Measure {
  return {
    valueOf(fields, source) {
      const values = names.map((name) => fieldOf(fields, name, source))
      if (values.includes(undefined)) return undefined
      return { value: values.length === 1 ? String(values[0]) : JSON.stringify(values.map(String)) }
    },
    tally() {
      const counts = new Map<Entry['value'], number>()
      return {
        clear: () => counts.clear(),
        add: ({ value }) => counts.set(value, (counts.get(value) ?? 0) + 1),
        remove({ value }) {
          const count = counts.get(value) ?? 0
          if (count > 1) counts.set(value, count - 1)
          else counts.delete(value)
        },
        holds: () => (within(bounds, counts.size) ? counts.size : undefined),
      }
    },
  }
}

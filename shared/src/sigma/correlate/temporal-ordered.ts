/**
 * As temporal, and in the order written: what counts is the longest row of different rules, each after the one before, that the event
 * which came now is part of. Events of one time have no order that could be wrong.
 */
import type { Entry, Measure, Stretch, Tally } from './measure.ts'
import type { ResolvedCorrelation } from './resolve.ts'
import { completeness, Seen } from './temporal.ts'

export function temporalOrdered(resolved: ResolvedCorrelation): Measure {
  const complete = completeness(resolved)
  const rules = resolved.sources.length
  const { bounds, expression } = resolved.correlation
  const wantsAll = bounds.length === 0 && expression === null
  return {
    valueOf: () => ({ value: undefined }),
    tally(): Tally {
      const seen = new Seen(rules, () => undefined)
      return {
        clear: () => seen.clear(),
        add: (entry) => seen.add(entry),
        remove: (entry) => seen.remove(entry),
        holds(stretch) {
          // Most windows end here: one of the rules was not seen at all, or what came last is not the end of the row.
          if (wantsAll && (seen.different < rules || cannotEnd(stretch, rules))) return undefined
          const length = longestRow(stretch, rules)
          if (expression !== null && length < seen.different) return undefined
          return complete(seen, length) ? length : undefined
        },
      }
    },
  }
}

/** Nothing is later than what came now, nothing is as late, and it is not of the last rule. */
function cannotEnd({ entries, last, fresh }: Stretch, rules: number): boolean {
  const now = entries[fresh] as Entry
  return fresh === last && now.source !== rules - 1 && (entries[last - 1]?.time ?? -1) !== now.time
}

function longestRow({ entries, first, last, fresh }: Stretch, rules: number): number {
  /** For each rule, the longest row that ends with it; and the longest of those with what came now in it. */
  const any = new Uint16Array(rules)
  const withFresh = new Uint16Array(rules)
  let at = first
  while (at <= last) {
    let next = at + 1
    const { time } = entries[at] as Entry
    while (next <= last && (entries[next] as Entry).time === time) next++
    if (next - at === 1) extend(any, withFresh, entries[at] as Entry, at === fresh)
    else {
      // Of one time: in the order of the rules, what came now before the others of its rule.
      const group: number[] = []
      for (let index = at; index < next; index++) group.push(index)
      group.sort(
        (one, other) => (entries[one] as Entry).source - (entries[other] as Entry).source || (one === fresh ? -1 : 1),
      )
      for (const index of group) extend(any, withFresh, entries[index] as Entry, index === fresh)
    }
    at = next
  }
  return withFresh.reduce((most, length) => Math.max(most, length), 0)
}

function extend(any: Uint16Array, withFresh: Uint16Array, { source }: Entry, isFresh: boolean): void {
  const longest = longestBefore(any, source) + 1
  any[source] = Math.max(any[source] as number, longest)
  const row = isFresh ? longest : longestBefore(withFresh, source)
  const length = isFresh || row === 0 ? row : row + 1
  withFresh[source] = Math.max(withFresh[source] as number, length)
}

function longestBefore(lengths: Uint16Array, source: number): number {
  let longest = 0
  for (let rule = 0; rule < source; rule++) longest = Math.max(longest, lengths[rule] as number)
  return longest
}

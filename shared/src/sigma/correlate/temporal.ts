/** How many of the rules were seen, in any order; all of them where the condition does not say, or what its expression says. */
import type { Condition } from '../rule.ts'
import { within } from './bounds.ts'
import type { Entry, Measure, Tally } from './measure.ts'
import type { ResolvedCorrelation } from './resolve.ts'

export function temporal(resolved: ResolvedCorrelation): Measure {
  const complete = completeness(resolved)
  return {
    valueOf: () => ({ value: undefined }),
    tally: () =>
      new Seen(resolved.sources.length, (seen) => (complete(seen, seen.different) ? seen.different : undefined)),
  }
}

/** Whether what was seen is enough. `counted`: how many rules count as seen. */
export function completeness({ correlation, sources }: ResolvedCorrelation): (seen: Seen, counted: number) => boolean {
  const { expression, bounds } = correlation
  if (expression !== null) {
    const numbers = new Map(sources.map(({ written }, number) => [written, number]))
    return (seen) => expressionHolds(expression, (name) => seen.has(numbers.get(name) ?? -1))
  }
  if (bounds.length > 0) return (_seen, counted) => within(bounds, counted)
  return (_seen, counted) => counted === sources.length
}

/** Entries of each rule, counted. */
export class Seen implements Tally {
  readonly #counts: Uint32Array
  readonly #holds: (seen: Seen) => number | undefined
  #different = 0

  constructor(rules: number, holds: (seen: Seen) => number | undefined) {
    this.#counts = new Uint32Array(rules)
    this.#holds = holds
  }

  get different(): number {
    return this.#different
  }

  has(source: number): boolean {
    return (this.#counts[source] ?? 0) > 0
  }

  clear(): void {
    this.#counts.fill(0)
    this.#different = 0
  }

  add({ source }: Entry): void {
    const count = this.#counts[source] ?? 0
    if (count === 0) this.#different++
    this.#counts[source] = count + 1
  }

  remove({ source }: Entry): void {
    const count = this.#counts[source] ?? 0
    if (count === 1) this.#different--
    this.#counts[source] = count - 1
  }

  holds(): number | undefined {
    return this.#holds(this)
  }
}

function expressionHolds(condition: Condition, seen: (name: string) => boolean): boolean {
  switch (condition.kind) {
    case 'selection':
      return seen(condition.name)
    case 'not':
      return !expressionHolds(condition.of, seen)
    case 'and':
      return condition.of.every((part) => expressionHolds(part, seen))
    case 'or':
      return condition.of.some((part) => expressionHolds(part, seen))
    default:
      throw new Error('unhandled condition', { cause: condition satisfies never })
  }
}

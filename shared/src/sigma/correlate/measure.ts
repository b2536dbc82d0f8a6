/** What a type of correlation has to say: what it counts of an event, and when its condition holds. */
import type { Fields } from './fields.ts'
import type { CorrelationSource } from './resolve.ts'

export interface Entry {
  /** ms since 1970. */
  readonly time: number
  /** Which of the correlation's rules it is of, in the order written. */
  readonly source: number
  /** What the measure counts of it. */
  readonly value: string | number | undefined
  /** The event, in the words of whoever feeds the engine; of a correlation, several. */
  readonly refs: string | readonly string[]
}

/** A stretch of entries: `first` to `last`, both in it; `fresh` is the one that came now. */
export interface Stretch {
  readonly entries: readonly Entry[]
  readonly first: number
  readonly last: number
  readonly fresh: number
}

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

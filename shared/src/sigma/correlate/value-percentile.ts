/**
 * Numbers: the value below which `percentile` percent of them lie, between the two nearest in proportion; the median where the
 * condition names none. Other values have no order; as the specification's example has it (an image that makes up at most 1 % of all
 * process starts), what is compared is how many percent of the values are the one that came now.
 */
import { within } from './bounds.ts'
import { fieldOf, numberOf } from './fields.ts'
import type { Entry, Measure, Stretch, Tally } from './measure.ts'
import type { ResolvedCorrelation } from './resolve.ts'

const MEDIAN = 50

export function valuePercentile({ correlation: { bounds, fields: names, percentile } }: ResolvedCorrelation): Measure {
  const [name = ''] = names
  return {
    valueOf(fields, source) {
      const value = fieldOf(fields, name, source)
      if (value === undefined) return undefined
      const number = numberOf(value)
      if (number !== undefined) return { value: number }
      // A percentile was asked for, and this has none.
      return percentile === null ? { value } : undefined
    },
    tally: () => new Distribution((measured) => within(bounds, measured), percentile ?? MEDIAN),
  }
}

class Distribution implements Tally {
  /** Ascending. */
  #numbers: number[] = []
  readonly #texts = new Map<string, number>()
  readonly #holds: (measured: number) => boolean
  readonly #percentile: number

  constructor(holds: (measured: number) => boolean, percentile: number) {
    this.#holds = holds
    this.#percentile = percentile
  }

  clear(): void {
    this.#numbers = []
    this.#texts.clear()
  }

  add({ value }: Entry): void {
    if (typeof value === 'number') this.#numbers.splice(this.#placeOf(value), 0, value)
    else if (value !== undefined) this.#texts.set(value, (this.#texts.get(value) ?? 0) + 1)
  }

  remove({ value }: Entry): void {
    if (typeof value === 'number') this.#numbers.splice(this.#placeOf(value), 1)
    else if (value !== undefined) {
      const count = this.#texts.get(value) ?? 0
      if (count > 1) this.#texts.set(value, count - 1)
      else this.#texts.delete(value)
    }
  }

  holds({ entries, first, last, fresh }: Stretch): number | undefined {
    const { value } = entries[fresh] as Entry
    const measured =
      typeof value === 'number' ? this.#valueAt() : (100 * (this.#texts.get(value ?? '') ?? 0)) / (last - first + 1)
    return this.#holds(measured) ? measured : undefined
  }

  #valueAt(): number {
    const numbers = this.#numbers
    const rank = (this.#percentile / 100) * (numbers.length - 1)
    const below = numbers[Math.floor(rank)] as number
    const above = numbers[Math.ceil(rank)] as number
    return below + (above - below) * (rank - Math.floor(rank))
  }

  #placeOf(value: number): number {
    let low = 0
    let high = this.#numbers.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#numbers[middle] as number) < value) low = middle + 1
      else high = middle
    }
    return low
  }
}

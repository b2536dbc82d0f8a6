/** Reading the one number that sums and averages are made of, and a sum that stays exact while numbers come and go. */
import { fieldOf, numberOf } from './fields.ts'
import type { Entry, Measure, Stretch, Tally } from './measure.ts'

/** The first field; an event without a number in it is not counted. */
export function numericValue(names: readonly string[]): Measure['valueOf'] {
  const [name = ''] = names
  return (fields, source) => {
    const value = numberOf(fieldOf(fields, name, source))
    return value === undefined ? undefined : { value }
  }
}

export class RunningSum implements Tally {
  #sum = 0
  /** What rounding has taken from the sum (Neumaier, 1974). */
  #lost = 0
  #removed = 0
  readonly #check: (sum: number, count: number) => number | undefined

  constructor(check: (sum: number, count: number) => number | undefined) {
    this.#check = check
  }

  clear(): void {
    this.#sum = 0
    this.#lost = 0
    this.#removed = 0
  }

  add({ value }: Entry): void {
    this.#plus(Number(value))
  }

  remove({ value }: Entry): void {
    this.#plus(-Number(value))
    this.#removed++
  }

  #plus(number: number): void {
    const sum = this.#sum + number
    this.#lost += Math.abs(this.#sum) >= Math.abs(number) ? this.#sum - sum + number : number - sum + this.#sum
    this.#sum = sum
  }

  /** What an error leaves behind does not stay: it is added up anew as often as a whole window has passed. */
  holds({ entries, first, last }: Stretch): number | undefined {
    const count = last - first + 1
    if (this.#removed > count || !Number.isFinite(this.#sum + this.#lost)) {
      this.clear()
      for (let index = first; index <= last; index++) this.add(entries[index] as Entry)
    }
    return this.#check(this.#sum + this.#lost, count)
  }
}

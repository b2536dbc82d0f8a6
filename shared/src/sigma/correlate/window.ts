/**
 * The events of one group, in the order of their times. Those in the span that ends with the latest are tallied as they come and go;
 * older ones are kept for as long as a late event may still have to be counted with them.
 */
import type { Entry, Measure, Stretch, Tally } from './measure.ts'

export interface Span {
  readonly spanMs: number
  readonly latenessMs: number
  /** Kept entries at most. */
  readonly most: number
}

export interface Found extends Stretch {
  readonly measured: number
}

/** Windows with fewer entries are tallied anew each time: most groups never have more, and a tally of each would cost memory. */
const SMALL = 16

/** Links of two lists, so that the oldest window of a rule and of all rules is at hand. */
export class Window {
  readonly key: string
  touched = 0
  older: Window | undefined
  newer: Window | undefined
  olderOfAll: Window | undefined
  newerOfAll: Window | undefined
  readonly owner: { drop(window: Window): void }
  #entries: Entry[] = []
  /** The first that is kept; what is before it is free to go. */
  #head = 0
  /** The first in the span that ends with the latest. */
  #live = 0
  #tally: Tally | undefined

  constructor(key: string, owner: Window['owner']) {
    this.key = key
    this.owner = owner
  }

  get size(): number {
    return this.#entries.length - this.#head
  }

  /** Too late: nothing that it would have to be counted with is kept for certain. */
  isTooLate(time: number, { latenessMs }: Span): boolean {
    const latest = this.#entries.at(-1)
    return latest !== undefined && time < latest.time - latenessMs
  }

  /** Takes an entry and says in which stretch the condition holds with it, and how many live entries had to go for want of room. */
  take(entry: Entry, span: Span, measure: Measure, scratch: Tally): { found: Found | undefined; evicted: number } {
    const at = this.#insert(entry, span)
    const last = this.#entries.length - 1
    const evicted = this.#shrink(span)
    const shift = this.#compact()
    const fresh = at - shift
    if (fresh < this.#head) return { found: undefined, evicted }
    const found = at === last ? this.#current(fresh, measure, scratch) : this.#each(fresh, span, scratch)
    return { found, evicted }
  }

  #insert(entry: Entry, { spanMs, latenessMs }: Span): number {
    const entries = this.#entries
    const latest = entries.at(-1)
    if (latest === undefined) {
      // Most windows never hold another: a list that was pushed to keeps room for sixteen more.
      this.#entries = [entry]
      this.#tally?.add(entry)
      return 0
    }
    if (entry.time >= latest.time) {
      entries.push(entry)
      this.#tally?.add(entry)
      while ((entries[this.#live] as Entry).time < entry.time - spanMs) {
        this.#tally?.remove(entries[this.#live] as Entry)
        this.#live++
      }
      while ((entries[this.#head] as Entry).time < entry.time - spanMs - latenessMs) this.#head++
      return entries.length - 1
    }
    const at = behind(entries, entry.time, this.#head)
    entries.splice(at, 0, entry)
    if (entry.time >= latest.time - spanMs) this.#tally?.add(entry)
    else this.#live++
    return at
  }

  /** The oldest go first. Those that only waited for late events are no loss that is counted. */
  #shrink({ most }: Span): number {
    let evicted = 0
    while (this.size > most) {
      if (this.#head === this.#live) {
        this.#tally?.remove(this.#entries[this.#head] as Entry)
        this.#live++
        evicted++
      }
      this.#head++
    }
    return evicted
  }

  #compact(): number {
    if (this.#head <= SMALL || this.#head * 2 < this.#entries.length) return 0
    const shift = this.#head
    this.#entries = this.#entries.slice(shift)
    this.#live -= shift
    this.#head = 0
    return shift
  }

  #current(fresh: number, measure: Measure, scratch: Tally): Found | undefined {
    const stretch = { entries: this.#entries, first: this.#live, last: this.#entries.length - 1, fresh }
    if (stretch.last - stretch.first < SMALL) {
      this.#tally = undefined
      fill(scratch, stretch)
      return foundIn(scratch, stretch)
    }
    if (this.#tally === undefined) {
      this.#tally = measure.tally()
      fill(this.#tally, stretch)
    }
    return foundIn(this.#tally, stretch)
  }

  /** Every span with the late entry in it: that which it ends itself, and those that later entries end. The first that holds. */
  #each(fresh: number, { spanMs }: Span, scratch: Tally): Found | undefined {
    const entries = this.#entries
    const time = (entries[fresh] as Entry).time
    let first = fresh
    while (first > this.#head && (entries[first - 1] as Entry).time >= time - spanMs) first--
    scratch.clear()
    for (let index = first; index < fresh; index++) scratch.add(entries[index] as Entry)
    for (let last = fresh; last < entries.length; last++) {
      const end = (entries[last] as Entry).time
      if (end > time + spanMs) return undefined
      scratch.add(entries[last] as Entry)
      for (; (entries[first] as Entry).time < end - spanMs; first++) scratch.remove(entries[first] as Entry)
      // Entries of one time come together: the span ends with the last of them.
      if (entries[last + 1]?.time === end) continue
      const found = foundIn(scratch, { entries, first, last, fresh })
      if (found !== undefined) return found
    }
    return undefined
  }
}

function fill(tally: Tally, { entries, first, last }: Stretch): void {
  tally.clear()
  for (let index = first; index <= last; index++) tally.add(entries[index] as Entry)
}

function foundIn(tally: Tally, stretch: Stretch): Found | undefined {
  const measured = tally.holds(stretch)
  return measured === undefined ? undefined : { ...stretch, measured }
}

/** Where an entry of this time belongs: behind all that are not later. */
function behind(entries: readonly Entry[], time: number, from: number): number {
  let low = from
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((entries[middle] as Entry).time <= time) low = middle + 1
    else high = middle
  }
  return low
}

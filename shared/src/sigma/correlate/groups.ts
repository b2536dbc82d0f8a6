/** The windows of one correlation: one for each combination of values that it groups by. */
import { type Fields, fieldOf, type FieldValue } from './fields.ts'
import type { CorrelationLimits } from './limits.ts'
import type { Measure, Tally } from './measure.ts'
import { measureOf } from './measures.ts'
import type { CorrelationSource, ResolvedCorrelation } from './resolve.ts'
import { type Found, type Span, Window } from './window.ts'
import { OF_ALL, OF_RULE, WindowList } from './window-list.ts'

export interface CorrelationFigures {
  /** Open now. */
  readonly windows: number
  /** Kept now. */
  readonly events: number
  /** Since the start: groups and events that had to go for want of room. */
  readonly evictedWindows: number
  readonly evictedEvents: number
  /** Since the start: came too late to be counted. */
  readonly late: number
  /** Since the start: had nothing that could be counted, such as no number where one is added up. */
  readonly uncounted: number
  /** Since the start: how often the condition held. */
  readonly firings: number
}

/** What all correlations share. */
export interface Room {
  readonly all: WindowList
  windows: number
  events: number
}

export function emptyRoom(): Room {
  return { all: new WindowList(OF_ALL), windows: 0, events: 0 }
}

/** An event of one of the rules, as the engine passes it on. */
export interface Observed {
  /** ms since 1970. */
  readonly timeMs: number
  /** When it was received, ms; never goes back. 0: nobody knows, and nothing grows old by it. */
  readonly receivedMs: number
  readonly refs: string | readonly string[]
  readonly fields: Fields
}

export interface GroupFound {
  readonly found: Found
  /** In the order of `group-by`; `null`: the events have no such field. */
  readonly group: readonly (FieldValue | null)[]
}

export class Groups {
  readonly resolved: ResolvedCorrelation
  readonly #limits: CorrelationLimits
  readonly #room: Room
  readonly #measure: Measure
  readonly #scratch: Tally
  readonly #span: Span
  readonly #windows = new Map<string, Window>()
  readonly #byAge = new WindowList(OF_RULE)
  #events = 0
  #evictedWindows = 0
  #evictedEvents = 0
  #late = 0
  #uncounted = 0
  #firings = 0

  constructor(resolved: ResolvedCorrelation, limits: CorrelationLimits, room: Room) {
    this.resolved = resolved
    this.#limits = limits
    this.#room = room
    this.#measure = measureOf(resolved)
    this.#scratch = this.#measure.tally()
    this.#span = {
      spanMs: resolved.correlation.timespanMs,
      latenessMs: limits.latenessMs,
      most: limits.eventsPerWindow,
    }
  }

  take(source: CorrelationSource, number: number, observed: Observed): GroupFound | undefined {
    const { timeMs, receivedMs, refs, fields } = observed
    this.expire(receivedMs, 2)
    const counted = this.#measure.valueOf(fields, source)
    if (counted === undefined) {
      this.#uncounted++
      return undefined
    }
    const window = this.#windowOf(keyOf(this.resolved.correlation.groupBy, fields, source))
    if (window.isTooLate(timeMs, this.#span)) {
      this.#late++
      return undefined
    }
    window.touched = receivedMs
    const before = window.size
    const { found, evicted } = window.take(
      { time: timeMs, source: number, value: counted.value, refs },
      this.#span,
      this.#measure,
      this.#scratch,
    )
    this.#count(window.size - before)
    this.#evictedEvents += evicted
    this.#makeRoom(window)
    if (found === undefined) return undefined
    this.#firings++
    return { found, group: this.resolved.correlation.groupBy.map((name) => fieldOf(fields, name, source) ?? null) }
  }

  #windowOf(key: string): Window {
    const known = this.#windows.get(key)
    if (known !== undefined) {
      this.#byAge.touch(known)
      this.#room.all.touch(known)
      return known
    }
    const window = new Window(key, this)
    this.#windows.set(key, window)
    this.#byAge.append(window)
    this.#room.all.append(window)
    this.#room.windows++
    return window
  }

  #makeRoom(present: Window): void {
    while (this.#windows.size > this.#limits.windowsPerRule) this.#evictOldest(this.#byAge, present)
    while (this.#room.windows > this.#limits.windows) this.#evictOldest(this.#room.all, present)
    // The limit of one window is below that of all: there is always another one.
    while (this.#room.events > this.#limits.events && this.#room.windows > 1) this.#evictOldest(this.#room.all, present)
  }

  #evictOldest(list: WindowList, present: Window): void {
    const { oldest } = list
    if (oldest === undefined || oldest === present)
      throw new Error('a limit of correlations leaves no room for one event')
    ;(oldest.owner as Groups).#evict(oldest)
  }

  #evict(window: Window): void {
    this.#evictedWindows++
    this.#evictedEvents += window.size
    this.drop(window)
  }

  drop(window: Window): void {
    this.#windows.delete(window.key)
    this.#byAge.remove(window)
    this.#room.all.remove(window)
    this.#room.windows--
    this.#count(-window.size)
  }

  #count(events: number): void {
    this.#events += events
    this.#room.events += events
  }

  /** Forgets windows that nothing came to for so long that what comes would be too late, at most so many at a time. */
  expire(nowMs: number, most: number): void {
    const until = nowMs - this.#span.spanMs - this.#span.latenessMs
    for (let left = most; left > 0; left--) {
      const { oldest } = this.#byAge
      if (oldest === undefined || oldest.touched >= until) return
      this.drop(oldest)
    }
  }

  /** Gives up everything that it remembers. */
  clear(): void {
    for (const window of this.#windows.values()) this.drop(window)
  }

  figures(): CorrelationFigures {
    return {
      windows: this.#windows.size,
      events: this.#events,
      evictedWindows: this.#evictedWindows,
      evictedEvents: this.#evictedEvents,
      late: this.#late,
      uncounted: this.#uncounted,
      firings: this.#firings,
    }
  }
}

/** Lengths keep apart what would run together. Numbers and their texts are one group: sensors write the same id either way. */
function keyOf(names: readonly string[], fields: Fields, source: CorrelationSource): string {
  let key = ''
  for (const name of names) {
    const value = fieldOf(fields, name, source)
    if (value === undefined) key += '-'
    else {
      const text = String(value)
      key += `${text.length}:${text}`
    }
  }
  return key
}

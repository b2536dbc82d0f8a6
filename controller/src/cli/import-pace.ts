/** When which line of a recording is due: as far apart as it happened, a number of times faster, or all at once. */
import { InvalidArgumentError } from 'commander'

/** How many times faster than it happened; infinite: as fast as it goes. */
export type Pace = number

export function parsePace(text: string): Pace {
  if (text === 'max') return Number.POSITIVE_INFINITY
  if (text === 'original') return 1
  const times = Number(/^(\d{1,6}(?:\.\d{1,3})?)x$/.exec(text)?.[1] ?? Number.NaN)
  if (!(times > 0)) throw new InvalidArgumentError('A pace is original, max, or a number of times such as 10x.')
  return times
}

/** First and last time of a recording, ms. */
export interface Span {
  readonly firstMs: number
  readonly lastMs: number
}

/** Added to every time so that the recording ends when its replay does: at the original pace it then begins now. */
export function shiftToNow({ firstMs, lastMs }: Span, pace: Pace, nowMs: number): number {
  const replayMs = pace === Number.POSITIVE_INFINITY ? 0 : (lastMs - firstMs) / pace
  return Math.round(nowMs + replayMs - lastMs)
}

/** A line that is older than the one before it is due with that one: the order of the file stays. */
export class PaceClock {
  readonly #pace: Pace
  readonly #startedMs: number
  #firstMs: number | undefined
  #dueMs: number

  constructor(pace: Pace, nowMs: number) {
    this.#pace = pace
    this.#startedMs = nowMs
    this.#dueMs = nowMs
  }

  /** ms by the same clock as `nowMs`; `undefined` says that the line has no time of its own. */
  due(recordedMs: number | undefined): number {
    if (recordedMs === undefined || this.#pace === Number.POSITIVE_INFINITY) return this.#dueMs
    this.#firstMs ??= recordedMs
    this.#dueMs = Math.max(this.#dueMs, this.#startedMs + (recordedMs - this.#firstMs) / this.#pace)
    return this.#dueMs
  }
}

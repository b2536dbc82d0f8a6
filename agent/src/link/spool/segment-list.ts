/** The segments of a stream in the order of their numbers: which one holds a number, what they take, what lies in their gaps. */
import { numbersInGaps } from './gaps.ts'
import type { Segment } from './segment.ts'

export class SegmentList {
  readonly #segments: Segment[] = []
  #bytes = 0

  /** What all of them take on disk. */
  get bytes(): number {
    return this.#bytes
  }

  get all(): readonly Segment[] {
    return this.#segments
  }

  add(segment: Segment): void {
    const after = this.#segments.findIndex(({ first }) => first > segment.first)
    this.#segments.splice(after === -1 ? this.#segments.length : after, 0, segment)
    this.#bytes += segment.bytes
  }

  grow(segment: Segment, bytes: number): void {
    segment.bytes += bytes
    this.#bytes += bytes
  }

  forget(segment: Segment): void {
    const at = this.#segments.indexOf(segment)
    if (at === -1) return
    this.#segments.splice(at, 1)
    this.#bytes -= segment.bytes
  }

  holding(number: number): Segment | undefined {
    return this.#segments.find(({ first, last }) => first <= number && number <= last)
  }

  before(segment: Segment): Segment | undefined {
    return this.#segments[this.#segments.indexOf(segment) - 1]
  }

  /** How many numbers of `from` to `to`, both included, lie in gaps. */
  lost(from: number, to: number): number {
    return this.#segments.reduce((sum, { gaps, last }) => sum + numbersInGaps(gaps, from, Math.min(to, last)), 0)
  }
}

export function holdsEvents({ gaps, first, last }: Segment): boolean {
  return numbersInGaps(gaps, first, last) < last - first + 1
}

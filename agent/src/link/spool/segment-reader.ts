/** Reads the records of segments one after the other, through a window that moves over the file; records are views of it. */
import { closeSync, openSync, readSync } from 'node:fs'
import { type PlacedRecord, recordAt, recordBytesAt } from '../../disk/records.ts'
import { lastNumberOf } from './gaps.ts'
import type { Segment } from './segment.ts'

const NO_WINDOW = { start: 0, bytes: Buffer.alloc(0) }

export class SegmentReader {
  #place: { readonly path: string; readonly fd: number; offset: number; next: number } | undefined
  #window: { readonly start: number; readonly bytes: Buffer } = NO_WINDOW

  /** The record of `segment` in which `number` lies; `undefined` when the segment is damaged before it. */
  find(segment: Segment, number: number, readAhead: number): PlacedRecord | undefined {
    let offset = this.#place?.path === segment.path && this.#place.next === number ? this.#place.offset : 0
    for (;;) {
      const record = this.#readAt(segment, offset, readAhead)
      const last = record && lastNumberOf(record)
      if (record === undefined || last === undefined) return undefined
      if (last >= number) return record
      offset = record.end
    }
  }

  /** `next` lies at `offset`: it is looked for there first. */
  skipTo(next: number, offset: number): void {
    if (this.#place) Object.assign(this.#place, { next, offset })
  }

  closeIf(path: string): void {
    if (this.#place?.path === path) this.close()
  }

  close(): void {
    if (this.#place) closeSync(this.#place.fd)
    this.#place = undefined
    this.#window = NO_WINDOW
  }

  #readAt(segment: Segment, offset: number, readAhead: number): PlacedRecord | undefined {
    if (this.#place?.path !== segment.path) {
      this.close()
      this.#place = { path: segment.path, fd: openSync(segment.path, 'r'), offset: 0, next: segment.first }
    }
    let need = readAhead
    for (;;) {
      const { start, bytes } = this.#window
      const at = offset - start
      if (at >= 0 && at < bytes.length) {
        const record = recordAt(bytes, at)
        if (record) return { ...record, start: offset, end: start + record.end }
        const whole = recordBytesAt(bytes, at)
        if (start + bytes.length >= segment.bytes || (whole !== undefined && at + whole <= bytes.length))
          return undefined
        need = Math.max(need, whole ?? 0)
      } else if (offset >= segment.bytes) return undefined
      const window = Buffer.allocUnsafe(Math.min(need, segment.bytes - offset))
      const got = readSync(this.#place.fd, window, 0, window.length, offset)
      if (got < window.length && got <= bytes.length - at) return undefined // the file is shorter than it was
      this.#window = { start: offset, bytes: window.subarray(0, got) }
    }
  }
}

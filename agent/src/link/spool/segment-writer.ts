/** The segment that is written to, and how far what was written survives a power cut. */
import { closeSync, fdatasync, fdatasyncSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { reasonOf } from '@firebreak/shared/result.ts'
import { flushFolder } from '../../disk/atomic-file.ts'
import { type Segment, segmentPath } from './segment.ts'

const flushData = promisify(fdatasync)

export class SegmentWriter {
  readonly #folder: string
  readonly #broken: (why: string) => void
  #active: { readonly segment: Segment; readonly fd: number } | undefined
  #written: number
  #durable: number
  #newNames: boolean
  #syncing: Promise<void> | undefined
  #closeLater: number[] = []
  #isBroken = false

  /** `durable`: the highest number that the folder holds. `broken` hears of a disk that does not take it, once a run of failures. */
  constructor(folder: string, durable: number, broken: (why: string) => void) {
    this.#folder = folder
    this.#broken = broken
    this.#written = durable
    this.#durable = durable
    this.#newNames = durable > 0
  }

  get segment(): Segment | undefined {
    return this.#active?.segment
  }

  /** After a kill of the process everything up to this number is there. */
  get written(): number {
    return this.#written
  }

  /** After a power cut everything up to this number is there. */
  get durable(): number {
    return this.#durable
  }

  /** Begins a segment with this number. Throws when the disk does not take it. */
  begin(first: number): Segment {
    const path = segmentPath(this.#folder, first)
    const fd = openSync(path, 'wx', 0o600)
    const segment: Segment = { path, first, last: first - 1, bytes: 0, gaps: [], firstAt: 0, lastAt: 0, age: 0 }
    this.#newNames = true
    this.#active = { segment, fd }
    return segment
  }

  /** Puts these bytes, which hold the numbers up to `last`, behind the others. Throws when the disk does not take them. */
  append(bytes: Buffer, last: number): void {
    const active = this.#active
    if (!active) throw new TypeError('no segment was begun')
    for (let at = 0; at < bytes.length; )
      at += writeSync(active.fd, bytes, at, bytes.length - at, active.segment.bytes + at)
    active.segment.last = last
    this.#written = last
    this.#isBroken = false
  }

  /** The last append failed: the file is taken back to its last whole record and closed. Returns it as `close` does. */
  takeBack(): Segment | undefined {
    const active = this.#active
    if (!active) return undefined
    try {
      ftruncateSync(active.fd, active.segment.bytes)
    } catch (thrown) {
      this.#broken(reasonOf(thrown)) // what is torn there is found and counted at the next start
    }
    return this.close()
  }

  /** Nothing more is written to the segment at hand; returned when there is nothing in it. */
  close(): Segment | undefined {
    const active = this.#active
    if (!active) return undefined
    this.#active = undefined
    try {
      if (this.#durable < this.#written) fdatasyncSync(active.fd)
    } catch (thrown) {
      this.#broken(reasonOf(thrown))
    }
    // A flush may be running on this descriptor in another thread; it is closed when that has ended.
    if (this.#syncing) this.#closeLater.push(active.fd)
    else closeSync(active.fd)
    return active.segment.bytes === 0 ? active.segment : undefined
  }

  /** Resolves when everything written before the call survives a power cut, or the disk refuses. */
  async sync(): Promise<void> {
    while (this.#durable < this.#written && !this.#isBroken) {
      this.#syncing ??= this.#syncOnce().finally(() => {
        this.#syncing = undefined
      })
      const target = this.#written
      await this.#syncing
      if (this.#durable >= target) return
    }
  }

  /** Until then no flush is running. */
  async settled(): Promise<void> {
    await this.#syncing
  }

  /** The disk does not take it; said once until it does again. */
  failed(why: string): void {
    if (!this.#isBroken) this.#broken(why)
    this.#isBroken = true
  }

  async #syncOnce(): Promise<void> {
    const target = this.#written
    try {
      if (this.#newNames) {
        flushFolder(this.#folder)
        this.#newNames = false
      }
      if (this.#active) await flushData(this.#active.fd)
      this.#durable = Math.max(this.#durable, target)
    } catch (thrown) {
      this.failed(reasonOf(thrown))
    } finally {
      for (const fd of this.#closeLater.splice(0)) closeSync(fd)
    }
  }
}

/** The events of one class on disk: numbered, flushed, read in order, freed below the controller's ack. Errors of the disk become counted gaps. */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Gap, GapReason } from '@firebreak/shared/wire/frame.ts'
import { flushFolder, makePrivateFolder, readIfThere, writeAtomic } from '../../disk/atomic-file.ts'
import { encodeRecord, recordAt, recordBytesAt } from '../../disk/records.ts'
import { EVENT_RECORD, encodeGap, fillWithGaps, gapOf, lastNumberOf, numbersInGaps, pushGap } from './gaps.ts'
import { isSegmentName, recoverSegment, type Segment, segmentPath, writeGapSegment } from './segment.ts'

const flushData = promisify(fdatasync)
const NO_WINDOW = { start: 0, bytes: Buffer.alloc(0) }
/** A segment that is wholly acked is freed while it is still written to, once it is this part of a whole one. */
const FREE_ACTIVE_FROM = 1 / 4

export interface StreamConfig {
  readonly folder: string
  readonly segmentBytes: number
  /** After a restart this much past the ack may have been sent before, and is dropped last. */
  readonly maybeSentBytes: number
}

export interface ReadLimits {
  readonly events: number
  readonly bytes: number
  readonly gaps: number
}

export interface ReadRun {
  readonly first: number
  readonly last: number
  readonly lines: readonly Uint8Array[]
  readonly gaps: readonly Gap[]
  readonly bytes: number
}

export interface StreamTotals {
  readonly produced: number
  readonly spooled: number
  readonly dropped: number
}

/** What the owner hears: `broken` for a disk that does not take it (once a run of failures), `damaged` for what was lost on it. */
export interface StreamLog {
  broken(why: string): void
  damaged(path: string): void
}

export class Stream {
  readonly #config: StreamConfig
  readonly #log: StreamLog
  readonly #segments: Segment[] = []
  #active: { readonly segment: Segment; readonly fd: number } | undefined
  /** Made in this turn of the event loop, not written yet. */
  #pending: { readonly bytes: Buffer; readonly first: number; readonly last: number; readonly gap: Gap | undefined }[] =
    []
  /** Numbers whose write failed; told as a gap with the next write that works. */
  #unwritten: Gap | undefined
  #last = 0
  #written = 0
  #durable = 0
  #sent = 0
  #maybeSent = 0
  /** No number above this can be known to a controller. */
  #everSent = 0
  #acked = 0
  #dropped = 0
  #droppedAcked = 0
  #bytes = 0
  #newNames = false
  #syncing: Promise<void> | undefined
  #closeLater: number[] = []
  #reader: { path: string; fd: number; offset: number; next: number } | undefined
  #broken = false
  /** Part of the file that the reader stands in; records are views of it. */
  #window: { readonly start: number; readonly bytes: Buffer } = NO_WINDOW

  constructor(config: StreamConfig, log: StreamLog) {
    this.#config = config
    this.#log = log
    makePrivateFolder(config.folder)
    this.#recover()
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Highest number given out. */
  get last(): number {
    return this.#last
  }

  /** Bytes that wait to be flushed. */
  get isDirty(): boolean {
    return this.#pending.length > 0 || this.#durable < this.#written
  }

  /** Everything up to this number was acked. */
  get acked(): number {
    return this.#acked
  }

  get hasUnsent(): boolean {
    return this.#sent < this.#last
  }

  totals(): StreamTotals {
    return {
      produced: this.#last,
      dropped: this.#dropped,
      spooled: this.#last - this.#acked - (this.#dropped - this.#droppedAcked),
    }
  }

  /** Gives the event its number. It is written with the next `write`. */
  append(line: Uint8Array): void {
    const number = ++this.#last
    const bytes = encodeRecord({ kind: EVENT_RECORD, number, payload: line })
    this.#pending.push({ bytes, first: number, last: number, gap: undefined })
  }

  /** Gives numbers to events that are not there. */
  appendGap(count: number, reason: GapReason): void {
    const gap: Gap = { from: this.#last + 1, to: this.#last + count, reason }
    this.#last = gap.to
    this.#dropped += count
    this.#pending.push({ bytes: encodeGap(gap), first: gap.from, last: gap.to, gap })
  }

  /** Hands everything appended to the system. After it a kill of the process loses nothing. */
  write(): void {
    const pending = this.#pending
    if (pending.length === 0 && !this.#unwritten) return
    this.#pending = []
    try {
      const { segment, fd } = this.#openActive(pending[0]?.first ?? 0)
      const lost = this.#unwritten
      const bytes = Buffer.concat([...(lost ? [encodeGap(lost)] : []), ...pending.map((record) => record.bytes)])
      writeWhole(fd, bytes, segment.bytes)
      if (lost) pushGap(segment.gaps, lost)
      for (const { gap } of pending) if (gap) pushGap(segment.gaps, gap)
      segment.last = this.#last
      segment.bytes += bytes.length
      this.#bytes += bytes.length
      this.#written = this.#last
      this.#unwritten = undefined
      this.#broken = false
      if (segment.bytes >= this.#config.segmentBytes) this.#closeActive()
    } catch (thrown) {
      this.#giveUp(pending)
      if (!this.#broken) this.#log.broken(reasonOf(thrown))
      this.#broken = true
    }
  }

  /** Resolves when everything written before the call survives a power cut. Only that is read for sending. */
  async sync(): Promise<void> {
    this.write()
    while (this.#durable < this.#written && !this.#broken) {
      this.#syncing ??= this.#syncOnce().finally(() => {
        this.#syncing = undefined
      })
      const target = this.#written
      await this.#syncing
      if (this.#durable >= target) return
    }
  }

  /** The next unsent run of numbers that is safe on disk, or `undefined`. What it returns counts as sent. */
  next(limits: ReadLimits): ReadRun | undefined {
    if (this.#sent >= this.#durable) return undefined
    const lines: Uint8Array[] = []
    const gaps: Gap[] = []
    let bytes = 0
    let at = this.#sent
    while (at < this.#durable && lines.length < limits.events && bytes < limits.bytes && gaps.length < limits.gaps) {
      const record = this.#read(at + 1, limits.bytes)
      if (!record) break
      const gap = gapOf(record)
      const last = lastNumberOf(record) ?? at
      if (gap) pushGap(gaps, { ...gap, from: at + 1 })
      else {
        if (lines.length > 0 && bytes + record.payload.length + 1 > limits.bytes) break
        lines.push(record.payload)
        bytes += record.payload.length + 1
      }
      this.#skipTo(last + 1, record.end)
      at = last
    }
    if (at === this.#sent) return undefined
    const first = this.#sent + 1
    this.#sent = at
    this.#maybeSent = Math.max(this.#maybeSent, at)
    this.#everSent = Math.max(this.#everSent, at)
    return { first, last: at, lines, gaps, bytes }
  }

  /** The connection is gone: what was not acked is sent again. */
  rewind(): void {
    this.#sent = this.#acked
    this.#closeReader()
  }

  /** Everything up to `number` is stored at the controller. False when that was never sent: the disk went back in time, or the controller errs. */
  ack(number: number): boolean {
    if (number > this.#everSent) return false
    if (number <= this.#acked) return true
    for (const segment of this.#segments)
      this.#droppedAcked += numbersInGaps(segment.gaps, this.#acked + 1, Math.min(number, segment.last))
    this.#acked = number
    if (this.#sent < number) {
      this.#sent = number
      this.#closeReader()
    }
    const active = this.#active?.segment
    if (
      active &&
      active.last <= number &&
      active.bytes >= this.#config.segmentBytes * FREE_ACTIVE_FROM &&
      this.#pending.length === 0
    )
      this.#closeActive()
    const done = this.#segments.filter((segment) => segment.last <= number && segment !== this.#active?.segment)
    if (done.length === 0) return true
    this.saveState() // before the files go: the numbers must never be given out again
    for (const segment of done) this.#remove(segment)
    return true
  }

  /** Frees the oldest segment and leaves a gap in its place. False when there is nothing to free. */
  dropOldest(): boolean {
    const holdsEvents = (segment: Segment) =>
      numbersInGaps(segment.gaps, segment.first, segment.last) < segment.last - segment.first + 1
    const victim =
      this.#segments.find((segment) => segment.first > this.#maybeSent && holdsEvents(segment)) ??
      this.#segments.find((segment) => segment.last > this.#acked && holdsEvents(segment))
    if (!victim) return false
    if (victim === this.#active?.segment) this.#closeActive()
    const from = Math.max(victim.first, this.#acked + 1)
    const before = this.#segments[this.#segments.indexOf(victim) - 1]
    const joined = before && !holdsEvents(before) && before.last + 1 === from ? before : undefined
    const old = [...(joined ? joined.gaps : []), ...victim.gaps]
    const range = { from: joined ? Math.max(joined.first, this.#acked + 1) : from, to: victim.last }
    this.#dropped += victim.last - from + 1 - numbersInGaps(victim.gaps, from, victim.last)
    const gapSegment = writeGapSegment(this.#config.folder, fillWithGaps(old, range, 'spool_full'))
    for (const segment of joined ? [joined, victim] : [victim]) {
      if (segment.path !== gapSegment.path) this.#remove(segment)
      else this.#forget(segment)
    }
    this.#segments.push(gapSegment)
    this.#segments.sort((a, b) => a.first - b.first)
    this.#bytes += gapSegment.bytes
    this.#closeReader()
    return true
  }

  /** Every unsent or unacked line in order, and the gaps between; for moving to a new epoch. */
  *unacked(): Generator<Uint8Array | Gap> {
    this.write()
    this.#closeReader()
    for (let at = this.#acked; at < this.#written; ) {
      const record = this.#read(at + 1, 256 * 1024)
      if (!record) return
      const gap = gapOf(record)
      yield gap ? { ...gap, from: at + 1 } : record.payload
      at = lastNumberOf(record) ?? at + 1
      this.#skipTo(at + 1, record.end)
    }
  }

  /** Remembers the ack, so that less is sent again after a restart. */
  saveState(): void {
    writeAtomic(
      join(this.#config.folder, 'state.json'),
      JSON.stringify({ acked: this.#acked, dropped_acked: this.#droppedAcked }),
    )
  }

  async close(): Promise<void> {
    await this.sync()
    await this.#syncing
    this.#closeActive()
    this.#closeReader()
    this.saveState()
  }

  #recover(): void {
    const state = readState(join(this.#config.folder, 'state.json'))
    this.#acked = state.acked
    this.#droppedAcked = state.droppedAcked
    const { folder } = this.#config
    for (const name of readdirSync(folder).filter(isSegmentName))
      if (statSync(join(folder, name)).size === 0) unlinkSync(join(folder, name)) // killed before the first write
    const names = readdirSync(folder).filter(isSegmentName).sort()
    let next: number | undefined
    for (const [i, name] of names.entries()) {
      const path = join(folder, name)
      const recovered = recoverSegment(path, next, i === names.length - 1)
      if (!recovered) continue
      const { segment, damaged } = recovered
      if (damaged) this.#log.damaged(path)
      next = segment.last + 1
      this.#segments.push(segment)
      this.#bytes += segment.bytes
    }
    const first = this.#segments[0]
    if (first && first.first > this.#acked + 1) {
      const gap: Gap = { from: this.#acked + 1, to: first.first - 1, reason: 'spool_damaged' }
      const missing = writeGapSegment(this.#config.folder, [gap])
      this.#log.damaged(missing.path)
      this.#segments.unshift(missing)
      this.#bytes += missing.bytes
    }
    this.#last = Math.max(this.#acked, this.#segments.at(-1)?.last ?? 0)
    this.#written = this.#last
    this.#durable = this.#last
    this.#everSent = this.#last
    this.#sent = this.#acked
    this.#dropped = this.#droppedAcked
    let maybeSentBytes = 0
    for (const segment of this.#segments) {
      this.#dropped += numbersInGaps(segment.gaps, this.#acked + 1, segment.last)
      if (maybeSentBytes < this.#config.maybeSentBytes) this.#maybeSent = segment.last
      maybeSentBytes += segment.bytes
    }
    if (this.#segments.length > 0) this.#newNames = true
    for (const segment of this.#segments.filter((old) => old.last <= this.#acked)) this.#remove(segment)
  }

  #openActive(first: number): { readonly segment: Segment; readonly fd: number } {
    if (this.#active) return this.#active
    const from = this.#unwritten?.from ?? first
    const path = segmentPath(this.#config.folder, from)
    const fd = openSync(path, 'wx', 0o600)
    const segment: Segment = { path, first: from, last: from - 1, bytes: 0, gaps: [] }
    this.#segments.push(segment)
    this.#newNames = true
    this.#active = { segment, fd }
    return this.#active
  }

  #closeActive(): void {
    const active = this.#active
    if (!active) return
    this.#active = undefined
    try {
      if (this.#durable < this.#written) fdatasyncSync(active.fd)
    } catch (thrown) {
      this.#log.broken(reasonOf(thrown))
    }
    // A flush may be running on this descriptor in another thread; it is closed when that has ended.
    if (this.#syncing) this.#closeLater.push(active.fd)
    else closeSync(active.fd)
    if (active.segment.bytes === 0) this.#remove(active.segment)
  }

  async #syncOnce(): Promise<void> {
    const target = this.#written
    try {
      if (this.#newNames) {
        flushFolder(this.#config.folder)
        this.#newNames = false
      }
      if (this.#active) await flushData(this.#active.fd)
      this.#durable = Math.max(this.#durable, target)
    } catch (thrown) {
      if (!this.#broken) this.#log.broken(reasonOf(thrown))
      this.#broken = true
    } finally {
      for (const fd of this.#closeLater.splice(0)) closeSync(fd)
    }
  }

  /** The write failed: the file is taken back to its last whole record and the numbers become a gap. */
  #giveUp(pending: readonly { readonly first: number; readonly last: number; readonly gap: Gap | undefined }[]): void {
    const active = this.#active
    if (active) {
      try {
        ftruncateSync(active.fd, active.segment.bytes)
      } catch (thrown) {
        this.#log.broken(reasonOf(thrown)) // what is torn there is found and counted at the next start
      }
      this.#closeActive()
    }
    const first = pending[0]?.first ?? 0
    for (const { gap, first: from, last } of pending) if (!gap) this.#dropped += last - from + 1
    this.#unwritten = { from: this.#unwritten?.from ?? first, to: this.#last, reason: 'spool_full' }
  }

  /** The record in which `number` lies. A damaged segment is repaired on the way. */
  #read(number: number, readAhead: number) {
    for (let attempt = 0; attempt < 2; attempt++) {
      const segment = this.#segments.find(({ first, last }) => first <= number && number <= last)
      if (!segment) return undefined
      let offset = this.#reader?.path === segment.path && this.#reader.next === number ? this.#reader.offset : 0
      for (;;) {
        const record = this.#readAt(segment, offset, readAhead)
        if (!record) break
        const last = lastNumberOf(record)
        if (last === undefined) break
        if (last >= number) return record
        offset = record.end
      }
      this.#repair(segment)
    }
    return undefined
  }

  #readAt(segment: Segment, offset: number, readAhead: number) {
    if (this.#reader?.path !== segment.path) {
      this.#closeReader()
      this.#reader = { path: segment.path, fd: openSync(segment.path, 'r'), offset: 0, next: segment.first }
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
      const got = readSync(this.#reader.fd, window, 0, window.length, offset)
      if (got < window.length && got <= bytes.length - at) return undefined // the file is shorter than it was
      this.#window = { start: offset, bytes: window.subarray(0, got) }
    }
  }

  #skipTo(next: number, offset: number): void {
    if (this.#reader) Object.assign(this.#reader, { next, offset })
  }

  #repair(segment: Segment): void {
    if (segment === this.#active?.segment) this.#closeActive()
    this.#closeReader()
    this.#log.damaged(segment.path)
    this.#forget(segment)
    const pieces: Segment[] = []
    const recovered = recoverSegment(segment.path, segment.first, false)?.segment
    if (recovered) pieces.push(recovered)
    const from = (recovered?.last ?? segment.first - 1) + 1
    if (from <= segment.last)
      pieces.push(writeGapSegment(this.#config.folder, [{ from, to: segment.last, reason: 'spool_damaged' }]))
    this.#dropped -= numbersInGaps(segment.gaps, this.#acked + 1, segment.last)
    for (const piece of pieces) {
      this.#dropped += numbersInGaps(piece.gaps, this.#acked + 1, piece.last)
      this.#segments.push(piece)
      this.#bytes += piece.bytes
    }
    this.#segments.sort((a, b) => a.first - b.first)
  }

  #forget(segment: Segment): void {
    const at = this.#segments.indexOf(segment)
    if (at !== -1) {
      this.#segments.splice(at, 1)
      this.#bytes -= segment.bytes
    }
  }

  #remove(segment: Segment): void {
    if (this.#reader?.path === segment.path) this.#closeReader()
    this.#forget(segment)
    try {
      unlinkSync(segment.path)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') this.#log.broken(reasonOf(thrown))
    }
  }

  #closeReader(): void {
    if (this.#reader) closeSync(this.#reader.fd)
    this.#reader = undefined
    this.#window = NO_WINDOW
  }
}

function writeWhole(fd: number, bytes: Buffer, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at)
}

function readState(path: string): { acked: number; droppedAcked: number } {
  const text = readIfThere(path)
  if (!text) return { acked: 0, droppedAcked: 0 }
  const parsed = JSON.parse(text.toString('utf8')) as { acked?: unknown; dropped_acked?: unknown }
  const { acked, dropped_acked: droppedAcked } = parsed
  if (!Number.isSafeInteger(acked) || !Number.isSafeInteger(droppedAcked))
    throw new SyntaxError(`${path} holds no counts`)
  return { acked: acked as number, droppedAcked: droppedAcked as number }
}

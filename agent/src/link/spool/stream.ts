/** The events of one class on disk: numbered, flushed, read in order, freed below the controller's ack. Errors of the disk become counted gaps. */
import { unlinkSync } from 'node:fs'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Gap, GapReason } from '@firebreak/shared/wire/frame.ts'
import { makePrivateFolder } from '../../disk/atomic-file.ts'
import { encodeRecord, type PlacedRecord } from '../../disk/records.ts'
import { EVENT_RECORD, encodeGap, fillWithGaps, gapOf, lastNumberOf, numbersInGaps, pushGap } from './gaps.ts'
import { recoverSegment, type Segment, writeGapSegment } from './segment.ts'
import { holdsEvents, SegmentList } from './segment-list.ts'
import { SegmentReader } from './segment-reader.ts'
import { SegmentWriter } from './segment-writer.ts'
import { readStreamState, recoverSegments, writeStreamState } from './stream-recovery.ts'

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

interface Pending {
  readonly bytes: Buffer
  readonly first: number
  readonly last: number
  readonly gap: Gap | undefined
}

export class Stream {
  readonly #config: StreamConfig
  readonly #log: StreamLog
  readonly #segments = new SegmentList()
  readonly #reader = new SegmentReader()
  readonly #writer: SegmentWriter
  /** Made in this turn of the event loop, not written yet. */
  #pending: Pending[] = []
  /** Numbers whose write failed; told as a gap with the next write that works. */
  #unwritten: Gap | undefined
  #last = 0
  #sent = 0
  #maybeSent = 0
  /** No number above this can be known to a controller. */
  #everSent = 0
  #acked = 0
  #dropped = 0
  #droppedAcked = 0

  constructor(config: StreamConfig, log: StreamLog) {
    this.#config = config
    this.#log = log
    makePrivateFolder(config.folder)
    this.#recover()
    this.#writer = new SegmentWriter(config.folder, this.#last, (why) => log.broken(why))
  }

  get bytes(): number {
    return this.#segments.bytes
  }

  /** Bytes that wait to be flushed. */
  get isDirty(): boolean {
    return this.#pending.length > 0 || this.#writer.durable < this.#writer.written
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
      const segment = this.#writer.segment ?? this.#begin(this.#unwritten?.from ?? pending[0]?.first ?? 0)
      const lost = this.#unwritten
      const bytes = Buffer.concat([...(lost ? [encodeGap(lost)] : []), ...pending.map((record) => record.bytes)])
      this.#writer.append(bytes, this.#last)
      if (lost) pushGap(segment.gaps, lost)
      for (const { gap } of pending) if (gap) pushGap(segment.gaps, gap)
      this.#segments.grow(segment, bytes.length)
      this.#unwritten = undefined
      if (segment.bytes >= this.#config.segmentBytes) this.#closeActive()
    } catch (thrown) {
      this.#giveUp(pending, reasonOf(thrown))
    }
  }

  /** Resolves when everything written before the call survives a power cut. Only that is read for sending. */
  async sync(): Promise<void> {
    this.write()
    await this.#writer.sync()
  }

  /** The next unsent run of numbers that is safe on disk, or `undefined`. What it returns counts as sent. */
  next(limits: ReadLimits): ReadRun | undefined {
    const { durable } = this.#writer
    if (this.#sent >= durable) return undefined
    const lines: Uint8Array[] = []
    const gaps: Gap[] = []
    let bytes = 0
    let at = this.#sent
    while (at < durable && lines.length < limits.events && bytes < limits.bytes && gaps.length < limits.gaps) {
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
      this.#reader.skipTo(last + 1, record.end)
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
    this.#reader.close()
  }

  /** Everything up to `number` is stored at the controller. False when that was never sent: the disk went back in time, or the controller errs. */
  ack(number: number): boolean {
    if (number > this.#everSent) return false
    if (number <= this.#acked) return true
    this.#droppedAcked += this.#segments.lost(this.#acked + 1, number)
    this.#acked = number
    if (this.#sent < number) {
      this.#sent = number
      this.#reader.close()
    }
    const active = this.#writer.segment
    if (
      active &&
      active.last <= number &&
      active.bytes >= this.#config.segmentBytes * FREE_ACTIVE_FROM &&
      this.#pending.length === 0
    )
      this.#closeActive()
    const done = this.#segments.all.filter((segment) => segment.last <= number && segment !== this.#writer.segment)
    if (done.length === 0) return true
    this.saveState() // before the files go: the numbers must never be given out again
    for (const segment of done) this.#remove(segment)
    return true
  }

  /** Frees the oldest segment and leaves a gap in its place. False when there is nothing to free. */
  dropOldest(): boolean {
    const { all } = this.#segments
    const victim =
      all.find((segment) => segment.first > this.#maybeSent && holdsEvents(segment)) ??
      all.find((segment) => segment.last > this.#acked && holdsEvents(segment))
    if (!victim) return false
    if (victim === this.#writer.segment) this.#closeActive()
    const from = Math.max(victim.first, this.#acked + 1)
    const before = this.#segments.before(victim)
    const joined = before && !holdsEvents(before) && before.last + 1 === from ? before : undefined
    const old = [...(joined ? joined.gaps : []), ...victim.gaps]
    const range = { from: joined ? Math.max(joined.first, this.#acked + 1) : from, to: victim.last }
    this.#dropped += victim.last - from + 1 - numbersInGaps(victim.gaps, from, victim.last)
    const gapSegment = writeGapSegment(this.#config.folder, fillWithGaps(old, range, 'spool_full'))
    for (const segment of joined ? [joined, victim] : [victim]) {
      if (segment.path !== gapSegment.path) this.#remove(segment)
      else this.#segments.forget(segment)
    }
    this.#segments.add(gapSegment)
    this.#reader.close()
    return true
  }

  /** Every unsent or unacked line in order, and the gaps between; for moving to a new epoch. */
  *unacked(): Generator<Uint8Array | Gap> {
    this.write()
    this.#reader.close()
    for (let at = this.#acked; at < this.#writer.written; ) {
      const record = this.#read(at + 1, 256 * 1024)
      if (!record) return
      const gap = gapOf(record)
      yield gap ? { ...gap, from: at + 1 } : record.payload
      at = lastNumberOf(record) ?? at + 1
      this.#reader.skipTo(at + 1, record.end)
    }
  }

  /** Remembers the ack, so that less is sent again after a restart. */
  saveState(): void {
    writeStreamState(this.#config.folder, { acked: this.#acked, droppedAcked: this.#droppedAcked })
  }

  async close(): Promise<void> {
    await this.sync()
    await this.#writer.settled()
    this.#closeActive()
    this.#reader.close()
    this.saveState()
  }

  #recover(): void {
    const { folder } = this.#config
    const state = readStreamState(folder)
    this.#acked = state.acked
    this.#droppedAcked = state.droppedAcked
    for (const segment of recoverSegments(folder, this.#acked, (path) => this.#log.damaged(path)))
      this.#segments.add(segment)
    const { all } = this.#segments
    this.#last = Math.max(this.#acked, all.at(-1)?.last ?? 0)
    this.#everSent = this.#last
    this.#sent = this.#acked
    this.#dropped = this.#droppedAcked + this.#segments.lost(this.#acked + 1, this.#last)
    let maybeSentBytes = 0
    for (const segment of all) {
      if (maybeSentBytes < this.#config.maybeSentBytes) this.#maybeSent = segment.last
      maybeSentBytes += segment.bytes
    }
    for (const segment of all.filter((old) => old.last <= this.#acked)) this.#remove(segment)
  }

  #begin(first: number): Segment {
    const segment = this.#writer.begin(first)
    this.#segments.add(segment)
    return segment
  }

  #closeActive(): void {
    const empty = this.#writer.close()
    if (empty) this.#remove(empty)
  }

  /** The write failed: its numbers become a gap. */
  #giveUp(pending: readonly Pending[], why: string): void {
    const empty = this.#writer.takeBack(why)
    if (empty) this.#remove(empty)
    const first = pending[0]?.first ?? 0
    for (const { gap, first: from, last } of pending) if (!gap) this.#dropped += last - from + 1
    this.#unwritten = { from: this.#unwritten?.from ?? first, to: this.#last, reason: 'spool_full' }
  }

  /** The record in which `number` lies. A damaged segment is repaired on the way. */
  #read(number: number, readAhead: number): PlacedRecord | undefined {
    for (let attempt = 0; attempt < 2; attempt++) {
      const segment = this.#segments.holding(number)
      if (!segment) return undefined
      const record = this.#reader.find(segment, number, readAhead)
      if (record) return record
      this.#repair(segment)
    }
    return undefined
  }

  #repair(segment: Segment): void {
    if (segment === this.#writer.segment) this.#closeActive()
    this.#reader.close()
    this.#log.damaged(segment.path)
    this.#segments.forget(segment)
    const pieces: Segment[] = []
    const recovered = recoverSegment(segment.path, segment.first, false)?.segment
    if (recovered) pieces.push(recovered)
    const from = (recovered?.last ?? segment.first - 1) + 1
    if (from <= segment.last)
      pieces.push(writeGapSegment(this.#config.folder, [{ from, to: segment.last, reason: 'spool_damaged' }]))
    this.#dropped -= numbersInGaps(segment.gaps, this.#acked + 1, segment.last)
    for (const piece of pieces) {
      this.#dropped += numbersInGaps(piece.gaps, this.#acked + 1, piece.last)
      this.#segments.add(piece)
    }
  }

  #remove(segment: Segment): void {
    this.#reader.closeIf(segment.path)
    this.#segments.forget(segment)
    try {
      unlinkSync(segment.path)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') this.#log.broken(reasonOf(thrown))
    }
  }
}

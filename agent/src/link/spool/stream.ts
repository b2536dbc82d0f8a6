/** The events of one class on disk: numbered, flushed, read in order, freed below the controller's ack. Errors of the disk become counted gaps. */
import { unlinkSync } from 'node:fs'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Gap, GapReason } from '@firebreak/shared/wire/frame.ts'
import { flushFolder, makePrivateFolder } from '../../disk/atomic-file.ts'
import { crcOf, type PlacedRecord } from '../../disk/records.ts'
import { isDiskFull, type WriteFile } from './ballast.ts'
import { chained, NO_RECORDS, replacesRecords } from './chain.ts'
import { encodeGap, fillWithGaps, gapOf, lastNumberOf, numbersInGaps, pushGap, timesOf } from './gaps.ts'
import { type RecentRecord, RecentRecords } from './recent-records.ts'
import { type BufferedRecord, bytesOf, RecordBuffer } from './record-buffer.ts'
import { recoverSegment, type Segment, writeGapSegment } from './segment.ts'
import { holdsEvents, SegmentList } from './segment-list.ts'
import { SegmentReader } from './segment-reader.ts'
import { SegmentWriter } from './segment-writer.ts'
import { readStreamState, recoverSegments, writeStreamState } from './stream-recovery.ts'

/** A segment that is wholly acked is freed while it is still written to, once it is this part of a whole one. */
const FREE_ACTIVE_FROM = 1 / 4
const READ_AHEAD_BYTES = 256 * 1024
/** Tries to make room for one write on a full disk. */
const ROOM_TRIES = 4

export interface StreamConfig {
  readonly folder: string
  readonly segmentBytes: number
  /** After a restart this much past the ack may have been sent before, and is dropped last. */
  readonly maybeSentBytes: number
  /** A segment is not written to for longer than this, ms of the spool's life, so that what is old can be freed by itself. */
  readonly rollAfterMs: number
  /** When the life before gave its last sign, ms since 1970. */
  readonly lastAlive: number
  /** What can be read is wanted, though the numbers may not hold; nothing may be appended. */
  readonly salvage?: boolean
}

export interface StreamDeps {
  /** ms since 1970. */
  now(): number
  /** ms that this spool has been alive since it was opened. */
  age(): number
  readonly write: WriteFile
  /** Frees something on a full disk; false when there is nothing that is worth less. */
  makeRoom(): boolean
  /** Told of a disk that does not take it, once a run of failures. */
  broken(why: string): void
  /** Told of what was lost on the disk. */
  damaged(path: string): void
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
  /** Checksum up to `first - 1`, when it is known, and up to `last`. */
  readonly chainBefore: number | undefined
  readonly chain: number
}

export interface StreamTotals {
  readonly produced: number
  readonly spooled: number
  readonly dropped: number
  readonly acked: number
}

/**
 * `taken`: freed below it. `ahead`: it was never sent, so the disk went back in time or the controller errs. `forked`: other events
 * went out under these numbers, from another machine or another past of this one.
 */
export type AckAnswer = 'taken' | 'ahead' | 'forked'

type Pending = Omit<RecentRecord, 'bytes'> & BufferedRecord

export class Stream {
  readonly #config: StreamConfig
  readonly #deps: StreamDeps
  readonly #segments = new SegmentList()
  readonly #reader = new SegmentReader()
  readonly #writer: SegmentWriter
  readonly #recent = new RecentRecords()
  readonly #made = new RecordBuffer()
  /** Made in this turn of the event loop, not written yet. */
  #pending: Pending[] = []
  #pendingFrom = 0
  /** Age of the spool at which the segment that is written to was begun. */
  #activeSince = 0
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
  /** Checksums up to the ack and up to what was sent; `undefined` when not known. */
  #ackedChain: number | undefined
  #sentChain: number | undefined
  /** Of each end of a batch on its way. */
  readonly #ends = new Map<number, number>()

  constructor(config: StreamConfig, deps: StreamDeps) {
    this.#config = config
    this.#deps = deps
    makePrivateFolder(config.folder)
    this.#recover()
    this.#writer = new SegmentWriter(config.folder, this.#last, (why) => deps.broken(why))
  }

  get bytes(): number {
    return this.#segments.bytes
  }

  /** Something would be lost in a power cut: neither flushed nor acked. */
  get isDirty(): boolean {
    return this.#pending.length > 0 || Math.max(this.#writer.durable, this.#acked) < this.#writer.written
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
      acked: this.#acked,
    }
  }

  /** Gives the event its number. It is written with the next `write`. Returns its bytes. */
  append(line: string | Uint8Array): number {
    const number = ++this.#last
    const { buffer, start, end, payload, crc } = this.#made.put(line, number)
    this.#pend({ buffer, start, end, first: number, last: number, gap: undefined, payload, crc })
    return payload.length
  }

  /** Gives numbers to events that are not there. `since`: when the first of them may have happened, ms since 1970. */
  appendGap(count: number, reason: GapReason, since = this.#deps.now(), until = this.#deps.now()): void {
    const gap: Gap = { from: this.#last + 1, to: this.#last + count, reason, ...timesOf(since, until) }
    this.#last = gap.to
    this.#dropped += count
    const buffer = encodeGap(gap)
    const place = { buffer, start: 0, end: buffer.length }
    this.#pend({ ...place, first: gap.from, last: gap.to, gap, payload: buffer, crc: crcOf(buffer) })
  }

  /** Hands everything appended to the system. After it a kill of the process loses nothing. */
  write(): void {
    const pending = this.#pending
    if (pending.length === 0 && !this.#unwritten) return
    this.#pending = []
    for (let tries = 1; ; tries++) {
      try {
        this.#put(pending)
        return
      } catch (thrown) {
        this.#discard(this.#writer.takeBack())
        if (tries < ROOM_TRIES && isDiskFull(thrown) && this.#deps.makeRoom()) continue
        this.#writer.failed(reasonOf(thrown))
        this.#giveUp(pending)
        return
      }
    }
  }

  /** Resolves when everything appended before the call survives a power cut, or the disk refuses. */
  async sync(): Promise<void> {
    this.write()
    await this.#writer.sync()
  }

  /** Writes and flushes while the caller waits, and begins a new segment with what comes next. */
  seal(): void {
    this.write()
    this.#closeActive()
    flushFolder(this.#config.folder)
  }

  /** The next unsent run of numbers that a kill of this process does not take back, or `undefined`. What it returns counts as sent. */
  next(limits: ReadLimits): ReadRun | undefined {
    const { written } = this.#writer
    if (this.#sent >= written) return undefined
    const lines: Uint8Array[] = []
    const gaps: Gap[] = []
    let bytes = 0
    let at = this.#sent
    const chainBefore = this.#sentChain
    let chain = chainBefore ?? NO_RECORDS
    while (at < written && lines.length < limits.events && bytes < limits.bytes && gaps.length < limits.gaps) {
      const record = this.#recent.find(at + 1) ?? this.#readFrom(at + 1, limits.bytes)
      if (!record) break
      const { gap, payload, last } = record
      if (gap) pushGap(gaps, { ...gap, from: at + 1 })
      else {
        if (lines.length > 0 && bytes + payload.length + 1 > limits.bytes) break
        lines.push(payload)
        bytes += payload.length + 1
      }
      chain = chained(chain, record.crc)
      at = last
    }
    if (at === this.#sent) return undefined
    const first = this.#sent + 1
    this.#sent = at
    this.#sentChain = chain
    this.#ends.set(at, chain)
    this.#maybeSent = Math.max(this.#maybeSent, at)
    this.#everSent = Math.max(this.#everSent, at)
    return { first, last: at, lines, gaps, bytes, chainBefore, chain }
  }

  /** The connection is gone: what was not acked is sent again. */
  rewind(): void {
    this.#sent = this.#acked
    this.#sentChain = this.#ackedChain
    this.#ends.clear()
    this.#recent.clear()
    this.#reader.close()
  }

  /**
   * Everything up to `number` is stored at the controller. `chain`: the checksum that it was told with that number; `events`: how many
   * of the numbers up to it came as events.
   */
  ack(number: number, chain?: number, events?: number): AckAnswer {
    if (number > this.#everSent) return 'ahead'
    if (number < this.#acked) return 'taken'
    const known = number === this.#acked ? this.#ackedChain : (this.#ends.get(number) ?? this.#chainAt(number))
    if (chain !== undefined && known !== undefined && chain !== known) return 'forked'
    const lost = this.#segments.lost(this.#acked + 1, number)
    const arrived = events === undefined ? 0 : this.#arrived(number, lost, events)
    this.#dropped -= arrived
    this.#droppedAcked += lost - arrived
    this.#acked = number
    this.#ackedChain = known ?? chain
    for (const end of this.#ends.keys()) if (end <= number) this.#ends.delete(end)
    if (this.#sent <= number) {
      if (this.#sent < number) this.#reader.close()
      this.#sent = number
      this.#sentChain = this.#ackedChain
    }
    this.#free()
    return 'taken'
  }

  /** Frees the oldest segment and leaves a gap in its place. False when there is nothing to free. */
  dropOldest(reason: GapReason): boolean {
    const { all } = this.#segments
    const victim =
      all.find((segment) => segment.first > this.#maybeSent && holdsEvents(segment)) ??
      all.find((segment) => segment.last > this.#acked && holdsEvents(segment))
    if (!victim) return false
    this.#drop(victim, reason)
    return true
  }

  /** Frees what was written before this time of the spool's life. Returns how many segments it were. */
  dropAged(before: number): number {
    const old = this.#segments.all.filter(
      (segment) => segment.last > this.#acked && segment.bytes > 0 && segment.age < before && holdsEvents(segment),
    )
    for (const victim of old) this.#drop(victim, 'spool_aged')
    return old.length
  }

  /** Every unsent or unacked line in order, and the gaps between; for moving to a new epoch. */
  *unacked(): Generator<Uint8Array | Gap> {
    this.write()
    this.#reader.close()
    for (let at = this.#acked; at < this.#writer.written; ) {
      const record = this.#readFrom(at + 1, READ_AHEAD_BYTES)
      if (!record) return
      yield record.gap ? { ...record.gap, from: at + 1 } : record.payload
      at = record.last
    }
  }

  /** Remembers the ack, so that less is sent again after a restart. Throws when the disk does not take it. */
  saveState(): void {
    const state = { acked: this.#acked, droppedAcked: this.#droppedAcked, chain: this.#ackedChain }
    writeStreamState(this.#config.folder, state, this.#deps.write)
  }

  async close(): Promise<void> {
    await this.sync()
    await this.#writer.settled()
    this.#closeActive()
    this.#reader.close()
    try {
      this.saveState()
    } catch (thrown) {
      this.#deps.broken(reasonOf(thrown)) // more is sent again, and the controller knows it
    }
  }

  #recover(): void {
    const { folder, lastAlive, salvage = false } = this.#config
    const { write } = this.#deps
    const state = readStreamState(folder, salvage)
    this.#acked = state.acked
    this.#droppedAcked = state.droppedAcked
    this.#ackedChain = state.chain
    this.#sentChain = state.chain
    const damaged = (path: string) => this.#deps.damaged(path)
    for (const segment of recoverSegments({ folder, acked: this.#acked, lastAlive, write, damaged, salvage }))
      this.#segments.add(segment)
    const { all } = this.#segments
    if (salvage) this.#acked = Math.max(this.#acked, (all[0]?.first ?? 1) - 1)
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

  #pend(pending: Pending): void {
    if (this.#pending.length === 0) this.#pendingFrom = pending.gap?.first_at ?? this.#deps.now()
    this.#pending.push(pending)
  }

  #put(pending: readonly Pending[]): void {
    const age = this.#deps.age()
    if (this.#writer.segment && age - this.#activeSince > this.#config.rollAfterMs) this.#closeActive()
    const segment = this.#writer.segment ?? this.#begin(this.#unwritten?.from ?? pending[0]?.first ?? 0, age)
    const lost = this.#unwritten
    const parts = bytesOf(pending)
    if (lost) parts.unshift(encodeGap(lost))
    const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
    this.#writer.append(bytes, this.#last)
    if (lost) pushGap(segment.gaps, lost)
    for (const record of pending) {
      if (record.gap) pushGap(segment.gaps, record.gap)
      const { first, last, gap, payload, crc, start, end } = record
      this.#recent.push({ first, last, gap, payload, crc, bytes: end - start })
    }
    if (segment.firstAt === 0) segment.firstAt = lost?.first_at ?? this.#pendingFrom
    segment.lastAt = this.#deps.now()
    segment.age = age
    this.#segments.grow(segment, bytes.length)
    this.#unwritten = undefined
    if (segment.bytes >= this.#config.segmentBytes) this.#closeActive()
  }

  #begin(first: number, age: number): Segment {
    const segment = this.#writer.begin(first)
    this.#activeSince = age
    this.#segments.add(segment)
    return segment
  }

  #closeActive(): void {
    this.#discard(this.#writer.close())
  }

  #discard(empty: Segment | undefined): void {
    if (empty) this.#remove(empty)
  }

  /** The write failed for good: its numbers become a gap. */
  #giveUp(pending: readonly Pending[]): void {
    const first = pending[0]?.first ?? 0
    for (const { gap, first: from, last } of pending) if (!gap) this.#dropped += last - from + 1
    const firstAt = this.#unwritten?.first_at ?? this.#pendingFrom
    const from = this.#unwritten?.from ?? first
    this.#unwritten = { from, to: this.#last, reason: 'disk_failed', ...timesOf(firstAt, this.#deps.now()) }
  }

  /** Frees what is wholly acked. */
  #free(): void {
    const active = this.#writer.segment
    if (
      active &&
      active.last <= this.#acked &&
      active.bytes >= this.#config.segmentBytes * FREE_ACTIVE_FROM &&
      this.#pending.length === 0
    )
      this.#closeActive()
    const done = this.#segments.all.filter((segment) => segment.last <= this.#acked && segment !== this.#writer.segment)
    if (done.length === 0) return
    try {
      this.saveState() // before the files go: the numbers must never be given out again
    } catch (thrown) {
      this.#deps.broken(reasonOf(thrown)) // they are kept, and tried again with the next ack
      return
    }
    for (const segment of done) this.#remove(segment)
  }

  /** The gap is on disk before the events go. */
  #drop(victim: Segment, reason: GapReason): void {
    if (victim === this.#writer.segment) this.#closeActive()
    const from = Math.max(victim.first, this.#acked + 1)
    const before = this.#segments.before(victim)
    // What may have been sent keeps its records: the checksum goes over them.
    const isJoined = before && before.first > this.#maybeSent && !holdsEvents(before) && before.last + 1 === from
    const joined = isJoined ? before : undefined
    const old = [...(joined ? joined.gaps : []), ...victim.gaps]
    const range = { from: joined ? Math.max(joined.first, this.#acked + 1) : from, to: victim.last }
    const filled = fillWithGaps(old, range, { reason, ...timesOf(victim.firstAt, victim.lastAt) })
    const gapSegment = writeGapSegment(this.#config.folder, filled, victim.age, this.#deps.write)
    this.#dropped += victim.last - from + 1 - numbersInGaps(victim.gaps, from, victim.last)
    for (const segment of joined ? [joined, victim] : [victim]) {
      if (segment.path !== gapSegment.path) this.#remove(segment)
      else this.#segments.forget(segment)
    }
    this.#segments.add(gapSegment)
    this.#recent.clear()
    this.#reader.close()
  }

  /** Events that were dropped here after they had been sent, and of which the controller says that they had arrived. */
  #arrived(number: number, lost: number, events: number): number {
    const inDoubt = this.#segments.all
      .flatMap(({ gaps }) => gaps.filter((gap) => replacesRecords(gap.reason)))
      .reduce((sum, gap) => sum + numbersInGaps([gap], this.#acked + 1, number), 0)
    const lostThere = number - events - this.#droppedAcked
    return Math.max(0, Math.min(inDoubt, lost - lostThere))
  }

  /** The checksum up to `number`, from the records between it and the ack; `undefined` when they are not what was sent. */
  #chainAt(number: number): number | undefined {
    let chain = this.#ackedChain
    this.#reader.close()
    for (let at = this.#acked; at < number && chain !== undefined; ) {
      const record = this.#readFrom(at + 1, READ_AHEAD_BYTES)
      if (!record || record.last > number || (record.gap && replacesRecords(record.gap.reason))) chain = undefined
      else {
        chain = chained(chain, record.crc)
        at = record.last
      }
    }
    this.#reader.close()
    return chain
  }

  /** The record in which `number` lies, from the disk; the next one is looked for behind it. */
  #readFrom(number: number, readAhead: number): Omit<RecentRecord, 'bytes' | 'first'> | undefined {
    const record = this.#read(number, readAhead)
    const last = record && lastNumberOf(record)
    if (!record || last === undefined) return undefined
    this.#reader.skipTo(last + 1, record.end)
    return { last, gap: gapOf(record), payload: record.payload, crc: record.crc }
  }

  /** A damaged segment is repaired on the way. */
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
    this.#deps.damaged(segment.path)
    this.#segments.forget(segment)
    const recovered = recoverSegment(segment.path, {
      expected: segment.first,
      following: segment.last + 1,
      lastAlive: this.#deps.now(),
      write: this.#deps.write,
    })
    this.#dropped -= numbersInGaps(segment.gaps, this.#acked + 1, segment.last)
    if (!recovered) return
    recovered.segment.age = segment.age
    this.#dropped += numbersInGaps(recovered.segment.gaps, this.#acked + 1, segment.last)
    this.#segments.add(recovered.segment)
  }

  #remove(segment: Segment): void {
    this.#reader.closeIf(segment.path)
    this.#segments.forget(segment)
    try {
      unlinkSync(segment.path)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') this.#deps.broken(reasonOf(thrown))
    }
  }
}

/**
 * Events wait here, on disk, until the controller has stored them. Each class is a stream of its own with consecutive numbers, and
 * every number is an event or lies in a gap: `produced = stored + spooled + dropped` (design 6). What is sent is written before, so a
 * kill takes back nothing that a controller has seen. A power cut, a snapshot that is put back or a copy of the disk may: then the
 * controller knows numbers, or other events under them, and the spool goes on in a new epoch before it sends anything.
 */
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import { EVENT_CLASSES, type EventClass, classOf } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { uuidv7 } from '@firebreak/shared/ids.ts'
import { type Result, reasonOf } from '@firebreak/shared/result.ts'
import type { BatchHeader, GapReason } from '@firebreak/shared/wire/frame.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import type { EpochEnd, Renewal, StreamCount } from '@firebreak/shared/wire/messages.ts'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import type { Emit, LossWindow } from '../../collectors/collector.ts'
import { makePrivateFolder } from '../../disk/atomic-file.ts'
import type { Log } from '../../log.ts'
import { LINK_LOG } from '../log-names.ts'
import { Ballast } from './ballast.ts'
import { Epochs } from './epochs.ts'
import { EventLines } from './event-line.ts'
import { Life } from './life.ts'
import { NumbersUnknown } from './segment.ts'
import { type FreeSpace, freeSpaceOf, SpoolKeeper, type SpoolLimits } from './spool-limits.ts'
import { Stream } from './stream.ts'

export interface SpoolConfig extends SpoolLimits {
  readonly segment_bytes: number
}

export interface UnsentBatch {
  readonly header: BatchHeader
  readonly lines: readonly Uint8Array[]
}

export interface Cursor {
  readonly epoch: string
  readonly class: EventClass
  readonly seq: number
  /** Checksum of the stream up to `seq`, as the controller was told it. */
  readonly chain?: number
  /** Of the numbers up to `seq`, those that the controller took as events. */
  readonly events?: number
}

/** What goes in comes from collectors, what goes out from the link. */
export interface Spool extends Required<Emit> {
  readonly epoch: string
  /** When the agent's life before gave its last sign, ms since 1970. */
  readonly lastAlive: number | undefined
  /** Epochs that ended here, oldest first. */
  readonly renewals: readonly Renewal[]
  /** Called when something was appended. */
  onAppend(listener: (eventClass: EventClass) => void): void
  /** Hands everything appended to the system: a kill loses nothing of it, and `next` hands it out. */
  flush(): void
  /** Resolves when everything appended before survives a power cut. */
  sync(): Promise<void>
  /** The next unsent batch of this class. It counts as sent until `rewind`. */
  next(eventClass: EventClass): UnsentBatch | undefined
  hasUnsent(eventClass: EventClass): boolean
  /** False when that was never sent. An ack of an earlier epoch says nothing any more and is fine. */
  ack(cursor: Cursor): boolean
  /**
   * Where the controller is at the start of a connection. If it knows numbers that this disk never gave out, or other events under
   * the same numbers, the disk went back in time or was copied; if it knows fewer than it acked before, the controller went back. A
   * new epoch begins then, with everything that was not acked.
   */
  resume(cursors: readonly Cursor[]): Promise<void>
  /** The host gets another key: what was not acked goes on in a new epoch, under its new id. */
  changeIdentity(): Promise<void>
  /** Of the epoch in force. */
  counts(): readonly StreamCount[]
  /** The last word on epochs that ended here. */
  closed(): readonly StreamCount[]
  close(): Promise<void>
}

const BATCH_BYTES = 256 * KiB
/** Nobody asks for it sooner: what is appended within so much is one write. */
const WRITE_WAIT_MS = 5
const SYNC_INTERVAL_MS = 200
const SYNC_BYTES = 1 * MiB
const UPKEEP_MS = 10_000
/** The file system is looked at again after so much was written, however short the time. */
const MEASURE_BYTES = 4 * MiB
/** Batches on the way are at most this much; after a restart it is not known which of them arrived. */
const MAYBE_SENT_BYTES = 2 * MiB
/** A segment ends after this part of the time that it is kept, so that what is old goes in small pieces. */
const ROLLS_PER_AGE = 8

export interface SpoolDeps {
  readonly clock: Clock
  readonly log: Log
  readonly folder: string
  /** Of the file system of this folder. */
  readonly freeSpace?: (folder: string) => FreeSpace
}

export function openSpool(deps: SpoolDeps, config: SpoolConfig): Spool {
  return new DiskSpool(deps, config)
}

class DiskSpool implements Spool {
  readonly #deps: SpoolDeps
  readonly #config: SpoolConfig
  readonly #ballast: Ballast
  readonly #life: Life
  readonly #epochs: Epochs
  readonly #keeper: SpoolKeeper
  readonly #listeners: ((eventClass: EventClass) => void)[] = []
  readonly #lines = new EventLines()
  readonly #stopping = new AbortController()
  #epoch: string
  #streams: ReadonlyMap<EventClass, Stream>
  #writeTimer: NodeJS.Timeout | undefined
  #unsyncedBytes = 0
  #unmeasuredBytes = 0
  #syncTimer: NodeJS.Timeout | undefined
  #toldInvalid = false
  #isBroken = false

  constructor(deps: SpoolDeps, config: SpoolConfig) {
    this.#deps = deps
    this.#config = config
    const { clock, log, folder } = deps
    makePrivateFolder(folder)
    this.#ballast = new Ballast(folder)
    this.#life = new Life(folder, clock, this.#ballast.write)
    this.#epochs = new Epochs(folder, this.#ballast.write)
    this.#keeper = new SpoolKeeper(config, (eventClass, reason) =>
      log.warn(LINK_LOG.spoolDropped, { class: eventClass, reason, max_bytes: config.max_bytes }),
    )
    const known = this.#epochs.current()
    const opened = known === undefined ? undefined : this.#tryOpen(known)
    if (known !== undefined && opened) {
      this.#epoch = known
      this.#streams = opened
    } else {
      this.#epoch = uuidv7(clock.now())
      this.#streams = this.#open(this.#epoch)
      if (known === undefined) this.#epochs.begin(this.#epoch)
      else this.#salvage(known)
      log.info(LINK_LOG.spoolBegan, { epoch: this.#epoch })
    }
    this.#epochs.removeOthers(this.#epoch)
    this.#upkeep()
    this.#keepUp().catch((thrown: unknown) => {
      if (!this.#stopping.signal.aborted) throw thrown
    })
  }

  get epoch(): string {
    return this.#epoch
  }

  get lastAlive(): number | undefined {
    return this.#life.before
  }

  get renewals(): readonly Renewal[] {
    return this.#epochs.renewals
  }

  onAppend(listener: (eventClass: EventClass) => void): void {
    this.#listeners.push(listener)
  }

  event(event: Event): void {
    this.#take(classOf(event), event.event.action, this.#lines.lineOf(event))
  }

  text(eventClass: EventClass, action: string, text: string, whole: () => Event): void {
    this.#take(eventClass, action, this.#lines.lineOfText(action, text, whole))
  }

  #take(eventClass: EventClass, action: string, line: Result<string, 'invalid' | 'too_large'>): void {
    if (line.ok) {
      const bytes = this.#stream(eventClass).append(line.value)
      this.#unsyncedBytes += bytes
      this.#unmeasuredBytes += bytes
      this.#appended(eventClass)
    } else {
      if (line.code === 'invalid' && !this.#toldInvalid) {
        this.#toldInvalid = true
        this.#deps.log.error(LINK_LOG.eventInvalid, { 'event.action': action.slice(0, 128), reason: line.why })
      }
      this.lost(eventClass, 1, line.code)
    }
  }

  lost(eventClass: EventClass, count: number, reason: GapReason, window?: LossWindow): void {
    if (!Number.isSafeInteger(count) || count < 1) return
    this.#stream(eventClass).appendGap(count, reason, window?.firstAt, window?.lastAt)
    this.#appended(eventClass)
  }

  flush(): void {
    if (this.#writeTimer !== undefined) this.#write()
  }

  async sync(): Promise<void> {
    clearTimeout(this.#syncTimer)
    this.#syncTimer = undefined
    this.#unsyncedBytes = 0
    this.#write()
    await Promise.all([...this.#streams.values()].filter((stream) => stream.isDirty).map((stream) => stream.sync()))
  }

  next(eventClass: EventClass): UnsentBatch | undefined {
    const run = this.#stream(eventClass).next({ events: WIRE.maxBatchEvents, bytes: BATCH_BYTES, gaps: 256 })
    if (!run) return undefined
    return {
      header: {
        epoch: this.#epoch,
        class: eventClass,
        first_seq: run.first,
        last_seq: run.last,
        count: run.lines.length,
        body_bytes: run.bytes,
        gaps: [...run.gaps],
        ...(run.chainBefore === undefined ? {} : { chain_before: run.chainBefore }),
        chain: run.chain,
      },
      lines: run.lines,
    }
  }

  hasUnsent(eventClass: EventClass): boolean {
    return this.#stream(eventClass).hasUnsent
  }

  ack({ epoch, class: eventClass, seq }: Cursor): boolean {
    return epoch !== this.#epoch || this.#stream(eventClass).ack(seq) === 'taken'
  }

  async resume(cursors: readonly Cursor[]): Promise<void> {
    this.flush()
    for (const stream of this.#streams.values()) stream.rewind()
    const here = cursors.filter(({ epoch }) => epoch === this.#epoch)
    const answers = here.map(({ class: name, seq, chain, events }): EpochEnd | 'taken' => {
      const stream = this.#stream(name)
      return seq < stream.acked ? 'controller_behind' : stream.ack(seq, chain, events)
    })
    const why = (['ahead', 'forked', 'controller_behind'] as const).find((end) => answers.includes(end))
    if (why === undefined) return
    const classes = here.filter((_, i) => answers[i] !== 'taken').map((cursor) => cursor.class)
    const name = why === 'controller_behind' ? LINK_LOG.controllerRolledBack : LINK_LOG.spoolRolledBack
    this.#deps.log.error(name, { classes: classes.join(','), why })
    await this.#renew(why)
  }

  async changeIdentity(): Promise<void> {
    this.#write()
    await this.#renew('identity_reset')
  }

  counts(): readonly StreamCount[] {
    const epoch = this.#epoch
    return EVENT_CLASSES.map((name) => ({ epoch, class: name, ...this.#stream(name).totals() }))
  }

  closed(): readonly StreamCount[] {
    return this.#epochs.closed
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    clearTimeout(this.#syncTimer)
    this.#write()
    await Promise.all([...this.#streams.values()].map((stream) => stream.close()))
    this.#guard(() => this.#life.sign())
  }

  #appended(eventClass: EventClass): void {
    this.#writeTimer ??= setTimeout(() => this.flush(), WRITE_WAIT_MS).unref()
    if (this.#syncTimer === undefined && !this.#stopping.signal.aborted)
      this.#syncTimer = setTimeout(() => this.#syncInBackground(), SYNC_INTERVAL_MS).unref()
    for (const listener of this.#listeners) listener(eventClass)
  }

  #write(): void {
    clearTimeout(this.#writeTimer)
    this.#writeTimer = undefined
    for (const stream of this.#streams.values()) stream.write()
    this.#guard(() => {
      if (this.#unmeasuredBytes >= MEASURE_BYTES) this.#measure()
      this.#keeper.keepWithin(this.#streams)
    })
    if (this.#unsyncedBytes >= SYNC_BYTES && !this.#stopping.signal.aborted) {
      this.#unsyncedBytes = 0
      this.#syncInBackground()
    }
  }

  #syncInBackground(): void {
    this.sync().catch((thrown: unknown) => {
      this.#deps.log.error(LINK_LOG.spoolUnwritable, { reason: reasonOf(thrown) })
    })
  }

  async #keepUp(): Promise<void> {
    for (;;) {
      await this.#deps.clock.sleep(UPKEEP_MS, this.#stopping.signal)
      this.#upkeep()
    }
  }

  #upkeep(): void {
    this.#guard(() => {
      this.#ballast.restore()
      this.#life.sign()
      this.#measure()
      this.#keeper.dropAged(this.#streams, this.#life.age())
      this.#keeper.keepWithin(this.#streams)
    })
  }

  #measure(): void {
    this.#unmeasuredBytes = 0
    const held = [...this.#streams.values()].reduce((sum, stream) => sum + stream.bytes, 0)
    this.#keeper.measure((this.#deps.freeSpace ?? freeSpaceOf)(this.#deps.folder), held)
  }

  /** Trouble of the disk in the background: told once until it is over, and tried again by the next round. */
  #guard(work: () => void): void {
    try {
      work()
      this.#isBroken = false
    } catch (thrown) {
      if (!this.#isBroken) this.#deps.log.error(LINK_LOG.spoolUnwritable, { reason: reasonOf(thrown) })
      this.#isBroken = true
    }
  }

  #makeRoom(eventClass: EventClass): boolean {
    let made = false
    this.#guard(() => {
      made = this.#keeper.makeRoom(this.#streams, eventClass)
      this.#ballast.restore()
    })
    return made
  }

  /** What was not acked goes into a new epoch with new numbers; what was lost there stays lost in the old one. */
  async #renew(why: EpochEnd): Promise<void> {
    const { clock, log } = this.#deps
    const old = this.#streams
    const into = uuidv7(clock.now())
    const streams = this.#open(into)
    for (const [name, stream] of old) moveOver(stream, streams.get(name))
    await Promise.all([...streams.values()].map((stream) => stream.sync()))
    // Where another machine or another past went on in this epoch, its counts are not ours to close.
    const counts = why === 'controller_behind' ? this.counts().map(closedCount) : []
    this.#epochs.renew({ from: this.#epoch, into, why, at_ms: clock.now() }, counts)
    this.#epoch = into
    this.#streams = streams
    log.info(LINK_LOG.spoolBegan, { epoch: into, why })
    await Promise.all([...old.values()].map((stream) => stream.close()))
    this.#epochs.removeOthers(into)
  }

  /** The numbers of an epoch cannot be told any more: what can be read goes on in the one that has just begun. */
  #salvage(from: string): void {
    for (const [name, fresh] of this.#streams) {
      // How many numbers are missing is not known: one stands for them all.
      fresh.appendGap(1, 'epoch_lost', this.#life.before)
      try {
        moveOver(this.#openStream(from, name, true), fresh)
      } catch (thrown) {
        this.#deps.log.error(LINK_LOG.spoolDamaged, { class: name, path: from, reason: reasonOf(thrown) })
      }
      fresh.seal()
    }
    this.#epochs.renew({ from, into: this.#epoch, why: 'damaged', at_ms: this.#deps.clock.now() }, [])
  }

  #tryOpen(epoch: string): ReadonlyMap<EventClass, Stream> | undefined {
    try {
      return this.#open(epoch)
    } catch (thrown) {
      if (!(thrown instanceof NumbersUnknown)) throw thrown
      // Where the numbers stand is not known, so none may be given out again: a new epoch.
      this.#deps.log.error(LINK_LOG.spoolDamaged, { path: epoch, reason: reasonOf(thrown) })
      return undefined
    }
  }

  #open(epoch: string): ReadonlyMap<EventClass, Stream> {
    return new Map(EVENT_CLASSES.map((name) => [name, this.#openStream(epoch, name, false)] as const))
  }

  #openStream(epoch: string, eventClass: EventClass, salvage: boolean): Stream {
    const { log, clock } = this.#deps
    const { max_bytes: max, segment_bytes: segment, max_age_hours: hours } = this.#config
    return new Stream(
      {
        folder: join(this.#epochs.folderOf(epoch), eventClass),
        segmentBytes: Math.min(segment, max / 16),
        maybeSentBytes: Math.min(MAYBE_SENT_BYTES, max / 8),
        rollAfterMs: (hours * 3_600_000) / ROLLS_PER_AGE,
        lastAlive: this.#life.before ?? clock.now(),
        salvage,
      },
      {
        now: () => clock.now(),
        age: () => this.#life.age(),
        write: this.#ballast.write,
        makeRoom: () => this.#makeRoom(eventClass),
        broken: (reason) => log.error(LINK_LOG.spoolUnwritable, { class: eventClass, reason }),
        damaged: (path) => log.error(LINK_LOG.spoolDamaged, { class: eventClass, path }),
      },
    )
  }

  #stream(eventClass: EventClass): Stream {
    const stream = this.#streams.get(eventClass)
    if (!stream) throw new TypeError(`no stream of class ${eventClass}`)
    return stream
  }
}

function moveOver(old: Stream, fresh: Stream | undefined): void {
  const { spooled } = old.totals()
  let moved = 0
  for (const item of old.unacked()) {
    if ('from' in item) fresh?.appendGap(item.to - item.from + 1, item.reason, item.first_at, item.last_at)
    else {
      fresh?.append(item)
      if (++moved % 1_000 === 0) fresh?.write()
    }
  }
  if (moved < spooled) fresh?.appendGap(spooled - moved, 'spool_damaged')
  fresh?.write()
}

/** The last word on an epoch: what waited in it goes on elsewhere. */
function closedCount({ spooled, ...count }: StreamCount): StreamCount {
  return { ...count, spooled: 0, moved: spooled }
}

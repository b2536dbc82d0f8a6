/**
 * Events wait here, on disk, until the controller has stored them. Each class is a stream of its own with consecutive numbers, and
 * every number is an event or lies in a gap: `produced = stored + spooled + dropped` (design 6). Nothing is sent before it is safe on
 * disk, so a power cut cannot make the agent give one number to two events that a controller has seen.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import { EVENT_CLASSES, type EventClass, classOf } from '@firebreak/shared/events/classes.ts'
import { type Event, eventSchema } from '@firebreak/shared/events/event.ts'
import { truncateEvent } from '@firebreak/shared/events/truncate.ts'
import { isUuid, uuidv7 } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { BatchHeader, GapReason } from '@firebreak/shared/wire/frame.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import type { StreamCount } from '@firebreak/shared/wire/messages.ts'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import type { Emit } from '../../collectors/collector.ts'
import { makePrivateFolder, readIfThere, writeAtomic } from '../../disk/atomic-file.ts'
import type { Log } from '../../log.ts'
import { LINK_LOG } from '../log-names.ts'
import { Stream, type StreamConfig } from './stream.ts'

export interface SpoolConfig {
  readonly max_bytes: number
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
}

/** What goes in comes from collectors, what goes out from the link. */
export interface Spool extends Emit {
  readonly epoch: string
  /** Called when something was appended. */
  onAppend(listener: (eventClass: EventClass) => void): void
  /** Resolves when everything appended before survives a power cut; only that is handed out by `next`. */
  sync(): Promise<void>
  /** The next unsent batch of this class. It counts as sent until `rewind`. */
  next(eventClass: EventClass): UnsentBatch | undefined
  hasUnsent(eventClass: EventClass): boolean
  /** False when that was never sent. An ack of an earlier epoch says nothing any more and is fine. */
  ack(cursor: Cursor): boolean
  /** Where the controller is at the start of a connection. If it knows numbers that this disk never gave out, the disk went back in time, and if it knows fewer than it acked before, the controller did: a new epoch begins. */
  resume(cursors: readonly Cursor[]): Promise<void>
  counts(): readonly StreamCount[]
  close(): Promise<void>
}

/** Part of the disk that only the agent's own alerts may use. */
const RESERVED_FOR_ALERTS = 0.1
const BATCH_BYTES = 256 * KiB
const SYNC_INTERVAL_MS = 200
const SYNC_BYTES = 64 * KiB
/** Batches on the way are at most this much; after a restart it is not known which of them arrived. */
const MAYBE_SENT_BYTES = 2 * MiB

export interface SpoolDeps {
  readonly clock: Clock
  readonly log: Log
  readonly folder: string
}

export function openSpool(deps: SpoolDeps, config: SpoolConfig): Spool {
  return new DiskSpool(deps, config)
}

class DiskSpool implements Spool {
  readonly #deps: SpoolDeps
  readonly #config: SpoolConfig
  #epoch: string
  #streams: ReadonlyMap<EventClass, Stream>
  readonly #listeners: ((eventClass: EventClass) => void)[] = []
  #writeDue = false
  #unsyncedBytes = 0
  #syncTimer: NodeJS.Timeout | undefined
  #toldInvalid = false
  #closed = false

  constructor(deps: SpoolDeps, config: SpoolConfig) {
    this.#deps = deps
    this.#config = config
    makePrivateFolder(deps.folder)
    const known = this.#readEpoch()
    const opened = known === undefined ? undefined : this.#tryOpen(known)
    if (known !== undefined && opened) {
      this.#epoch = known
      this.#streams = opened
    } else {
      this.#epoch = uuidv7(deps.clock.now())
      this.#streams = this.#begin(this.#epoch)
    }
    this.#removeOtherEpochs()
  }

  get epoch(): string {
    return this.#epoch
  }

  onAppend(listener: (eventClass: EventClass) => void): void {
    this.#listeners.push(listener)
  }

  event(event: Event): void {
    const eventClass = classOf(event)
    const fitted = this.#fit(event)
    if (typeof fitted === 'string') this.lost(eventClass, 1, fitted)
    else {
      this.#stream(eventClass).append(fitted)
      this.#unsyncedBytes += fitted.length
      this.#appended(eventClass)
    }
  }

  lost(eventClass: EventClass, count: number, reason: GapReason): void {
    if (!Number.isSafeInteger(count) || count < 1) return
    this.#stream(eventClass).appendGap(count, reason)
    this.#appended(eventClass)
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
      },
      lines: run.lines,
    }
  }

  hasUnsent(eventClass: EventClass): boolean {
    return this.#stream(eventClass).hasUnsent
  }

  ack(cursor: Cursor): boolean {
    return cursor.epoch !== this.#epoch || this.#stream(cursor.class).ack(cursor.seq)
  }

  async resume(cursors: readonly Cursor[]): Promise<void> {
    for (const stream of this.#streams.values()) stream.rewind()
    const behind = cursors.filter(
      ({ epoch, class: name, seq }) => epoch === this.#epoch && seq < this.#stream(name).acked,
    )
    const ahead = cursors.filter((cursor) => !this.ack(cursor))
    if (ahead.length > 0)
      this.#deps.log.error(LINK_LOG.spoolRolledBack, { classes: ahead.map((cursor) => cursor.class).join(',') })
    // It was set back to a backup: numbers that it does not know any more are not here either, and it takes none out of turn.
    if (behind.length > 0)
      this.#deps.log.error(LINK_LOG.controllerRolledBack, { classes: behind.map((cursor) => cursor.class).join(',') })
    if (ahead.length > 0 || behind.length > 0) await this.#renew()
  }

  counts(): readonly StreamCount[] {
    return EVENT_CLASSES.map((eventClass) => ({
      epoch: this.#epoch,
      class: eventClass,
      ...this.#stream(eventClass).totals(),
    }))
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#syncTimer)
    this.#write()
    await Promise.all([...this.#streams.values()].map((stream) => stream.close()))
  }

  /** The event as JSON text within all limits, or the reason why its number stays empty. */
  #fit(event: Event): Uint8Array | 'invalid' | 'too_large' {
    const cut = truncateEvent(event)
    if (!eventSchema.Check(cut)) {
      if (!this.#toldInvalid) {
        const error = eventSchema.Errors(cut)[0]
        this.#deps.log.error(LINK_LOG.eventInvalid, {
          'event.action': event.event.action.slice(0, 128),
          field: error?.instancePath ?? '',
          reason: error?.message ?? '',
        })
      }
      this.#toldInvalid = true
      return 'invalid'
    }
    let text = JSON.stringify(cut)
    // JSON.stringify writes half a surrogate pair as \udXXX, which no strict reader takes.
    if (/\\ud[89a-f]/i.test(text))
      text = JSON.stringify(cut, (_, value: unknown) => (typeof value === 'string' ? value.toWellFormed() : value))
    const line = Buffer.from(text)
    return line.length > WIRE.maxEventBytes ? 'too_large' : line
  }

  #appended(eventClass: EventClass): void {
    if (!this.#writeDue) {
      this.#writeDue = true
      setImmediate(() => this.#write())
    }
    if (this.#syncTimer === undefined && !this.#closed)
      this.#syncTimer = setTimeout(() => this.#syncInBackground(), SYNC_INTERVAL_MS).unref()
    for (const listener of this.#listeners) listener(eventClass)
  }

  #write(): void {
    this.#writeDue = false
    for (const stream of this.#streams.values()) stream.write()
    this.#keepWithinLimit()
    if (this.#unsyncedBytes >= SYNC_BYTES && !this.#closed) {
      this.#unsyncedBytes = 0
      this.#syncInBackground()
    }
  }

  #syncInBackground(): void {
    this.sync().catch((thrown: unknown) => {
      this.#deps.log.error(LINK_LOG.spoolUnwritable, { reason: reasonOf(thrown) })
    })
  }

  #keepWithinLimit(): void {
    const { max_bytes: max } = this.#config
    const others = EVENT_CLASSES.filter((eventClass) => eventClass !== 'alert').reverse()
    const bytesOf = (classes: readonly EventClass[]) => classes.reduce((sum, name) => sum + this.#stream(name).bytes, 0)
    while (bytesOf(others) > max * (1 - RESERVED_FOR_ALERTS) || bytesOf(EVENT_CLASSES) > max) {
      const freed = [...others, 'alert' as const].find((name) => this.#stream(name).dropOldest())
      if (freed === undefined) return
      this.#deps.log.warn(LINK_LOG.spoolFull, { class: freed, max_bytes: max })
    }
  }

  /** What was not acked goes into a new epoch with new numbers; what was lost there stays lost in the old one. */
  async #renew(): Promise<void> {
    const old = this.#streams
    const epoch = uuidv7(this.#deps.clock.now())
    const streams = this.#begin(epoch)
    for (const [eventClass, stream] of old) {
      const fresh = streams.get(eventClass)
      for (const item of stream.unacked()) {
        if ('from' in item) fresh?.appendGap(item.to - item.from + 1, item.reason)
        else fresh?.append(item)
      }
      fresh?.write()
    }
    this.#epoch = epoch
    this.#streams = streams
    await this.sync()
    await Promise.all([...old.values()].map((stream) => stream.close()))
    this.#removeOtherEpochs()
  }

  #readEpoch(): string | undefined {
    const text = readIfThere(join(this.#deps.folder, 'epoch'))?.toString('utf8').trim()
    return text !== undefined && isUuid(text) ? text : undefined
  }

  #begin(epoch: string): ReadonlyMap<EventClass, Stream> {
    const streams = this.#open(epoch)
    writeAtomic(join(this.#deps.folder, 'epoch'), `${epoch}\n`)
    this.#deps.log.info(LINK_LOG.spoolBegan, { epoch })
    return streams
  }

  #tryOpen(epoch: string): ReadonlyMap<EventClass, Stream> | undefined {
    try {
      return this.#open(epoch)
    } catch (thrown) {
      if (!(thrown instanceof SyntaxError)) throw thrown
      // Where the numbers stand is not known, so none may be given out again: a new epoch.
      this.#deps.log.error(LINK_LOG.spoolDamaged, { path: epoch, reason: reasonOf(thrown) })
      return undefined
    }
  }

  #open(epoch: string): ReadonlyMap<EventClass, Stream> {
    const { log, folder } = this.#deps
    return new Map(
      EVENT_CLASSES.map((eventClass) => {
        const config: StreamConfig = {
          folder: join(folder, epoch, eventClass),
          segmentBytes: Math.min(this.#config.segment_bytes, this.#config.max_bytes / 16),
          maybeSentBytes: Math.min(MAYBE_SENT_BYTES, this.#config.max_bytes / 8),
        }
        return [
          eventClass,
          new Stream(config, {
            broken: (reason) => log.error(LINK_LOG.spoolUnwritable, { class: eventClass, reason }),
            damaged: (path) => log.error(LINK_LOG.spoolDamaged, { class: eventClass, path }),
          }),
        ] as const
      }),
    )
  }

  #removeOtherEpochs(): void {
    for (const name of readdirSync(this.#deps.folder))
      if (isUuid(name) && name !== this.#epoch) rmSync(join(this.#deps.folder, name), { recursive: true, force: true })
  }

  #stream(eventClass: EventClass): Stream {
    const stream = this.#streams.get(eventClass)
    if (!stream) throw new TypeError(`no stream of class ${eventClass}`)
    return stream
  }
}

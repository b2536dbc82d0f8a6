/** How much a spool may hold, and what goes first when it is too much. Every drop leaves a gap with its reason (design 6). */
import { statfsSync } from 'node:fs'
import { EVENT_CLASSES, type EventClass } from '@firebreak/shared/events/classes.ts'
import type { GapReason } from '@firebreak/shared/wire/frame.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'

/** Part of the disk that only the agent's own alerts may use. */
const RESERVED_FOR_ALERTS = 0.1
/** What the agent itself raises is kept so much longer than what it watched. */
const ALERTS_KEPT_TIMES = 10
/** However full the file system is, this much may be held: it is what the next minutes of a host are worth. */
const KEPT_ON_A_FULL_DISK = 16 * MiB

export interface SpoolLimits {
  readonly max_bytes: number
  readonly max_age_hours: number
  readonly min_free_percent: number
}

/** The part of a stream that is needed here. */
interface Droppable {
  readonly bytes: number
  dropOldest(reason: GapReason): boolean
  dropAged(before: number): number
}

export interface FreeSpace {
  readonly free: number
  readonly total: number
}

/** Of the file system that holds this folder, for a process without privileges (statfs(2), f_bavail). */
export function freeSpaceOf(folder: string): FreeSpace {
  const { bavail, blocks, bsize } = statfsSync(folder)
  return { free: bavail * bsize, total: blocks * bsize }
}

export class SpoolKeeper {
  readonly #limits: SpoolLimits
  readonly #dropped: (eventClass: EventClass, reason: GapReason) => void
  /** How much of `max_bytes` the file system leaves. */
  #allowed: number

  /** `dropped` hears of each segment that was given up. */
  constructor(limits: SpoolLimits, dropped: (eventClass: EventClass, reason: GapReason) => void) {
    this.#limits = limits
    this.#dropped = dropped
    this.#allowed = limits.max_bytes
  }

  /** Looks at the file system again: what is missing to the floor is given back, down to what is always kept. */
  measure({ free, total }: FreeSpace, held: number): void {
    const { max_bytes: max, min_free_percent: percent } = this.#limits
    const spare = free - (total * percent) / 100
    this.#allowed = Math.max(Math.min(max, held + spare), Math.min(max / 8, KEPT_ON_A_FULL_DISK))
  }

  /** Frees the oldest of the least important until the rest is within the limits. Throws when the disk does not take the gaps. */
  keepWithin(streams: ReadonlyMap<EventClass, Droppable>): void {
    const others = EVENT_CLASSES.filter((eventClass) => eventClass !== 'alert').reverse()
    const bytesOf = (classes: readonly EventClass[]) =>
      classes.reduce((sum, name) => sum + (streams.get(name)?.bytes ?? 0), 0)
    const reason = this.#allowed < this.#limits.max_bytes ? 'disk_low' : 'spool_full'
    while (bytesOf(others) > this.#allowed * (1 - RESERVED_FOR_ALERTS) || bytesOf(EVENT_CLASSES) > this.#allowed) {
      const freed = [...others, 'alert' as const].find((name) => streams.get(name)?.dropOldest(reason))
      if (freed === undefined) return
      this.#dropped(freed, reason)
    }
  }

  /** On a disk that takes nothing more: frees the oldest of what is worth no more than this class. */
  makeRoom(streams: ReadonlyMap<EventClass, Droppable>, forClass: EventClass): boolean {
    const worthLess = EVENT_CLASSES.slice(EVENT_CLASSES.indexOf(forClass)).reverse()
    const freed = worthLess.find((name) => streams.get(name)?.dropOldest('disk_low'))
    if (freed !== undefined) this.#dropped(freed, 'disk_low')
    return freed !== undefined
  }

  /** Frees what is too old. `age`: ms that the spool has been alive. */
  dropAged(streams: ReadonlyMap<EventClass, Droppable>, age: number): void {
    for (const [name, stream] of streams) {
      const keptMs = this.#limits.max_age_hours * 3_600_000 * (name === 'alert' ? ALERTS_KEPT_TIMES : 1)
      if (stream.dropAged(age - keptMs) > 0) this.#dropped(name, 'spool_aged')
    }
  }
}

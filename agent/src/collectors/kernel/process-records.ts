/**
 * Exec, exit and fork of the kernel as process events, and who is behind a record of any other kind. A fork and the exec of its child
 * become one `process-started`; a child that goes on in its parent's image is told as `fork`.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type TokenBucket, createTokenBucket } from '../../token-bucket.ts'
import { type CommandLine, readCommandLine } from '../command-line.ts'
import { containerIdOf } from '../container-id.ts'
import type { EmitTally } from '../emit-tally.ts'
import { textOfBytes } from '../escaped-bytes.ts'
import type { ExecutableIdentities } from '../executable-identities.ts'
import { present } from '../present.ts'
import {
  type EventContext,
  type KnownProcess,
  type ProcessAction,
  type ProcessExtra,
  basicFields,
  processEvent,
  userOf,
} from '../process-events.ts'
import { ProcessTexts } from '../process-texts.ts'
import { type ProcessEntry, type ProcessTable, metIn } from '../process-table.ts'
import { type ProcessImage, terminalPath } from '../procfs-process.ts'
import { bareImage, hasRights, imageOf, rightsOf } from './record-image.ts'
import { type RecordTimes, isoOf, ticksOf } from './record-times.ts'
import type { SensorActor, SensorExec, SensorExit, SensorFork } from './sensor-records.ts'

/** A child that still runs its parent's image gets this long to exec before it is told as a fork. */
const HOLD_MS = 100
const TICK_MS = 10
const MAX_LINEAGE = 16
/** Command lines past what a record holds are read from /proc, so many a second: each costs up to some ms. */
const LONG_READS = { burst: 20, perSecond: 20 }

export interface ProcessRecordsDeps {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly table: ProcessTable
  readonly executables: ExecutableIdentities
  readonly out: EmitTally
  readonly times: RecordTimes
  readonly hostName: string
}

/** What stands in an event of another kind about the process that did it. */
export type Doer = Pick<Event, 'process' | 'user' | 'container'>

interface Held {
  readonly entry: ProcessEntry
  readonly at: string
  readonly dueMs: number
}

export class ProcessRecords {
  readonly #deps: ProcessRecordsDeps
  readonly #table: ProcessTable
  readonly #context: EventContext
  readonly #texts: ProcessTexts
  readonly #held: Held[] = []
  readonly #longReads: TokenBucket
  /** Taken once a batch. */
  nowMs = 0

  constructor(deps: ProcessRecordsDeps) {
    this.#deps = deps
    this.#table = deps.table
    this.#longReads = createTokenBucket(deps.clock, LONG_READS)
    const { accounts, ordinary } = deps.table
    this.#context = { hostName: deps.hostName, accounts, provider: 'kernel', ordinary }
    this.#texts = new ProcessTexts(this.#context)
  }

  get hasHeld(): boolean {
    return this.#held.length > 0
  }

  fork(record: SensorFork): void {
    const { actor } = record
    if (!actor) return
    const startTicks = ticksOf(actor.startBoottimeNs)
    const met = this.#table.find(actor.pid, startTicks)
    if (met) {
      met.touchedMs = this.nowMs
      if (met.telling === 'untold') this.#hold(met, record)
      return
    }
    this.#endOther(actor.pid)
    const parent = this.#parentOf(actor)
    const image = parent ? childImage(parent.known.image, actor) : bareImage(actor)
    const entry = this.#admit(record, actor, image, parent, parent?.known.executable)
    if (parent?.isKernelThread) entry.isKernelThread = true
    else this.#hold(entry, record)
  }

  exec(record: SensorExec): void {
    const { actor } = record
    if (!actor) return
    const startTicks = ticksOf(actor.startBoottimeNs)
    const at = isoOf(this.#deps.times.wallMs(record.monotonicNs))
    const image = imageOf(record, actor, () => this.#wholeCommandLine(actor.pid, startTicks))
    const execMs = Number(record.boottimeNs) / 1e6
    const known = this.#table.find(actor.pid, startTicks)
    if (!known) {
      this.#endOther(actor.pid)
      const entry = this.#admit(record, actor, image, this.#parentOf(actor))
      entry.telling = 'told'
      const isNew = (this.#table.recordsSinceMs ?? 0) <= Number(actor.startBoottimeNs) / 1e6
      this.#tell(isNew ? 'process-started' : 'exec', at, entry)
      return
    }
    known.touchedMs = this.nowMs
    known.isKernelThread = false
    if (known.telling === 'told' && execMs < known.imageOfMs) {
      // A look at /proc came after this exec and before its record: what it found was told.
      if (!isSameImage(known.known.image, image))
        this.#tellAs('exec', at, { ...known.known, image, executable: undefined })
      return
    }
    const wasTold = known.telling === 'told'
    known.telling = 'told'
    known.stack = '0'
    known.comm = textOfBytes(actor.comm)
    known.imageOfMs = execMs
    this.#table.change(known, { image, executable: undefined, session: actor.session, tty: ttyOf(actor) })
    this.#tell(wasTold ? 'exec' : 'process-started', at, known)
  }

  exit(record: SensorExit): void {
    const { actor } = record
    if (!actor) return
    const known = this.#table.find(actor.pid, ticksOf(actor.startBoottimeNs))
    if (known?.hasEnded) return
    if (known?.isKernelThread) {
      this.#table.forget(known)
      return
    }
    const entry = known ?? this.#admit(record, actor, bareImage(actor), this.#parentOf(actor))
    this.#tellHeld(entry)
    this.#table.forget(entry)
    this.#tellAs('process-ended', isoOf(this.#deps.times.wallMs(record.monotonicNs)), entry.known, {
      exitCode: record.signal > 0 ? 128 + record.signal : record.code,
      runtimeMs: Number(record.runtimeNs) / 1e6,
      reason: known ? undefined : 'its start was not seen',
    })
  }

  /** Tells those that were given time to exec and did not; all of them when `dueMs` is left out. */
  flush(dueMs = Number.POSITIVE_INFINITY): void {
    let done = 0
    for (const { entry, dueMs: due } of this.#held) {
      if (due > dueMs) break
      done += 1
      this.#tellHeld(entry)
    }
    this.#held.splice(0, done)
  }

  /** When the next one is due, monotonic ms. */
  get nextDueMs(): number | undefined {
    return this.#held[0]?.dueMs
  }

  /** Who did what a record of another kind tells. */
  doer(actor: SensorActor | undefined): Doer {
    if (!actor) return {}
    const entry = this.entryOf(actor)
    const { cgroup } = entry.known.image
    const containerId = cgroup === undefined ? undefined : containerIdOf(cgroup)
    return {
      process: basicFields(entry.known, this.#table.accounts),
      ...present({
        user: userOf(rightsOf(actor), this.#table.accounts),
        container: containerId === undefined ? undefined : { id: containerId },
      }),
    }
  }

  /** Always somebody: of a process that nobody remembers any more the record says enough for a name and an identity. */
  entryOf(actor: SensorActor): ProcessEntry {
    const startTicks = ticksOf(actor.startBoottimeNs)
    const known = this.#table.find(actor.pid, startTicks)
    if (known) {
      known.touchedMs = this.nowMs
      return known
    }
    return this.#fromProc(actor.pid, startTicks, MAX_LINEAGE) ?? this.#bareEntry(actor)
  }

  /** The other party of a call, such as the one that is traced. */
  other(pid: number, startBoottimeNs: bigint): NonNullable<Event['firebreak']>['target'] {
    const startTicks = ticksOf(startBoottimeNs)
    const entry = this.#table.find(pid, startTicks) ?? this.#fromProc(pid, startTicks, MAX_LINEAGE)
    return entry
      ? basicFields(entry.known, this.#table.accounts)
      : { pid, entity_id: this.#table.entityId(pid, startTicks) }
  }

  #hold(entry: ProcessEntry, record: SensorFork): void {
    entry.telling = 'held'
    const at = isoOf(this.#deps.times.wallMs(record.monotonicNs))
    this.#held.push({ entry, at, dueMs: this.nowMs + HOLD_MS })
  }

  #tellHeld(entry: ProcessEntry): void {
    if (entry.telling !== 'held') return
    entry.telling = 'told'
    this.#tell('fork', entry.known.startedAt, entry)
  }

  /** Another process has this pid now, so the one that had it is gone; the record of its end was lost. */
  #endOther(pid: number): void {
    const other = this.#table.get(pid)
    if (!other) return
    const wasTold = other.telling !== 'untold' && !other.hasEnded && !other.isKernelThread
    this.#tellHeld(other)
    this.#table.forget(other)
    if (!wasTold) return
    const at = isoOf(this.#deps.times.wallMs(process.hrtime.bigint()))
    const reason = 'its end was not seen; another process has its pid'
    this.#tellAs('process-ended', at, other.known, { reason })
  }

  #admit(
    record: SensorFork | SensorExec | SensorExit,
    actor: SensorActor,
    image: ProcessImage,
    parent: ProcessEntry | undefined,
    executable?: KnownProcess['executable'],
  ): ProcessEntry {
    const ageMs = Number(record.boottimeNs - actor.startBoottimeNs) / 1e6
    const entry = this.#table.entryOf({
      ...metAs(actor),
      startedAt: isoOf(this.#deps.times.wallMs(record.monotonicNs) - ageMs),
      image,
      executable,
      parent,
      telling: 'untold',
      nowMs: this.nowMs,
      imageOfMs: Number(record.boottimeNs) / 1e6,
    })
    this.#table.add(entry)
    return entry
  }

  /** Known though it has ended: the parent of a short life is often gone when its child's record is read. */
  #parentOf(actor: SensorActor): ProcessEntry | undefined {
    if (actor.ppid === 0) return undefined
    const startTicks = ticksOf(actor.parentStartBoottimeNs)
    return this.#table.find(actor.ppid, startTicks) ?? this.#fromProc(actor.ppid, startTicks, MAX_LINEAGE)
  }

  /** One that was there before the first record, with the parents that it has now. Told by whoever lists /proc. */
  #fromProc(pid: number, startTicks: number, depth: number): ProcessEntry | undefined {
    const { reader } = this.#table
    const stat = reader.stat(pid)
    if (!stat || stat.startTicks !== startTicks) return undefined
    const image = reader.image(pid, stat.comm)
    const parentStat = depth > 0 && stat.ppid > 0 ? reader.stat(stat.ppid) : undefined
    const parent =
      parentStat && parentStat.startTicks <= startTicks
        ? (this.#table.find(stat.ppid, parentStat.startTicks) ??
          this.#fromProc(stat.ppid, parentStat.startTicks, depth - 1))
        : undefined
    const startedAtMs = this.#deps.times.wallMs(process.hrtime.bigint()) - this.#table.nowMs() + startTicks * TICK_MS
    const entry = this.#table.entryOf({
      ...metIn(stat),
      pid,
      startedAt: isoOf(startedAtMs),
      image,
      parent,
      telling: 'untold',
      nowMs: this.nowMs,
      imageOfMs: this.#table.nowMs(),
    })
    this.#table.add(entry)
    return entry
  }

  #bareEntry(actor: SensorActor): ProcessEntry {
    const startedAtMs =
      this.#deps.times.wallMs(process.hrtime.bigint()) - this.#table.nowMs() + Number(actor.startBoottimeNs) / 1e6
    const parent = this.#table.find(actor.ppid, ticksOf(actor.parentStartBoottimeNs))
    return this.#table.entryOf({
      ...metAs(actor),
      startedAt: isoOf(startedAtMs),
      image: bareImage(actor),
      parent,
      telling: 'told',
      nowMs: this.nowMs,
      imageOfMs: 0,
      hasEnded: true,
    })
  }

  #wholeCommandLine(pid: number, startTicks: number): CommandLine | undefined {
    const { reader } = this.#table
    if (!this.#longReads.take() || reader.stat(pid)?.startTicks !== startTicks) return undefined
    try {
      return readCommandLine(`${reader.root}/${pid}/cmdline`)
    } catch {
      // It ended in between: the record's part of it stands.
      return undefined
    }
  }

  #tell(action: ProcessAction, at: string, entry: ProcessEntry): void {
    this.#deps.executables.identify(entry, this.#table, (known) => {
      const now = isoOf(this.#deps.times.wallMs(process.hrtime.bigint()))
      this.#tellAs('executable-identified', now, known)
    })
    this.#tellAs(action, at, entry.known)
  }

  #tellAs(action: ProcessAction, at: string, known: KnownProcess, extra?: ProcessExtra): void {
    const whole = () => processEvent(action, at, known, this.#context, extra)
    const text = this.#texts.textOf(action, at, known, extra)
    if (text === undefined) this.#deps.out.event(whole())
    else this.#deps.out.text('process', action, text, whole)
  }
}

/** The parent's, in the rights of the child. */
function childImage(image: ProcessImage, actor: SensorActor): ProcessImage {
  return hasRights(image, actor) ? image : { ...image, ...rightsOf(actor) }
}

function isSameImage(a: ProcessImage, b: ProcessImage): boolean {
  return a.executable === b.executable && a.commandLine?.text === b.commandLine?.text
}

/** What every record tells of a process that is met in it. */
function metAs(actor: SensorActor) {
  return {
    pid: actor.pid,
    startTicks: ticksOf(actor.startBoottimeNs),
    ppid: actor.ppid,
    session: actor.session,
    tty: ttyOf(actor),
    comm: textOfBytes(actor.comm),
  }
}

function ttyOf({ tty }: SensorActor): string | undefined {
  return tty === 0 ? undefined : terminalPath(tty >>> 20, tty & 0xf_ffff)
}

/**
 * The processes of this host as they are remembered: one table for all sources, so that a process has one identity, is told once and keeps
 * the parent that it had when it was born, whoever saw it. Bounded: those that ended are forgotten, the oldest first.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import { entityPrefixOf, readBootId } from '../platform/linux/process-identity.ts'
import { AccountNames } from './accounts.ts'
import { type KnownProcess, type Ordinary, lineageOf } from './process-events.ts'
import { type ProcessStat, ProcfsReader, ttyPathOf } from './procfs-process.ts'

/** Ended processes that are still known: a child's or a connection's record may be read after its end. */
const MAX_ENDED = 2_048
/** Far more than a host has; a table that has grown so large holds processes whose end was never seen. */
const MAX_LIVE = 65_536

export interface ProcessEntry {
  known: KnownProcess
  /** Where its stack starts, of proc_pid_stat(5): another one after each execve(2). '0': not known. */
  stack: string
  comm: string
  isKernelThread: boolean
  /** `held`: a child with its parent's image, which may be about to exec. */
  telling: 'untold' | 'held' | 'told'
  /** Monotonic, ms. */
  readonly firstSeenMs: number
  /** When a source last spoke of it, monotonic ms. */
  touchedMs: number
  /** Since boot, ms: what was exec'd before is in the image already. */
  imageOfMs: number
  hasEnded: boolean
  lineage?: Lineage | undefined
}

/** A process as somebody meets it for the first time. */
export interface Met
  extends Pick<KnownProcess, 'pid' | 'startTicks' | 'startedAt' | 'ppid' | 'session' | 'tty' | 'image'>,
    Pick<ProcessEntry, 'comm' | 'telling' | 'imageOfMs'> {
  readonly executable?: KnownProcess['executable']
  /** As it is known; undefined: only its pid is. */
  readonly parent: ProcessEntry | undefined
  /** Left out: not known. */
  readonly stack?: string
  readonly isKernelThread?: boolean
  readonly hasEnded?: boolean
  /** Monotonic, ms. */
  readonly nowMs: number
  /** Left out: a source speaks of it now. */
  readonly touchedMs?: number
}

/** What a look at /proc tells of a process that is met there. */
export function metIn(stat: ProcessStat) {
  return {
    startTicks: stat.startTicks,
    ppid: stat.ppid,
    session: stat.session,
    tty: ttyPathOf(stat.ttyNumber),
    stack: stat.startStack,
    comm: stat.comm,
    isKernelThread: stat.isKernelThread,
  }
}

export type Lineage = Pick<KnownProcess, 'parent' | 'parentCuts' | 'ancestors'>

export interface ProcessTableDeps {
  readonly clock: Clock
  readonly procRoot: string
  readonly root: string
}

export class ProcessTable {
  readonly reader: ProcfsReader
  readonly accounts: AccountNames
  readonly #clock: Clock
  readonly #live = new Map<number, ProcessEntry>()
  readonly #ended = new Map<number, ProcessEntry>()
  #prefix: string | undefined
  #ordinary: Ordinary | undefined
  /** Since boot, ms: from then on another source tells starts and ends as they happen. Undefined while none does. */
  recordsSinceMs: number | undefined

  constructor({ clock, procRoot, root }: ProcessTableDeps) {
    this.#clock = clock
    this.reader = new ProcfsReader(procRoot)
    this.accounts = new AccountNames(clock, root)
  }

  get ordinary(): Ordinary {
    this.#ordinary ??= { capabilities: this.reader.capabilities(1), namespaces: this.reader.namespaces('self') }
    return this.#ordinary
  }

  get size(): number {
    return this.#live.size
  }

  entries(): Iterable<ProcessEntry> {
    return this.#live.values()
  }

  get(pid: number): ProcessEntry | undefined {
    return this.#live.get(pid)
  }

  /** The process with this pid that started then, also when it has ended lately. */
  find(pid: number, startTicks: number): ProcessEntry | undefined {
    const live = this.#live.get(pid)
    if (live?.known.startTicks === startTicks) return live
    const ended = this.#ended.get(keyOf(pid, startTicks))
    return ended?.known.pid === pid && ended.known.startTicks === startTicks ? ended : undefined
  }

  /** The one that has this pid, or else had it last; for sources that tell no start times. */
  last(pid: number): ProcessEntry | undefined {
    return this.#live.get(pid) ?? [...this.#ended.values()].findLast(({ known }) => known.pid === pid)
  }

  /** Throws where there is no boot id. */
  entityId(pid: number, startTicks: number): string {
    this.#prefix ??= entityPrefixOf(readBootId(this.reader.root))
    return `${this.#prefix}-${pid}-${startTicks}`
  }

  /** Throws where there is no boot id. The table does not have it before `add`. */
  entryOf(met: Met): ProcessEntry {
    const { pid, startTicks, startedAt, ppid, session, tty, image, executable } = met
    const entityId = this.entityId(pid, startTicks)
    const lineage = this.lineageFor(met.parent, ppid)
    return {
      known: { pid, entityId, startTicks, startedAt, ppid, session, tty, image, executable, ...lineage },
      stack: met.stack ?? '0',
      comm: met.comm,
      isKernelThread: met.isKernelThread ?? false,
      telling: met.telling,
      firstSeenMs: met.nowMs,
      touchedMs: met.touchedMs ?? met.nowMs,
      imageOfMs: met.imageOfMs,
      hasEnded: met.hasEnded ?? false,
    }
  }

  add(entry: ProcessEntry): void {
    this.#live.set(entry.known.pid, entry)
    if (this.#live.size <= MAX_LIVE) return
    const [oldest] = this.#live.values()
    if (oldest) this.forget(oldest)
  }

  /** Not one of the living any more; found for a while still. */
  forget(entry: ProcessEntry): void {
    const { pid, startTicks } = entry.known
    entry.hasEnded = true
    if (this.#live.get(pid) === entry) this.#live.delete(pid)
    if (entry.isKernelThread) return
    this.#ended.set(keyOf(pid, startTicks), entry)
    if (this.#ended.size <= MAX_ENDED) return
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest)
      break
    }
  }

  /** What a child of this process remembers of it. */
  lineageFor(parent: ProcessEntry | undefined, ppid: number): Lineage {
    if (!parent) return lineageOf(undefined, ppid, this.accounts)
    parent.lineage ??= lineageOf(parent.known, ppid, this.accounts)
    return parent.lineage
  }

  change(entry: ProcessEntry, changes: Partial<KnownProcess>): void {
    entry.known = { ...entry.known, ...changes }
    entry.lineage = undefined
  }

  nowMs(): number {
    return this.#clock.monotonic()
  }
}

/** One number for both: a pid has at most 22 bits (PID_MAX_LIMIT), and ticks reach 31 bits after 248 days: beyond that two may share a key, and `find` compares. */
function keyOf(pid: number, startTicks: number): number {
  return startTicks * 2 ** 22 + pid
}

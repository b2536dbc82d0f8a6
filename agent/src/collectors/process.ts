/**
 * Process starts, image changes and ends, by reading /proc every `interval_ms`. Blind to what lives shorter than that; the health
 * says so. Known processes cost one small read every two seconds, new ones about 0.1 ms. While a better source tells processes it only
 * compares, now and then, and tells what that source lost. Source: proc(5), proc_pid_stat(5).
 */
import { accessSync, constants } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { performance } from 'node:perf_hooks'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { ProcessConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import type { ExecutableIdentities } from './executable-identities.ts'
import { PollLoop } from './poll-loop.ts'
import { type EventContext, type ProcessAction, processEvent } from './process-events.ts'
import { type ProcessEntry, type ProcessTable, metIn } from './process-table.ts'
import { type ProcessImage, type ProcessStat, exitCodeOf, ttyPathOf } from './procfs-process.ts'
import type { Sources } from './sources.ts'

/** Clock ticks of /proc are 10 ms on every Linux that Node runs on (USER_HZ is 100). */
const TICK_MS = 10
/** This long after its first sight a process is looked at every time: that is when it execs. */
const YOUNG_MS = 3_000
/** A child that still runs its parent's image gets this long to exec before it is told as a fork. */
const HOLD_MS = 100
/** Every older process is looked at once in this time. */
const SWEEP_MS = 2_000
/** How often it compares while another source tells processes, and what is left to that source because its record may be on its way. */
const COMPARE_MS = 60_000
const SETTLE_MS = 3_000
/** A few processes hide their executable even from root; more than this share means that the agent lacks rights. */
const MAX_DENIED_SHARE = 0.1
/** A look gives way to the rest of the agent after this long. */
const SLICE_MS = 15

export interface ProcessDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  readonly table: ProcessTable
  readonly executables: ExecutableIdentities
  readonly sources: Sources
}

export function createProcessCollector(deps: ProcessDeps, config: Static<typeof ProcessConfig>): Collector {
  return new ProcessCollector(deps, config)
}

class ProcessCollector implements Collector {
  readonly name = 'process'
  readonly classes = ['process'] as const
  readonly source = 'polling'
  readonly #deps: ProcessDeps
  readonly #config: Static<typeof ProcessConfig>
  readonly #out = new EmitTally()
  readonly #table: ProcessTable
  readonly #context: EventContext
  readonly #loop: PollLoop
  readonly #listed = new Set<number>()
  #looks = 0
  /** Taken once a look: to ask the clock costs a read of /proc/uptime. */
  #nowMs = 0
  #isRunning = false
  #comparesUntilMs = Number.NEGATIVE_INFINITY

  constructor(deps: ProcessDeps, config: Static<typeof ProcessConfig>) {
    this.#deps = deps
    this.#config = config
    this.#table = deps.table
    const { accounts, ordinary } = deps.table
    this.#context = { hostName: deps.hostName, accounts, provider: 'procfs', ordinary }
    this.#loop = new PollLoop(
      deps.clock,
      () => this.#intervalMs(),
      (signal) => this.#look(signal),
    )
    deps.sources.onChange((eventClass) => {
      if (eventClass !== 'process' || !this.#isRunning) return
      // What the change made nobody see is found by one look now and one when records on their way have arrived.
      this.#comparesUntilMs = this.#table.nowMs() + 2 * SETTLE_MS
      this.#loop.wake()
    })
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.process.enabled is false')
    if (this.#deps.platform !== 'linux') return refuse('unsupported_system', 'only Linux has a /proc of this form')
    const { root } = this.#table.reader
    try {
      accessSync(`${root}/sys/kernel/random/boot_id`, constants.R_OK)
      return ok()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      const why = `${root} cannot be read: ${code ?? 'unknown'}`
      return code === 'EACCES' || code === 'EPERM' ? refuse('no_permission', why) : refuse('missing_source', why)
    }
  }

  async start(emit: Emit): Promise<void> {
    this.#out.open(emit)
    this.#isRunning = true
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    this.#isRunning = false
    await this.#loop.stop()
    await this.#deps.executables.stop()
  }

  health(): CollectorHealth {
    if (!this.#isRunning) return this.#out.health('off', 'not started')
    const trouble = this.#loop.trouble ?? this.#denied()
    if (trouble !== undefined) return this.#out.health('degraded', trouble)
    if (!this.#speaks) return this.#out.health('running', 'stands by: a better source tells processes')
    return this.#out.health(
      'running',
      `by polling: a process that lives shorter than ${this.#config.interval_ms} ms can be missed`,
    )
  }

  #denied(): string | undefined {
    const { images, denied } = this.#table.reader
    return denied / images > MAX_DENIED_SHARE
      ? `no permission to see the executable of ${denied} of ${images} processes: run the agent as root`
      : undefined
  }

  /** Nobody better does. */
  get #speaks(): boolean {
    return !this.#deps.sources.hasBetter('process', this.source)
  }

  #intervalMs(): number {
    if (this.#speaks) return this.#config.interval_ms
    return this.#table.nowMs() < this.#comparesUntilMs ? SETTLE_MS : COMPARE_MS
  }

  async #look(signal: AbortSignal): Promise<void> {
    this.#looks += 1
    this.#nowMs = this.#table.nowMs()
    const isFirst = this.#looks === 1
    const pids = this.#table.reader.pids()
    this.#listed.clear()
    const fresh: number[] = []
    for (const pid of pids) {
      this.#listed.add(pid)
      const entry = this.#table.get(pid)
      if (!entry) fresh.push(pid)
      else if (entry.telling === 'untold') this.#tellUntold(entry, isFirst)
    }
    // Ends first: a pid that was given away again is told as one end and one start, in this order.
    for (const entry of this.#table.entries()) {
      if (!this.#isMine(entry)) continue
      if (!this.#listed.has(entry.known.pid)) this.#end(entry)
      else if (this.#isDue(entry) && this.#recheck(entry) === 'another') fresh.push(entry.known.pid)
    }
    await this.#admitAll(fresh, isFirst, signal)
  }

  /** Records that are on their way are not to be forestalled. */
  #isMine(entry: ProcessEntry): boolean {
    return this.#speaks || this.#nowMs - entry.touchedMs > SETTLE_MS
  }

  #isDue(entry: ProcessEntry): boolean {
    if (!this.#speaks) return true
    const sweeps = Math.max(1, Math.round(SWEEP_MS / this.#config.interval_ms))
    return this.#nowMs - entry.firstSeenMs < YOUNG_MS || entry.known.pid % sweeps === this.#looks % sweeps
  }

  /** Met by another source before this one listed it. */
  #tellUntold(entry: ProcessEntry, isFirst: boolean): void {
    if (entry.isKernelThread) return
    entry.telling = 'told'
    this.#tell(
      isFirst ? 'process-existing' : 'process-started',
      isFirst ? this.#nowIso() : entry.known.startedAt,
      entry,
    )
  }

  /** Looks at a known process again; `another` when its pid belongs to somebody else by now. */
  #recheck(entry: ProcessEntry): 'same' | 'another' {
    const { pid } = entry.known
    const stat = this.#table.reader.stat(pid)
    if (!stat) {
      this.#end(entry)
      return 'same'
    }
    if (stat.startTicks !== entry.known.startTicks) {
      this.#end(entry)
      return 'another'
    }
    if (entry.isKernelThread || entry.hasEnded) return 'same'
    if (isDead(stat)) {
      this.#announceHeld(entry, 'fork')
      this.#tellEnd(entry, exitCodeOf(stat.exitStatus))
    } else if (this.#hasOtherImage(entry, stat)) {
      this.#takeImage(entry, stat)
    } else {
      if (this.#nowMs - entry.firstSeenMs >= HOLD_MS) this.#announceHeld(entry, 'fork')
      entry.stack = stat.startStack
      entry.comm = stat.comm
    }
    return 'same'
  }

  /** An entry that a record made has no stack to compare, and a program may change its name: there the file that it runs decides. */
  #hasOtherImage(entry: ProcessEntry, stat: ProcessStat): boolean {
    if (!hasOtherImage(entry, stat)) return false
    if (entry.stack !== '0' || stat.startStack === '0') return true
    const now = this.#table.reader.executable(entry.known.pid)
    return now !== undefined && now !== entry.known.image.executable
  }

  #takeImage(entry: ProcessEntry, seen: ProcessStat): void {
    const { image, stat } = this.#imageOf(entry.known.pid, seen)
    entry.stack = stat.startStack
    entry.comm = stat.comm
    entry.imageOfMs = this.#nowMs
    this.#table.change(entry, { image, executable: undefined, session: stat.session, tty: ttyPathOf(stat.ttyNumber) })
    if (entry.telling === 'held') this.#announceHeld(entry, 'process-started')
    else this.#tell('exec', this.#nowIso(), entry)
  }

  #announceHeld(entry: ProcessEntry, action: 'fork' | 'process-started'): void {
    if (entry.telling !== 'held') return
    entry.telling = 'told'
    this.#tell(action, entry.known.startedAt, entry)
  }

  #end(entry: ProcessEntry): void {
    const wasTold = entry.hasEnded
    this.#table.forget(entry)
    if (entry.isKernelThread || wasTold) return
    this.#announceHeld(entry, 'fork')
    this.#tellEnd(entry)
  }

  #tellEnd(entry: ProcessEntry, exitCode?: number): void {
    entry.hasEnded = true
    const reason = this.#speaks ? undefined : 'its end was not seen; it is gone'
    this.#out.event(processEvent('process-ended', this.#nowIso(), entry.known, this.#context, { exitCode, reason }))
  }

  async #admitAll(pids: readonly number[], isFirst: boolean, signal: AbortSignal): Promise<void> {
    const stats = new Map<number, ProcessStat>()
    const { reader, recordsSinceMs } = this.#table
    for (const pid of pids) {
      const stat = reader.stat(pid)
      if (stat && isLeftToRecords(stat, recordsSinceMs, this.#nowMs)) continue
      if (stat) stats.set(pid, stat)
      // Listed a moment ago and gone: it ran, and nothing more will ever be known of it.
      else if (this.#speaks) this.#out.lost('process', 1)
    }
    if (stats.size === 0) return
    const bootedAtMs = reader.bootedAt(this.#deps.clock.now())
    let sliceStart = performance.now()
    // Parents are older than their children, so they come first and lineage is whole.
    const inOrder = [...stats].sort(([, a], [, b]) => a.startTicks - b.startTicks)
    for (const [pid] of inOrder) {
      this.#admit(pid, stats, bootedAtMs, isFirst)
      if (performance.now() - sliceStart < SLICE_MS) continue
      await nextTurn()
      if (signal.aborted) return
      sliceStart = performance.now()
    }
  }

  #admit(pid: number, stats: Map<number, ProcessStat>, bootedAtMs: number, isFirst: boolean): void {
    const seen = stats.get(pid)
    if (!seen) return
    stats.delete(pid)
    // Of the same tick and not yet admitted: the parent goes first.
    if (stats.has(seen.ppid)) this.#admit(seen.ppid, stats, bootedAtMs, isFirst)
    // A record of it was read between two slices.
    if (this.#table.get(pid)?.known.startTicks === seen.startTicks) return
    const { image, stat } = this.#imageOf(pid, seen)
    const parent = this.#parentOf(stat)
    const mayExec = !isFirst && this.#speaks && !isDead(stat) && parent !== undefined
    const entry = this.#table.entryOf({
      ...metIn(stat),
      pid,
      startedAt: new Date(bootedAtMs + stat.startTicks * TICK_MS).toISOString(),
      image,
      parent,
      telling: mayExec && !hasOtherImage(parent, stat) ? 'held' : 'told',
      nowMs: this.#nowMs,
      touchedMs: Number.NEGATIVE_INFINITY,
      imageOfMs: this.#nowMs,
    })
    this.#table.add(entry)
    if (stat.isKernelThread || entry.telling === 'held') return
    if (isDead(stat)) {
      if (isFirst) entry.hasEnded = true
      else {
        this.#tell('process-started', entry.known.startedAt, entry, { reason: 'it ended before it could be read' })
        this.#tellEnd(entry, exitCodeOf(stat.exitStatus))
      }
    } else if (isFirst) this.#tell('process-existing', this.#nowIso(), entry)
    else this.#tell('process-started', entry.known.startedAt, entry)
  }

  /** The parent, unless its pid is younger than the child: then the real one is gone and its number was given away. */
  #parentOf(stat: ProcessStat): ProcessEntry | undefined {
    const parent = this.#table.get(stat.ppid)
    return parent && parent.known.startTicks <= stat.startTicks ? parent : undefined
  }

  /** Reads again when it exec'd in between, so that name, arguments and file are of one image. */
  #imageOf(pid: number, stat: ProcessStat): { image: ProcessImage; stat: ProcessStat } {
    const { reader } = this.#table
    const image = reader.image(pid, stat.comm)
    const after = reader.stat(pid)
    const before = { stack: stat.startStack, comm: stat.comm }
    if (!after || after.startTicks !== stat.startTicks || !hasOtherImage(before, after)) return { image, stat }
    return { image: reader.image(pid, after.comm), stat: after }
  }

  #tell(action: ProcessAction, at: string, entry: ProcessEntry, extra: { reason?: string } = {}): void {
    this.#deps.executables.identify(entry, this.#table, (known) => {
      this.#out.event(processEvent('executable-identified', this.#nowIso(), known, this.#context))
    })
    this.#out.event(processEvent(action, at, entry.known, this.#context, extra))
  }

  #nowIso(): string {
    return new Date(this.#deps.clock.now()).toISOString()
  }
}

/** Started while a better source watches, and so lately that its record may still be on its way. */
function isLeftToRecords(stat: ProcessStat, recordsSinceMs: number | undefined, nowMs: number): boolean {
  if (recordsSinceMs === undefined) return false
  const startMs = stat.startTicks * TICK_MS
  return startMs + TICK_MS >= recordsSinceMs && startMs > nowMs - SETTLE_MS
}

function isDead(stat: ProcessStat): boolean {
  return stat.state === 'Z' || stat.state === 'X' || stat.state === 'x'
}

/** Each execve(2) gives a new stack; where the stack is not ours to see, the name has to do. */
function hasOtherImage(before: Pick<ProcessEntry, 'stack' | 'comm'>, after: ProcessStat): boolean {
  return before.stack !== '0' && after.startStack !== '0'
    ? before.stack !== after.startStack
    : before.comm !== after.comm
}

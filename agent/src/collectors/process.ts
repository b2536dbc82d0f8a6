/**
 * Process starts, image changes and ends, by reading /proc every `interval_ms`. Blind to what lives shorter than that; the health
 * says so. Known processes cost one small read every two seconds, new ones about 0.1 ms. Source: proc(5), proc_pid_stat(5).
 */
import { accessSync, constants } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { performance } from 'node:perf_hooks'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { entityIdOf, readBootId } from '../platform/linux/process-identity.ts'
import { AccountNames } from './accounts.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { ProcessConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { ExecutableHashes } from './executable-hashes.ts'
import { PollLoop } from './poll-loop.ts'
import { type EventContext, type KnownProcess, type ProcessAction, lineageOf, processEvent } from './process-events.ts'
import { type ProcessImage, type ProcessStat, ProcfsReader, exitCodeOf } from './procfs-process.ts'

/** Clock ticks of /proc are 10 ms on every Linux that Node runs on (USER_HZ is 100). */
const TICK_MS = 10
/** This long after its first sight a process is looked at every time: that is when it execs. */
const YOUNG_MS = 3_000
/** A child that still runs its parent's image gets this long to exec before it is told as a fork. */
const HOLD_MS = 100
/** Every older process is looked at once in this time. */
const SWEEP_MS = 2_000
/** A few processes hide their executable even from root; more than this share means that the agent lacks rights. */
const MAX_DENIED_SHARE = 0.1
/** A look gives way to the rest of the agent after this long. */
const SLICE_MS = 15

export interface ProcessDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  /** Where the host's /proc and /etc are; another root in tests. */
  readonly procRoot: string
  readonly root: string
}

interface Entry {
  known: KnownProcess
  stat: ProcessStat
  readonly firstSeenMs: number
  lastSeen: number
  /** Seen with its parent's image and not yet told: the next looks show whether it was about to exec. */
  isHeld: boolean
  hasEnded: boolean
}

export function createProcessCollector(deps: ProcessDeps, config: Static<typeof ProcessConfig>): Collector {
  return new ProcessCollector(deps, config)
}

class ProcessCollector implements Collector {
  readonly name = 'process'
  readonly classes = ['process'] as const
  readonly #deps: ProcessDeps
  readonly #config: Static<typeof ProcessConfig>
  readonly #out = new EmitTally()
  readonly #reader: ProcfsReader
  readonly #hashes: ExecutableHashes
  readonly #context: EventContext
  readonly #table = new Map<number, Entry>()
  readonly #loop: PollLoop
  #bootId = ''
  #looks = 0
  /** Taken once a look: to ask the clock costs a read of /proc/uptime. */
  #nowMs = 0
  #isRunning = false

  constructor(deps: ProcessDeps, config: Static<typeof ProcessConfig>) {
    this.#deps = deps
    this.#config = config
    this.#reader = new ProcfsReader(deps.procRoot)
    this.#hashes = new ExecutableHashes(deps.clock, {
      max_bytes: config.hash_max_bytes,
      bytes_per_s: config.hash_bytes_per_s,
    })
    this.#context = {
      hostName: deps.hostName,
      accounts: new AccountNames(deps.clock, deps.root),
      provider: 'procfs',
    }
    this.#loop = new PollLoop(deps.clock, config.interval_ms, (signal) => this.#look(signal))
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.process.enabled is false')
    if (this.#deps.platform !== 'linux') return refuse('unsupported_system', 'only Linux has a /proc of this form')
    try {
      accessSync(`${this.#reader.root}/sys/kernel/random/boot_id`, constants.R_OK)
      return ok()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      const why = `${this.#reader.root} cannot be read: ${code ?? 'unknown'}`
      return code === 'EACCES' || code === 'EPERM' ? refuse('no_permission', why) : refuse('missing_source', why)
    }
  }

  async start(emit: Emit): Promise<void> {
    this.#bootId = readBootId(this.#reader.root)
    this.#out.open(emit)
    this.#isRunning = true
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    this.#isRunning = false
    await this.#loop.stop()
    await this.#hashes.stop()
  }

  health(): CollectorHealth {
    if (!this.#isRunning) return this.#out.health('off', 'not started')
    const trouble = this.#loop.trouble ?? this.#denied()
    if (trouble !== undefined) return this.#out.health('degraded', trouble)
    return this.#out.health(
      'running',
      `by polling: a process that lives shorter than ${this.#config.interval_ms} ms can be missed`,
    )
  }

  #denied(): string | undefined {
    const { images, denied } = this.#reader
    return denied / images > MAX_DENIED_SHARE
      ? `no permission to see the executable of ${denied} of ${images} processes: run the agent as root`
      : undefined
  }

  async #look(signal: AbortSignal): Promise<void> {
    this.#looks += 1
    this.#nowMs = this.#deps.clock.monotonic()
    const isFirst = this.#looks === 1
    const pids = this.#reader.pids()
    const fresh: number[] = []
    for (const pid of pids) {
      const entry = this.#table.get(pid)
      if (entry) entry.lastSeen = this.#looks
      else fresh.push(pid)
    }
    // Ends first: a pid that was given away again is told as one end and one start, in this order.
    for (const entry of this.#table.values()) {
      if (entry.lastSeen !== this.#looks) this.#end(entry)
      else if (this.#isDue(entry) && this.#recheck(entry) === 'another') fresh.push(entry.known.pid)
    }
    await this.#admitAll(fresh, isFirst, signal)
  }

  #isDue(entry: Entry): boolean {
    const sweeps = Math.max(1, Math.round(SWEEP_MS / this.#config.interval_ms))
    return this.#nowMs - entry.firstSeenMs < YOUNG_MS || entry.known.pid % sweeps === this.#looks % sweeps
  }

  /** Looks at a known process again; `another` when its pid belongs to somebody else by now. */
  #recheck(entry: Entry): 'same' | 'another' {
    const { pid } = entry.known
    const stat = this.#reader.stat(pid)
    if (!stat) {
      this.#end(entry)
      return 'same'
    }
    if (stat.startTicks !== entry.stat.startTicks) {
      this.#end(entry)
      return 'another'
    }
    if (entry.stat.isKernelThread || entry.hasEnded) return 'same'
    if (isDead(stat)) {
      this.#announceHeld(entry, 'fork')
      this.#tellEnd(entry, exitCodeOf(stat.exitStatus))
    } else if (hasOtherImage(entry.stat, stat)) {
      this.#takeImage(entry, stat)
    } else {
      if (this.#nowMs - entry.firstSeenMs >= HOLD_MS) this.#announceHeld(entry, 'fork')
      entry.stat = stat
    }
    return 'same'
  }

  #takeImage(entry: Entry, seen: ProcessStat): void {
    const { image, stat } = this.#imageOf(entry.known.pid, seen)
    entry.stat = stat
    entry.known = { ...entry.known, image, sha256: this.#hashOf(entry.known.pid, image), ttyNumber: stat.ttyNumber }
    if (entry.isHeld) this.#announceHeld(entry, 'process-started')
    else this.#tell('exec', this.#nowIso(), entry)
  }

  #announceHeld(entry: Entry, action: 'fork' | 'process-started'): void {
    if (!entry.isHeld) return
    entry.isHeld = false
    this.#tell(action, entry.known.startedAt, entry)
  }

  #end(entry: Entry): void {
    if (this.#table.get(entry.known.pid) === entry) this.#table.delete(entry.known.pid)
    if (entry.stat.isKernelThread || entry.hasEnded) return
    this.#announceHeld(entry, 'fork')
    this.#tellEnd(entry)
  }

  #tellEnd(entry: Entry, exitCode?: number): void {
    entry.hasEnded = true
    this.#tell('process-ended', this.#nowIso(), entry, exitCode === undefined ? {} : { exitCode })
  }

  async #admitAll(pids: readonly number[], isFirst: boolean, signal: AbortSignal): Promise<void> {
    const stats = new Map<number, ProcessStat>()
    for (const pid of pids) {
      const stat = this.#reader.stat(pid)
      if (stat) stats.set(pid, stat)
      // Listed a moment ago and gone: it ran, and nothing more will ever be known of it.
      else this.#out.lost('process', 1)
    }
    if (stats.size === 0) return
    const bootedAtMs = this.#reader.bootedAt(this.#deps.clock.now())
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
    const { image, stat } = this.#imageOf(pid, seen)
    const parent = this.#parentOf(stat)
    const entry: Entry = {
      known: {
        pid,
        entityId: entityIdOf(this.#bootId, pid, stat.startTicks),
        startTicks: stat.startTicks,
        startedAt: new Date(bootedAtMs + stat.startTicks * TICK_MS).toISOString(),
        ppid: stat.ppid,
        ttyNumber: stat.ttyNumber,
        image,
        sha256: this.#hashOf(pid, image),
        ...lineageOf(parent?.known, stat.ppid, this.#context.accounts),
      },
      stat,
      firstSeenMs: this.#nowMs,
      lastSeen: this.#looks,
      isHeld: !isFirst && !isDead(stat) && parent !== undefined && !hasOtherImage(parent.stat, stat),
      hasEnded: false,
    }
    this.#table.set(pid, entry)
    if (stat.isKernelThread || entry.isHeld) return
    if (isDead(stat)) {
      if (!isFirst) {
        this.#tell('process-started', entry.known.startedAt, entry, { reason: 'it ended before it could be read' })
        this.#tellEnd(entry, exitCodeOf(stat.exitStatus))
      }
      entry.hasEnded = true
    } else if (isFirst) this.#tell('process-existing', this.#nowIso(), entry)
    else this.#tell('process-started', entry.known.startedAt, entry)
  }

  /** The parent, unless its pid is younger than the child: then the real one is gone and its number was given away. */
  #parentOf(stat: ProcessStat): Entry | undefined {
    const parent = this.#table.get(stat.ppid)
    return parent && parent.stat.startTicks <= stat.startTicks ? parent : undefined
  }

  /** Reads again when it exec'd in between, so that name, arguments and file are of one image. */
  #imageOf(pid: number, stat: ProcessStat): { image: ProcessImage; stat: ProcessStat } {
    const image = this.#reader.image(pid, stat.comm)
    const after = this.#reader.stat(pid)
    if (!after || after.startTicks !== stat.startTicks || !hasOtherImage(stat, after)) return { image, stat }
    return { image: this.#reader.image(pid, after.comm), stat: after }
  }

  #hashOf(pid: number, image: ProcessImage): string | undefined {
    return image.executableStat && this.#hashes.of(`${this.#reader.root}/${pid}/exe`, image.executableStat)
  }

  #tell(action: ProcessAction, at: string, entry: Entry, extra: { reason?: string; exitCode?: number } = {}): void {
    if (entry.known.sha256 === undefined) {
      const { executableStat } = entry.known.image
      const sha256 = executableStat && this.#hashes.known(executableStat)
      if (sha256 !== undefined) entry.known = { ...entry.known, sha256 }
    }
    this.#out.event(processEvent(action, at, entry.known, this.#context, extra))
  }

  #nowIso(): string {
    return new Date(this.#deps.clock.now()).toISOString()
  }
}

function isDead(stat: ProcessStat): boolean {
  return stat.state === 'Z' || stat.state === 'X' || stat.state === 'x'
}

/** Each execve(2) gives a new stack; where the stack is not ours to see, the name has to do. */
function hasOtherImage(before: ProcessStat, after: ProcessStat): boolean {
  return before.startStack !== '0' && after.startStack !== '0'
    ? before.startStack !== after.startStack
    : before.comm !== after.comm
}

/**
 * What the kernel sensor sees, as events: processes, connections, names, files, and calls that change the kernel. It speaks for a class only
 * while every program of the sensor that this class needs is attached; else polling does. What the kernel had no room for is counted, and
 * so is the time in which no sensor ran.
 */
import { accessSync, constants } from 'node:fs'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { SourceReason } from '@firebreak/shared/events/coverage.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from '../collector.ts'
import type { CollectorsConfig, KernelConfig } from '../collectors-config.ts'
import { EmitTally } from '../emit-tally.ts'
import type { ExecutableIdentities } from '../executable-identities.ts'
import { FileDigests } from '../file-digests.ts'
import type { ProcessTable } from '../process-table.ts'
import type { Sources } from '../sources.ts'
import { createPathFilter, expandPath } from '../watched-paths.ts'
import { CallRecords } from './call-records.ts'
import { FileRecords } from './file-records.ts'
import { ProcessRecords } from './process-records.ts'
import { BatchTimes } from './record-times.ts'
import { SENSOR_PATHS_MAX, type SensorConfiguration } from './sensor-configure.ts'
import { SensorGaps } from './sensor-gaps.ts'
import { STATS_MS, SensorProcess, type SensorTiming } from './sensor-process.ts'
import {
  SENSOR_CLASSES,
  type SensorClass,
  type SensorHello,
  type SensorRecord,
  type SensorSource,
} from './sensor-records.ts'
import { SocketRecords } from './socket-records.ts'

/** What a class cannot do without, and what it misses something without. */
const NEEDS: { readonly [C in SensorClass]: readonly SensorSource[] } = {
  process: ['exec', 'exit', 'fork'],
  network: ['tcp', 'accept'],
  file: ['file', 'file-write'],
}
const GAINS: { readonly [C in SensorClass]: readonly SensorSource[] } = {
  process: ['kernel-call', 'credentials'],
  network: ['udp', 'dns'],
  file: [],
}
/** How often patterns such as /home/* are looked up again. */
const EXPAND_MS = 30_000
/** After so many deaths in a row polling is what the host has, and not a pause. */
const GIVEN_UP = 3

export interface KernelDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  readonly root: string
  readonly table: ProcessTable
  readonly executables: ExecutableIdentities
  readonly sources: Sources
  readonly mountNamespace?: number | undefined
  readonly timing?: Partial<SensorTiming> | undefined
}

type Config = Pick<CollectorsConfig, 'file' | 'network' | 'process'> & { readonly kernel: Static<typeof KernelConfig> }

export function createKernelCollector(deps: KernelDeps, config: Config): Collector {
  return new KernelCollector(deps, config)
}

class KernelCollector implements Collector {
  readonly name = 'kernel'
  readonly classes = SENSOR_CLASSES
  readonly #deps: KernelDeps
  readonly #config: Config
  readonly #out = new EmitTally()
  readonly #times: BatchTimes
  readonly #sensor: SensorProcess
  readonly #processes: ProcessRecords
  readonly #sockets: SocketRecords
  readonly #files: FileRecords
  readonly #calls: CallRecords
  readonly #gaps: SensorGaps
  readonly #covered = new Set<SensorClass>()
  #paths: readonly string[] = []
  #unwatched: readonly string[] = []
  #expandTimer: NodeJS.Timeout | undefined
  #dueTimer: NodeJS.Timeout | undefined
  #dueMs = Number.POSITIVE_INFINITY
  #deaths = 0
  #restarts = 0
  #badRecords = 0
  #unattached: readonly string[] = []
  #trouble: string | undefined = 'it has not started yet'

  constructor(deps: KernelDeps, config: Config) {
    const { clock, hostName, table, executables } = deps
    this.#deps = deps
    this.#config = config
    this.#times = new BatchTimes(() => clock.now())
    const common = { out: this.#out, times: this.#times, hostName }
    this.#processes = new ProcessRecords({ ...common, clock, table, executables })
    this.#sockets = new SocketRecords({ ...common, processes: this.#processes, loopback: config.network.loopback })
    this.#files = new FileRecords({
      ...common,
      processes: this.#processes,
      digests: new FileDigests(config.file.hash_max_bytes),
      isExcluded: createPathFilter(config.file.exclude, deps.root),
      mountNamespace: deps.mountNamespace,
    })
    this.#calls = new CallRecords({ ...common, processes: this.#processes, table })
    this.#gaps = new SensorGaps(this.#out, clock, table.reader.root)
    this.#sensor = new SensorProcess({
      clock,
      path: config.kernel.sensor,
      ...(deps.timing ? { timing: deps.timing } : {}),
      configuration: () => this.#configuration(),
      listener: {
        up: (hello) => this.#up(hello),
        record: (record) => this.#take(record),
        bad: () => this.#bad(),
        batch: (isStart) => this.#batch(isStart),
        down: (why) => this.#down(why),
      },
    })
  }

  async canRun(): Promise<Result<void, Blindness>> {
    const { sensor, enabled } = this.#config.kernel
    const answer = this.#canRun(enabled, sensor)
    if (!answer.ok) this.#absent('degraded_to_polling', `${answer.code}: ${answer.why}`)
    return answer
  }

  async start(emit: Emit): Promise<void> {
    this.#out.open(emit)
    this.#lookUpPaths()
    await this.#sensor.start()
    this.#expandTimer = setInterval(() => {
      if (this.#lookUpPaths()) this.#sensor.configure()
    }, EXPAND_MS).unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#expandTimer)
    clearTimeout(this.#dueTimer)
    await this.#sensor.stop()
    for (const name of SENSOR_CLASSES) this.#deps.sources.withdraw(this.name, name)
    this.#covered.clear()
    this.#deps.table.recordsSinceMs = undefined
    this.#out.close()
    await this.#files.stop()
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    const troubles = [
      this.#trouble,
      this.#restarts > 0 ? `the sensor was started again ${this.#restarts} times` : undefined,
      this.#badRecords > 0 ? `${this.#badRecords} records could not be read` : undefined,
      this.#unwatched.length > 0 ? `not watched: ${this.#unwatched.slice(0, 4).join(', ')}` : undefined,
    ].filter((one) => one !== undefined)
    const isWhole = this.#trouble === undefined && this.#badRecords === 0
    return this.#out.health(isWhole ? 'running' : 'degraded', troubles.length > 0 ? troubles.join('; ') : undefined)
  }

  #canRun(enabled: boolean, sensor: string): Result<void, Blindness> {
    if (!enabled) return refuse('switched_off', 'collectors.kernel.enabled is false')
    if (this.#deps.platform !== 'linux') return refuse('unsupported_system', 'the sensor is for Linux')
    try {
      accessSync(sensor, constants.X_OK)
      return ok()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      const why = `${sensor}: ${code ?? 'cannot be run'}`
      return code === 'EACCES' || code === 'EPERM' ? refuse('no_permission', why) : refuse('missing_source', why)
    }
  }

  #up(hello: SensorHello): void {
    if (!this.#out.isOpen) return
    const attached = new Set(hello.sources.filter((source) => source.attached).map(({ source }) => source))
    const why = (names: readonly SensorSource[]) =>
      hello.sources
        .filter(({ source, attached: isAttached }) => !isAttached && names.includes(source))
        .map((source) => `${source.source}: ${source.why}`)
    const troubles: string[] = []
    this.#gaps.begin(this.#wanted().filter((name) => NEEDS[name].every((source) => attached.has(source))))
    for (const name of this.#wanted()) {
      const missing = why(NEEDS[name])
      const lesser = why(GAINS[name])
      troubles.push(...missing, ...lesser)
      if (missing.length > 0) this.#absentOf(name, 'degraded_to_polling', missing.join('; '))
      else this.#cover(name, lesser, hello)
    }
    this.#unattached = troubles
    this.#trouble = troubles.length > 0 ? `it does not see everything: ${troubles.join('; ')}` : undefined
  }

  #cover(name: SensorClass, lesser: readonly string[], hello: SensorHello): void {
    this.#covered.add(name)
    if (name === 'process') this.#deps.table.recordsSinceMs = Number(hello.boottimeNs) / 1e6
    this.#deps.sources.offer(
      this.name,
      name,
      lesser.length > 0
        ? { source: 'sensor', quality: 'partial', why: lesser.join('; ') }
        : { source: 'sensor', quality: 'full' },
    )
  }

  #take(record: SensorRecord): void {
    switch (record.kind) {
      case 'exec':
        this.#processes.exec(record)
        return
      case 'fork':
        this.#processes.fork(record)
        return
      case 'exit':
        this.#processes.exit(record)
        return
      case 'stats':
        this.#gaps.take(record)
        this.#deaths = 0
        return
      case 'configured':
        this.#unwatched = record.paths
          .filter(({ error }) => error > 0)
          .map(({ path }) => Buffer.from(path.bytes).toString('utf8'))
        return
      case 'hello':
        return
      default:
        if ('socketId' in record) this.#sockets.take(record)
        else if ('openFlags' in record) this.#files.take(record)
        else this.#calls.take(record)
    }
  }

  #bad(): void {
    this.#badRecords += 1
    this.#out.lost('process', 1, 'collector_overflow')
  }

  #batch(isStart: boolean): void {
    if (isStart) {
      this.#times.compare()
      const nowMs = this.#deps.clock.monotonic()
      this.#processes.nowMs = nowMs
      this.#sockets.nowMs = nowMs
      this.#gaps.alive()
      return
    }
    this.#armDue()
  }

  /** One timer for all that waits: forks for their exec, connects for their outcome, questions for their answer. */
  #armDue(): void {
    const dueMs = Math.min(this.#processes.nextDueMs ?? Infinity, this.#sockets.nextDueMs ?? Infinity)
    if (dueMs >= this.#dueMs || dueMs === Infinity || !this.#out.isOpen) return
    clearTimeout(this.#dueTimer)
    this.#dueMs = dueMs
    this.#dueTimer = setTimeout(() => this.#flush(), Math.max(1, dueMs - this.#deps.clock.monotonic() + 1))
  }

  #flush(): void {
    this.#dueMs = Number.POSITIVE_INFINITY
    const nowMs = this.#deps.clock.monotonic()
    this.#processes.flush(nowMs)
    this.#sockets.flush(nowMs)
    this.#armDue()
  }

  #down(why: string): void {
    // One that runs and is not allowed to look was no source.
    const wasUp = this.#covered.size > 0
    this.#processes.flush()
    this.#sockets.flush()
    this.#deaths += 1
    if (wasUp) this.#restarts += 1
    this.#trouble = [`the sensor does not run: ${why}`, ...(wasUp ? [] : this.#unattached.slice(0, 1))].join('; ')
    this.#deps.table.recordsSinceMs = undefined
    if (wasUp) this.#gaps.end([...this.#covered])
    this.#covered.clear()
    const reason = wasUp && this.#deaths < GIVEN_UP ? 'sensor_restarted' : 'degraded_to_polling'
    this.#absent(reason, wasUp ? why : (this.#unattached[0] ?? why))
    this.#unattached = []
  }

  #absent(reason: SourceReason, why: string): void {
    for (const name of SENSOR_CLASSES) this.#absentOf(name, reason, why)
  }

  #absentOf(name: SensorClass, reason: SourceReason, why: string): void {
    this.#covered.delete(name)
    if (name === 'process') this.#deps.table.recordsSinceMs = undefined
    this.#deps.sources.withdraw(this.name, name, { source: 'sensor', reason, why })
  }

  /** What the owner of the host wants to be watched at all. */
  #wanted(): SensorClass[] {
    return SENSOR_CLASSES.filter((name) => this.#config[name].enabled)
  }

  #configuration(): SensorConfiguration {
    const wanted = new Set(this.#wanted())
    return {
      switches: {
        process: wanted.has('process'),
        network: wanted.has('network'),
        dns: wanted.has('network') && this.#config.kernel.dns,
        file: wanted.has('file'),
        kernelCalls: wanted.has('process'),
      },
      excludedPid: process.pid,
      coalesceUs: this.#config.kernel.coalesce_us,
      statsIntervalMs: STATS_MS,
      paths: this.#paths.map((path) => Buffer.from(path)),
    }
  }

  /** True when other folders are to be watched than before. */
  #lookUpPaths(): boolean {
    const found = this.#config.file.paths.flatMap((pattern) => expandPath(pattern, this.#deps.root))
    const paths = [...new Set(found)].slice(0, SENSOR_PATHS_MAX)
    const isSame = paths.length === this.#paths.length && paths.every((path, at) => path === this.#paths[at])
    this.#paths = paths
    return !isSame
  }
}

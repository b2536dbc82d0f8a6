/** All collectors of this host over the real sensor, supervised as the agent does it, with what they said kept. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { SourceStatus } from '@firebreak/shared/events/coverage.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { Value } from 'typebox/value'
import { buildSensor } from '../../../sensor/build-sensor.ts'
import { type CollectorSupervisor, superviseCollectors } from '../../collector-supervisor.ts'
import { silentLog } from '../../log.ts'
import { RecordedEmit, waitFor } from '../collector.fake.ts'
import type { LossWindow } from '../collector.ts'
import { CollectorsConfig } from '../collectors-config.ts'
import { createCollectors } from '../collectors.ts'
import { Sources } from '../sources.ts'
import type { SensorTiming } from './sensor-process.ts'

export interface Loss {
  readonly eventClass: EventClass
  readonly count: number
  readonly reason: string
  readonly window: LossWindow | undefined
}

export class WatchedHost implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'kernel-'))
  readonly emit = new RecordedEmit()
  readonly losses: Loss[] = []
  readonly #sources = new Sources(systemClock)
  readonly #supervisor: CollectorSupervisor
  readonly #keeps: boolean

  constructor({
    sensor,
    timing,
    take,
    watched = [],
    root,
  }: {
    readonly sensor?: string | undefined
    readonly timing?: Partial<SensorTiming> | undefined
    /** Takes the events instead of keeping them. */
    readonly take?: ((event: Event) => void) | undefined
    /** Folders besides its own. */
    readonly watched?: readonly string[] | undefined
    /** Where accounts and packages are looked up. */
    readonly root?: string | undefined
  } = {}) {
    this.#keeps = take === undefined
    const kernel = { sensor: sensor ?? sensorPath() }
    const config = Value.Default(CollectorsConfig, {
      kernel,
      file: { paths: [this.folder, ...watched] },
      logins: { enabled: false },
      inventory: { enabled: false },
    })
    if (!Value.Check(CollectorsConfig, config)) throw new Error('the fixture has a wrong configuration')
    const deps = { clock: systemClock, sources: this.#sources, hostName: 'contract-host', ...(root ? { root } : {}) }
    const collectors = createCollectors(timing ? { ...deps, sensorTiming: timing } : deps, config)
    const emit = {
      event: (event: Event) => (take ? take(event) : this.emit.event(event)),
      lost: (eventClass: EventClass, count: number, reason: string, window?: LossWindow) => {
        this.losses.push({ eventClass, count, reason, window })
      },
    }
    this.#supervisor = superviseCollectors(collectors, emit, {
      clock: systemClock,
      log: silentLog,
      sources: this.#sources,
    })
  }

  async start(): Promise<this> {
    await this.#supervisor.start()
    if (this.#keeps) await this.settled()
    return this
  }

  /** What was there at the start has been told. */
  async settled(): Promise<void> {
    await this.find('this process', (event) => event.process?.pid === process.pid, 30_000)
  }

  health(name: string) {
    return this.#supervisor.status().find((status) => status.name === name)
  }

  source(eventClass: EventClass): SourceStatus | undefined {
    return this.#supervisor.sources().find((status) => status.class === eventClass)
  }

  lost(eventClass: EventClass): number {
    return this.losses.filter((one) => one.eventClass === eventClass).reduce((sum, { count }) => sum + count, 0)
  }

  /** The newest that fits, since two tests may do the same. */
  async find(what: string, fits: (event: Event) => boolean, withinMs = 20_000): Promise<Event> {
    return await waitFor(what, () => this.emit.events.findLast(fits), withinMs)
  }

  of(pid: number, action?: string): Event[] {
    return this.emit.events.filter(
      (event) => event.process?.pid === pid && (action === undefined || event.event.action === action),
    )
  }

  async action(pid: number, action: string, withinMs = 20_000): Promise<Event> {
    return await this.find(
      `${action} of ${pid}`,
      (event) => event.process?.pid === pid && event.event.action === action,
      withinMs,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#supervisor.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function sensorPath(): string {
  const built = buildSensor()
  if (!built.ok) throw new Error(built.why)
  return built.value
}

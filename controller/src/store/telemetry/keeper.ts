/** Lets go what is past its age or its size, and measures what is kept. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { TelemetryLog, TelemetryMetrics } from './log-names.ts'
import type { TelemetryConfig } from './telemetry-config.ts'
import type { TelemetryStats, TelemetryStore } from './telemetry-store.ts'

export interface KeeperDeps {
  readonly telemetry: Pick<TelemetryStore, 'retain' | 'stats'>
  readonly clock: Clock
  readonly log: TelemetryLog
  readonly metrics: TelemetryMetrics
}

export class Keeper {
  readonly #deps: KeeperDeps
  readonly #config: Pick<TelemetryConfig, 'keep_days' | 'max_bytes' | 'check_every_s'>
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  constructor(deps: KeeperDeps, config: Pick<TelemetryConfig, 'keep_days' | 'max_bytes' | 'check_every_s'>) {
    this.#deps = deps
    this.#config = config
  }

  async start(): Promise<void> {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await this.#check()
      try {
        await this.#deps.clock.sleep(this.#config.check_every_s * 1_000, signal)
      } catch (thrown) {
        if (!signal.aborted) throw thrown
      }
    }
  }

  async #check(): Promise<void> {
    const { telemetry, clock, log, metrics } = this.#deps
    const { keep_days, max_bytes } = this.#config
    try {
      const gone = await telemetry.retain({ days: keep_days, maxBytes: max_bytes }, clock.now())
      for (const { day, class: name, events, bytes, why } of gone) {
        metrics.expired.inc({ class: name, why }, events)
        // By age is as configured; by size somebody may want to know that less is kept than was asked for.
        log[why === 'age' ? 'info' : 'warn']('telemetry.day.expired', { day, class: name, events, bytes, why })
      }
      const stats = await telemetry.stats()
      this.#measure(stats)
      if (stats.bytes > max_bytes) log.warn('telemetry.store.overfull', { bytes: stats.bytes, max_bytes })
    } catch (thrown) {
      log.error('telemetry.check.failed', { why: reasonOf(thrown) })
    }
  }

  #measure({ days }: TelemetryStats): void {
    const { metrics } = this.#deps
    metrics.events.reset()
    metrics.bytes.reset()
    for (const { class: name, events, bytes } of days) {
      metrics.events.inc({ class: name }, events)
      metrics.bytes.inc({ class: name }, bytes)
    }
    metrics.parts.set(days.reduce((most, { parts }) => Math.max(most, parts), 0))
  }
}

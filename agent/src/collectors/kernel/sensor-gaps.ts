/** What the sensor could not tell, in numbers: records that the kernel had no room for, and times without a sensor. */
import { readFileSync } from 'node:fs'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { EmitTally } from '../emit-tally.ts'
import { SENSOR_CLASSES, type SensorClass, type SensorStats } from './sensor-records.ts'

export class SensorGaps {
  readonly #out: EmitTally
  readonly #clock: Pick<Clock, 'now'>
  readonly #procRoot: string
  readonly #dropped = new Map<SensorClass, number>()
  #statsAt: number
  #aliveAt: number
  #forksSeenAt: number | undefined
  #since:
    | { readonly at: number; readonly forks: number | undefined; readonly classes: readonly SensorClass[] }
    | undefined

  constructor(out: EmitTally, clock: Pick<Clock, 'now'>, procRoot: string) {
    this.#out = out
    this.#clock = clock
    this.#procRoot = procRoot
    this.#statsAt = clock.now()
    this.#aliveAt = this.#statsAt
  }

  /** A new life of the sensor counts from zero; the time without one is told. */
  begin(classes: readonly SensorClass[]): void {
    const now = this.#clock.now()
    this.#dropped.clear()
    this.#statsAt = now
    this.#aliveAt = now
    const gap = this.#since
    this.#since = undefined
    if (gap) {
      const forks = this.#forks()
      const missed = forks === undefined || gap.forks === undefined ? 1 : Math.max(1, forks - gap.forks)
      // Nobody counted connections and files meanwhile: one stands for what is not known.
      for (const name of gap.classes.filter((one) => classes.includes(one)))
        this.#out.lost(name, name === 'process' ? missed : 1, 'kernel_overflow', { firstAt: gap.at, lastAt: now })
    }
    this.#forksSeenAt = this.#forks()
  }

  take({ classes }: SensorStats): void {
    const now = this.#clock.now()
    for (const name of SENSOR_CLASSES) {
      const { dropped } = classes[name]
      const fresh = dropped - (this.#dropped.get(name) ?? 0)
      this.#dropped.set(name, dropped)
      if (fresh > 0) this.#out.lost(name, fresh, 'kernel_overflow', { firstAt: this.#statsAt, lastAt: now })
    }
    this.#statsAt = now
    this.#forksSeenAt = this.#forks()
  }

  /** Something came from it. */
  alive(): void {
    this.#aliveAt = this.#clock.now()
  }

  /** The sensor is gone; `classes`: what it told until then. What it had not forwarded went with it. */
  end(classes: readonly SensorClass[]): void {
    this.#since = { at: Math.min(this.#aliveAt, this.#statsAt), forks: this.#forksSeenAt, classes }
  }

  /** Processes and threads that were ever started here: so many were missed at most. Source: proc_stat(5), `processes`. */
  #forks(): number | undefined {
    try {
      const count = /^processes (\d+)$/m.exec(readFileSync(`${this.#procRoot}/stat`, 'latin1'))?.[1]
      return count === undefined ? undefined : Number(count)
    } catch {
      // Not shown here: then the gap is told without a number of its own.
      return undefined
    }
  }
}

import { performance } from 'node:perf_hooks'
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'

/** A look takes at most this share of the time; a slower host is looked at less often, and says so. */
const MAX_DUTY = 0.25

/** Looks at a source again and again. A look that throws is told in `trouble`, and the next one comes all the same. */
export class PollLoop {
  readonly #clock: Pick<Clock, 'sleep'>
  readonly #intervalMs: number
  readonly #look: (signal: AbortSignal) => Promise<void> | void
  #stop: AbortController | undefined
  #running: Promise<void> | undefined
  #trouble: string | undefined
  #slow: string | undefined

  constructor(clock: Pick<Clock, 'sleep'>, intervalMs: number, look: (signal: AbortSignal) => Promise<void> | void) {
    this.#clock = clock
    this.#intervalMs = intervalMs
    this.#look = look
  }

  start(): void {
    if (this.#stop) return
    const stop = new AbortController()
    this.#stop = stop
    this.#running = this.#run(stop.signal)
  }

  /** Resolves when the last look has ended; no timer is left. */
  async stop(): Promise<void> {
    this.#stop?.abort()
    await this.#running
  }

  /** Why it does not look as it should, in words. */
  get trouble(): string | undefined {
    return this.#trouble ?? this.#slow
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#sleep(await this.#lookOnce(signal), signal)
    }
  }

  /** Returns how long to wait before the next look, ms. */
  async #lookOnce(signal: AbortSignal): Promise<number> {
    const started = performance.now()
    try {
      await this.#look(signal)
      this.#trouble = undefined
    } catch (error) {
      this.#trouble = reasonOf(error)
    }
    const tookMs = performance.now() - started
    const wait = Math.max(this.#intervalMs - tookMs, tookMs / MAX_DUTY - tookMs)
    this.#slow =
      wait > 2 * this.#intervalMs
        ? `one look takes ${Math.round(tookMs)} ms, so the next comes after ${Math.round(wait)} ms`
        : undefined
    return wait
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#clock.sleep(ms, signal)
    } catch (error) {
      // The only thing that ends a sleep early is `stop`.
      if (!signal.aborted) throw error
    }
  }
}

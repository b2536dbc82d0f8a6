import { performance } from 'node:perf_hooks'
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'

/** Looks take at most this share of a core; a larger host is looked at less often, and says so. */
const MAX_DUTY = 0.25
/** One slow look is no trouble. */
const SLOW_LOOKS = 5

/** Looks at a source again and again. A look that throws is told in `trouble`, and the next one comes all the same. */
export class PollLoop {
  readonly #clock: Pick<Clock, 'sleep'>
  readonly #intervalMs: () => number
  readonly #look: (signal: AbortSignal) => Promise<void> | void
  #stop: AbortController | undefined
  #nap: AbortController | undefined
  #isAwaited = false
  #running: Promise<void> | undefined
  #trouble: string | undefined
  #slowLooks = 0
  #waitMs = 0

  constructor(
    clock: Pick<Clock, 'sleep'>,
    intervalMs: number | (() => number),
    look: (signal: AbortSignal) => Promise<void> | void,
  ) {
    this.#clock = clock
    this.#intervalMs = typeof intervalMs === 'number' ? () => intervalMs : intervalMs
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

  /** Looks at once, or once more when it is just looking. */
  wake(): void {
    this.#isAwaited = true
    this.#nap?.abort()
  }

  /** Why it does not look as it should, in words. */
  get trouble(): string | undefined {
    if (this.#trouble !== undefined || this.#slowLooks < SLOW_LOOKS) return this.#trouble
    return `looks take so long that the next comes after ${Math.round(this.#waitMs)} ms instead of ${this.#intervalMs()} ms`
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#sleep(await this.#lookOnce(signal), signal)
    }
  }

  /** Returns how long to wait before the next look, ms. */
  async #lookOnce(signal: AbortSignal): Promise<number> {
    this.#isAwaited = false
    const started = performance.now()
    const before = process.threadCpuUsage()
    try {
      await this.#look(signal)
      this.#trouble = undefined
    } catch (error) {
      this.#trouble = reasonOf(error)
    }
    const tookMs = performance.now() - started
    // Its own processor time counts, not that it had to wait for others: who burns the processor must not make us look away.
    const { user, system } = process.threadCpuUsage(before)
    const costMs = (user + system) / 1_000
    const intervalMs = this.#intervalMs()
    this.#waitMs = Math.max(intervalMs - tookMs, costMs / MAX_DUTY - tookMs, intervalMs / 10)
    this.#slowLooks = tookMs + this.#waitMs > 2 * intervalMs ? this.#slowLooks + 1 : 0
    return this.#waitMs
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isAwaited || signal.aborted) return
    const nap = new AbortController()
    this.#nap = nap
    const end = () => nap.abort()
    signal.addEventListener('abort', end, { once: true })
    try {
      await this.#clock.sleep(ms, nap.signal)
    } catch (error) {
      // The only things that end a sleep early are `stop` and `wake`.
      if (!nap.signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', end)
    }
  }
}

import type { Clock } from './clock.ts'

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  #now: number
  #monotonic = 0
  readonly #sleepers = new Set<{ at: number; wake: () => void }>()

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  /** Changes wall time only, as an administrator or NTP would. */
  setWall(now: number): void {
    this.#now = now
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason)
        return
      }
      const sleeper = {
        at: this.#monotonic + ms,
        wake: () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        },
      }
      const abort = () => {
        this.#sleepers.delete(sleeper)
        reject(signal?.reason)
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.#sleepers.add(sleeper)
    })
  }

  /** Moves both clocks on and wakes whoever is due, in order, letting each run before the next. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms
    for (;;) {
      await settle()
      const due = [...this.#sleepers].filter((s) => s.at <= end).sort((a, b) => a.at - b.at)[0]
      if (!due) break
      this.#sleepers.delete(due)
      this.#now += due.at - this.#monotonic
      this.#monotonic = due.at
      due.wake()
    }
    this.#now += end - this.#monotonic
    this.#monotonic = end
    await settle()
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve))
}

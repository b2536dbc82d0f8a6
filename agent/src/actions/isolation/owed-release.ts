/** A release that did not succeed is tried again until it does: nobody else might ask for it a second time, a lapse least of all. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Log } from '../../log.ts'
import { LOG } from './log-names.ts'

const RETRY_MS = 10_000

export interface OwedReleaseDeps {
  readonly clock: Clock
  readonly log: Log
  readonly timing?: { readonly releaseRetryMs?: number } | undefined
}

export class OwedRelease {
  readonly #deps: OwedReleaseDeps
  readonly #again: () => Promise<void>
  readonly #stop = new AbortController()
  #isDue = false

  /** `again` finishes what is half done; when that fails it calls `owe` once more. */
  constructor(deps: OwedReleaseDeps, again: () => Promise<void>) {
    this.#deps = deps
    this.#again = again
  }

  owe(): void {
    if (this.#isDue) return
    this.#isDue = true
    void this.#later()
  }

  stop(): void {
    this.#stop.abort()
  }

  async #later(): Promise<void> {
    try {
      await this.#deps.clock.sleep(this.#deps.timing?.releaseRetryMs ?? RETRY_MS, this.#stop.signal)
      this.#isDue = false
      await this.#again()
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#deps.log.error(LOG.releaseFailed, { error: reasonOf(error) })
    }
  }
}

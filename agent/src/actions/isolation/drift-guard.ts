/**
 * Keeps the rules in force against whoever flushes or edits them (fact 2: one `nft flush ruleset` ends an isolation silently).
 * Woken by `nft monitor`, and once a second anyway, because a monitor can miss changes (nft(8): ENOBUFS) and can be killed.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Result } from '@firebreak/shared/result.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Firewall, Watch } from '../../platform/platform.ts'
import type { Log } from '../../log.ts'
import { LOG } from './log-names.ts'

const POLL_MS = 1_000
/** Two looks are at least so far apart: somebody who flushes in a loop must not take the agent's processor. */
const MIN_INTERVAL_MS = 50
const COUNTERS_EVERY = 5

export interface Drift {
  /** Since the rules were last seen intact until they were in force again: the gap was at most so long, ms. */
  readonly gapMs: number
  /** What was found: `missing` or `changed`. */
  readonly found: 'missing' | 'changed'
  /** Packets dropped before the drift, as last counted. */
  readonly packets: number
}

export interface DriftGuardParts {
  readonly firewall: Firewall
  readonly clock: Clock
  readonly log: Log
  /** Whether a listing of our table is the one that must be. */
  readonly isIntact: (table: string | undefined) => boolean
  /** Puts the rules back, in one transaction. */
  readonly reassert: () => Promise<Result<void, 'rejected'>>
  readonly onDrift: (drift: Drift) => void
  /** Told after each look that found all well. */
  readonly onIntact: () => void
}

export class DriftGuard {
  readonly #parts: DriftGuardParts
  readonly #stop = new AbortController()
  #watch: Watch | undefined
  #loop: Promise<void> | undefined
  #wake: (() => void) | undefined
  #dirty = false
  #lastIntact: number
  #packetsBefore = 0
  #packetsNow = 0

  constructor(parts: DriftGuardParts) {
    this.#parts = parts
    this.#lastIntact = parts.clock.monotonic()
  }

  start(): void {
    this.#watch = this.#parts.firewall.watch(() => {
      this.#dirty = true
      this.#wake?.()
    })
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake?.()
    await this.#watch?.stop()
    await this.#loop
  }

  /** Packets that tables before the present one had dropped, as last counted. */
  get packetsBefore(): number {
    return this.#packetsBefore
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts
    for (let round = 0; !this.#stop.signal.aborted; round++) {
      this.#dirty = false
      await this.#look(round)
      await sleepQuietly(clock, MIN_INTERVAL_MS, this.#stop.signal)
      if (!this.#dirty && !this.#stop.signal.aborted) await this.#nap()
    }
  }

  /** Until the next poll, or until something changed. */
  async #nap(): Promise<void> {
    const nap = new AbortController()
    this.#wake = () => nap.abort()
    await sleepQuietly(this.#parts.clock, POLL_MS, AbortSignal.any([nap.signal, this.#stop.signal]))
    this.#wake = undefined
  }

  async #look(round: number): Promise<void> {
    const { firewall, clock, log } = this.#parts
    try {
      const seenAt = clock.monotonic()
      const table = await firewall.table()
      if (this.#stop.signal.aborted) return
      if (this.#parts.isIntact(table)) {
        this.#lastIntact = seenAt
        this.#parts.onIntact()
        if (round % COUNTERS_EVERY === 0) this.#packetsNow = total(await firewall.counters())
        return
      }
      const put = await this.#parts.reassert()
      if (!put.ok) {
        log.error(LOG.reassertFailed, { why: put.why })
        return
      }
      const gapMs = Math.max(0, clock.monotonic() - this.#lastIntact)
      this.#lastIntact = clock.monotonic()
      this.#packetsBefore += this.#packetsNow
      this.#packetsNow = 0
      this.#parts.onDrift({ gapMs, found: table === undefined ? 'missing' : 'changed', packets: this.#packetsBefore })
    } catch (error) {
      log.error(LOG.firewallUnreadable, { error: reasonOf(error) })
    }
  }
}

export function total(counters: ReadonlyMap<string, number>): number {
  return [...counters.values()].reduce((sum, n) => sum + n, 0)
}

/** The only rejection of a sleep is that it was cut short. */
async function sleepQuietly(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch(() => undefined)
}

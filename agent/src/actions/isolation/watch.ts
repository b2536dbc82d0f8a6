/** What runs while a host is isolated: the drift guard and the lease. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { reasonOf, type Result } from '@firebreak/shared/result.ts'
import type { ControllerLink } from '../../link/controller-link.ts'
import type { Firewall } from '../../platform/platform.ts'
import type { Log } from '../../log.ts'
import { driftEvent } from './drift-event.ts'
import { type Drift, DriftGuard } from './drift-guard.ts'
import { LOG } from './log-names.ts'

/** Alerts of a drift that repeats are at least so far apart; the ones between are counted in the next. */
const ALERT_INTERVAL_MS = 1_000
const LEASE_POLL_MS = 60_000
const LEASE = { confirmMs: 10_000, retryMs: 30_000 } as const

/** How long a controller has to answer at the end of the hold, and when it is asked again. */
export interface LeaseTiming {
  readonly confirmMs: number
  readonly retryMs: number
}

export interface WatchParts {
  readonly commandId: string
  readonly onControllerLoss: 'hold' | 'release'
  readonly firewall: Firewall
  readonly link: ControllerLink
  readonly clock: Clock
  readonly log: Log
  readonly emit: (event: Event) => void
  readonly leftMs: () => number
  readonly isIntact: (table: string | undefined) => boolean
  readonly reassert: () => Promise<Result<void, 'rejected'>>
  readonly onIntact: () => void
  /** The hold is over and may end: `why` says what the controller had to do with it. */
  readonly lapse: (why: string) => Promise<void>
  readonly lease: LeaseTiming | undefined
}

export class IsolationWatch {
  readonly #parts: WatchParts
  readonly #guard: DriftGuard
  readonly #stop = new AbortController()
  #alertedAt = Number.NEGATIVE_INFINITY
  #waiting: Drift[] = []
  #alertDue = false
  drifts = 0

  constructor(parts: WatchParts) {
    this.#parts = parts
    this.#guard = new DriftGuard({ ...parts, onDrift: (drift) => this.#drifted(drift) })
  }

  start(): void {
    this.#guard.start()
    void this.#lease()
  }

  /** Packets dropped before the last re-assertion: they are gone with the table that counted them. */
  get packetsBeforeDrift(): number {
    return this.#guard.packetsBefore
  }

  /** The rules stay as they are. A lease that is just asking the controller finds itself stopped when the answer comes. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#guard.stop()
    this.#alert()
  }

  #drifted(drift: Drift): void {
    this.drifts++
    this.#waiting.push(drift)
    const { clock, log, commandId } = this.#parts
    log.warn(LOG.drifted, { command_id: commandId, gap_ms: drift.gapMs, found: drift.found })
    const wait = this.#alertedAt + ALERT_INTERVAL_MS - clock.monotonic()
    if (wait <= 0) this.#alert()
    else if (!this.#alertDue) void this.#alertAfter(wait)
  }

  async #alertAfter(ms: number): Promise<void> {
    this.#alertDue = true
    // Cut short by `stop`, which tells what waits itself.
    await this.#parts.clock.sleep(ms, this.#stop.signal).catch(() => undefined)
    this.#alert()
  }

  #alert(): void {
    this.#alertDue = false
    const last = this.#waiting.at(-1)
    if (last === undefined) return
    const { clock, emit, commandId } = this.#parts
    const times = this.#waiting.length === 1 ? '' : `, ${this.#waiting.length} times`
    emit(
      driftEvent({
        at: clock.now(),
        commandId,
        gapMs: Math.max(...this.#waiting.map((drift) => drift.gapMs)),
        packets: last.packets,
        reason: `the rules were ${last.found}${times}; put back at once`,
      }),
    )
    this.#waiting = []
    this.#alertedAt = clock.monotonic()
  }

  /**
   * The end of the hold: with a controller that answers the isolation lapses and the receipt tells it. Without one, `release` lapses
   * too, and `hold` keeps the host isolated until a controller is back, and lapses then.
   */
  async #lease(): Promise<void> {
    const { clock, link, log, commandId, onControllerLoss } = this.#parts
    const lease = this.#parts.lease ?? LEASE
    const signal = this.#stop.signal
    while (!signal.aborted) {
      try {
        const left = this.#parts.leftMs()
        if (left > 0) {
          await clock.sleep(Math.min(left, LEASE_POLL_MS), signal)
          continue
        }
        const confirmed = await link.confirm(lease.confirmMs)
        if (signal.aborted) return
        if (confirmed.ok || onControllerLoss === 'release') {
          await this.#parts.lapse(confirmed.ok ? 'the hold is over' : 'the hold is over and no controller answered')
          return
        }
        log.warn(LOG.leaseOverdue, { command_id: commandId, why: confirmed.why })
        await clock.sleep(lease.retryMs, signal)
      } catch (error) {
        if (signal.aborted) return
        log.error(LOG.leaseFailed, { command_id: commandId, error: reasonOf(error) })
        await clock.sleep(lease.retryMs, signal).catch(() => undefined)
      }
    }
  }
}

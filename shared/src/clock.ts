import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'

/** Time as a parameter, so that a test owns it. */
export interface Clock {
  /** Wall time, ms since 1970 UTC. It may jump; use it to tell people, never to decide freshness. */
  now(): number
  /** ms since an arbitrary start; never goes back, counts suspend where the system can tell (Linux: since boot). */
  monotonic(): number
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** What the time since boot is made from. */
export interface BootTimeSources {
  /** CLOCK_MONOTONIC, ms: cheap, stands still during suspend. */
  readonly monotonicMs: () => number
  /** CLOCK_BOOTTIME, ms, cut to 10 ms: costs a read of a file. */
  readonly uptimeMs: () => number
  readonly wallMs: () => number
}

const SAMPLE_MS = 1_000
/** The wall clock ran on so much further than the cheap one: a suspend, or somebody set it. */
const LOOKS_SUSPENDED_MS = 50

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic:
    process.platform === 'linux'
      ? bootTime({ monotonicMs: () => Number(process.hrtime.bigint()) / 1e6, uptimeMs, wallMs: () => Date.now() })
      : () => performance.now(),
  async sleep(ms, signal) {
    await delay(ms, undefined, signal ? { signal, ref: true } : { ref: true })
  },
}

/**
 * CLOCK_BOOTTIME from the clock that stands still during suspend and the time that it stood still: a command's life must not stop
 * while a laptop sleeps. The difference is looked up once a second, and at once when the wall clock says that time is missing. It
 * only grows, and it is read so that it is never too large: the result never goes back and never runs ahead.
 */
export function bootTime({ monotonicMs, uptimeMs, wallMs }: BootTimeSources): () => number {
  let suspendedMs = Number.NEGATIVE_INFINITY
  let sampledAt = Number.NEGATIVE_INFINITY
  let wallAhead = 0
  return () => {
    let at = monotonicMs()
    const wall = wallMs() - at
    if (at - sampledAt >= SAMPLE_MS || wall - wallAhead > LOOKS_SUSPENDED_MS) {
      const uptime = uptimeMs()
      at = monotonicMs()
      suspendedMs = Math.max(suspendedMs, uptime - at)
      sampledAt = at
      wallAhead = wall
    }
    return at + suspendedMs
  }
}

/** proc_uptime(5). */
function uptimeMs(): number {
  return Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
}

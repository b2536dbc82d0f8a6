import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'

/** Time as a parameter, so that a test owns it. */
export interface Clock {
  /** Wall time, ms since 1970 UTC. It may jump; use it to tell people, never to decide freshness. */
  now(): number
  /** ms since an arbitrary start; never goes back, counts suspend where the system can tell (Linux /proc/uptime). */
  monotonic(): number
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: process.platform === 'linux' ? uptimeMs : () => performance.now(),
  async sleep(ms, signal) {
    await delay(ms, undefined, signal ? { signal, ref: true } : { ref: true })
  },
}

/** CLOCK_BOOTTIME as the kernel shows it (proc_uptime(5)), 10 ms grain: a command's life must not stop while a laptop sleeps. */
function uptimeMs(): number {
  return Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
}

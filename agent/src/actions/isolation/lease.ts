/**
 * How long an isolation holds. Within a boot it is judged on the time since boot, which nobody can set; across a reboot only wall time
 * is left, and it is believed as far as it makes the hold shorter than what was left when it was last known.
 */
import type { Clock } from '@firebreak/shared/clock.ts'

export interface Hold {
  readonly boot_id: string
  /** On the clock since boot, ms. */
  readonly until_boot_ms: number
  /** Wall time, ms since 1970. */
  readonly until_wall_ms: number
  /** What was left when it was last anchored, ms: no clock makes it longer. */
  readonly most_ms: number
}

export function holdFor(ms: number, clock: Clock, bootId: string): Hold {
  return {
    boot_id: bootId,
    until_boot_ms: clock.monotonic() + ms,
    until_wall_ms: Math.round(clock.now() + ms),
    most_ms: ms,
  }
}

/** Never below zero. */
export function leftMs(hold: Hold, clock: Clock, bootId: string): number {
  const left = hold.boot_id === bootId ? hold.until_boot_ms - clock.monotonic() : hold.until_wall_ms - clock.now()
  return Math.min(Math.max(left, 0), hold.most_ms)
}

/** The same hold on the clock of this boot; call it at every start, so that the next reboot knows what was left. */
export function anchoredHere(hold: Hold, clock: Clock, bootId: string): Hold {
  return holdFor(leftMs(hold, clock, bootId), clock, bootId)
}

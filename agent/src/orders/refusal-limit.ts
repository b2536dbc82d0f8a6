/** How many refusals are answered with a receipt: a flood of rubbish must not fill the disk. What is not answered is counted and told with the next answer. */
import type { Clock } from '@firebreak/shared/clock.ts'

export interface RefusalLimit {
  /** True when this one is answered. */
  take(isGenuine: boolean): boolean
  /** How many were not, since the last call. */
  takeUnanswered(): number
}

/** Receipts at once, and how fast that fills up again, receipts a second. */
interface Bucket {
  readonly burst: number
  readonly perSecond: number
}

/** Anybody can make what carries no good signature; what does carry one comes from a key of the trust file. */
const RUBBISH: Bucket = { burst: 50, perSecond: 0.1 }
const GENUINE: Bucket = { burst: 500, perSecond: 5 }

export function createRefusalLimit(clock: Clock, rubbish: Bucket = RUBBISH, genuine: Bucket = GENUINE): RefusalLimit {
  const takers = { rubbish: taker(clock, rubbish), genuine: taker(clock, genuine) }
  let unanswered = 0
  return {
    take(isGenuine) {
      const taken = isGenuine ? takers.genuine() : takers.rubbish()
      if (!taken) unanswered++
      return taken
    },
    takeUnanswered() {
      const count = unanswered
      unanswered = 0
      return count
    },
  }
}

function taker(clock: Clock, { burst, perSecond }: Bucket): () => boolean {
  let left = burst
  let at = clock.monotonic()
  return () => {
    const now = clock.monotonic()
    left = Math.min(burst, left + ((now - at) / 1000) * perSecond)
    at = now
    if (left < 1) return false
    left--
    return true
  }
}

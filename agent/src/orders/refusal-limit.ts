/** How many refusals are answered with a receipt: a flood of rubbish must not fill the disk. What is not answered is counted and told with the next answer. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { type BucketSize, createTokenBucket } from '../token-bucket.ts'

export interface RefusalLimit {
  /** True when this one is answered. */
  take(isGenuine: boolean): boolean
  /** How many were not, since the last call. */
  takeUnanswered(): number
}

/** Anybody can make what carries no good signature; what does carry one comes from a key of the trust file. */
const RUBBISH: BucketSize = { burst: 50, perSecond: 0.1 }
const GENUINE: BucketSize = { burst: 500, perSecond: 5 }

export function createRefusalLimit(
  clock: Clock,
  rubbish: BucketSize = RUBBISH,
  genuine: BucketSize = GENUINE,
): RefusalLimit {
  const buckets = { rubbish: createTokenBucket(clock, rubbish), genuine: createTokenBucket(clock, genuine) }
  let unanswered = 0
  return {
    take(isGenuine) {
      const taken = (isGenuine ? buckets.genuine : buckets.rubbish).take()
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

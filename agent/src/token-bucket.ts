import type { Clock } from '@firebreak/shared/clock.ts'

/** So much at once, and how fast that fills up again. */
export interface BucketSize {
  readonly burst: number
  readonly perSecond: number
}

export interface TokenBucket {
  /** False when there is none left. */
  take(): boolean
  /** Until there is one again, ms. */
  waitMs(): number
}

export function createTokenBucket(clock: Pick<Clock, 'monotonic'>, { burst, perSecond }: BucketSize): TokenBucket {
  let left = burst
  let at = clock.monotonic()
  const refill = () => {
    const now = clock.monotonic()
    left = Math.min(burst, left + ((now - at) / 1000) * perSecond)
    at = now
  }
  return {
    take() {
      refill()
      if (left < 1) return false
      left--
      return true
    },
    waitMs() {
      refill()
      return left >= 1 ? 0 : Math.ceil(((1 - left) / perSecond) * 1000)
    },
  }
}

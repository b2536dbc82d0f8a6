/** Full jitter: a chance wait below a ceiling that doubles with each failure (Brooker, "Exponential Backoff And Jitter", AWS 2015). */
export interface Backoff {
  /** The next wait, ms. */
  next(): number
  reset(): void
}

export function createBackoff(minMs: number, maxMs: number, random: () => number = Math.random): Backoff {
  let failures = 0
  return {
    next() {
      const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(failures, 30))
      failures++
      return Math.round(random() * ceiling)
    },
    reset() {
      failures = 0
    },
  }
}

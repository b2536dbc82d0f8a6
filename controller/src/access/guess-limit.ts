/**
 * How many wrong tokens an address may show. Tokens have 256 bits, so this saves work and log lines rather than secrets; a right
 * token always passes, so nobody can lock out a colleague behind the same address.
 */
import type { Clock } from '@firebreak/shared/clock.ts'

export interface GuessLimitConfig {
  readonly max: number
  readonly windowMs: number
  /** Addresses remembered at most; past it the oldest is forgotten. */
  readonly maxAddresses: number
}
export const GUESS_LIMIT: GuessLimitConfig = { max: 20, windowMs: 60_000, maxAddresses: 10_000 }

export interface GuessLimit {
  /** Counts a wrong token. Returns how long the address has to wait, ms; 0 while it is still within bounds. */
  failed(address: string): number
}

export function createGuessLimit(clock: Clock, config: GuessLimitConfig = GUESS_LIMIT): GuessLimit {
  const windows = new Map<string, { count: number; endsAt: number }>()
  return {
    failed(address) {
      const now = clock.monotonic()
      let window = windows.get(address)
      if (!window || now >= window.endsAt) {
        windows.delete(address)
        if (windows.size >= config.maxAddresses) {
          const oldest = windows.keys().next()
          if (!oldest.done) windows.delete(oldest.value)
        }
        window = { count: 0, endsAt: now + config.windowMs }
        windows.set(address, window)
      }
      window.count++
      return window.count > config.max ? Math.ceil(window.endsAt - now) : 0
    },
  }
}

/**
 * How many come in a second. After a restart of the controller a whole fleet comes at once: those past the rate are told when to come
 * again, each at another time, before a signature or a query was spent on them.
 */

/** Turned back ones are forgotten after so long: they have come again, or do not come. */
const FORGET_MS = 60_000

export class Doorman {
  readonly #perS: number
  readonly #now: () => number
  readonly #random: () => number
  #tokens: number
  #at: number
  /** Everybody up to here has been told a time; ms. */
  #promisedUntil: number

  /** `random`: 0 to 1. A second's worth may come at once. */
  constructor(perS: number, now: () => number, random: () => number = Math.random) {
    this.#perS = perS
    this.#now = now
    this.#random = random
    this.#tokens = perS
    this.#at = now()
    this.#promisedUntil = this.#at
  }

  /** 0: come in. Otherwise the seconds after which it may come again: by chance within the time in which all that wait are let in. */
  knock(): number {
    const now = this.#now()
    this.#tokens = Math.min(this.#perS, this.#tokens + ((now - this.#at) / 1_000) * this.#perS)
    this.#at = now
    if (this.#tokens >= 1) {
      this.#tokens--
      return 0
    }
    this.#promisedUntil = Math.min(Math.max(this.#promisedUntil, now) + 1_000 / this.#perS, now + FORGET_MS)
    return Math.max(1, Math.ceil(((this.#promisedUntil - now) / 1_000 + 1) * this.#random()))
  }
}

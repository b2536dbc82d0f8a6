/**
 * A heavy search must not keep the others from the store, nor one person's many searches everybody else's: few run, each user's next
 * one runs before another's third, and there is an end to the queue.
 */
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'

export interface TurnLimits {
  readonly running: number
  readonly waitingPerUser: number
  readonly waiting: number
}

interface Waiting {
  readonly user: string
  readonly begin: () => void
}

export class Turns {
  readonly #limits: TurnLimits
  /** User → searches that run or wait. */
  readonly #held = new Map<string, number>()
  readonly #running = new Map<string, number>()
  readonly #queue: Waiting[] = []
  #runningNow = 0

  constructor(limits: TurnLimits) {
    this.#limits = limits
  }

  /** Runs `work` when it is its turn. An aborted `signal` takes it out of the queue, and `work` is not run. */
  async take<T>(
    user: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<Result<T, 'too_many_searches' | 'cancelled'>> {
    const own = this.#held.get(user) ?? 0
    if (own >= this.#limits.waitingPerUser)
      return refuse('too_many_searches', `${user} has ${own} searches running or waiting; wait for one of them to end`)
    if (this.#runningNow + this.#queue.length >= this.#limits.waiting)
      return refuse('too_many_searches', 'too many searches are running or waiting; try again in a moment')
    this.#held.set(user, own + 1)
    try {
      if (!(await this.#turn(user, signal))) return refuse('cancelled', 'the search was given up while it waited')
      try {
        return ok(await work())
      } finally {
        this.#ended(user)
      }
    } finally {
      step(this.#held, user, -1)
    }
  }

  async #turn(user: string, signal: AbortSignal | undefined): Promise<boolean> {
    if (signal?.aborted) return false
    if (this.#runningNow < this.#limits.running) {
      this.#started(user)
      return true
    }
    return await new Promise((resolve) => {
      const waiting: Waiting = {
        user,
        begin: () => {
          signal?.removeEventListener('abort', giveUp)
          this.#started(user)
          resolve(true)
        },
      }
      const giveUp = () => {
        const at = this.#queue.indexOf(waiting)
        if (at >= 0) this.#queue.splice(at, 1)
        resolve(false)
      }
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#queue.push(waiting)
    })
  }

  #started(user: string): void {
    this.#runningNow++
    step(this.#running, user, 1)
  }

  /** The next is the longest waiting of those who have the fewest running. */
  #ended(user: string): void {
    this.#runningNow--
    step(this.#running, user, -1)
    const runs = ({ user: one }: Waiting) => this.#running.get(one) ?? 0
    const fewest = Math.min(...this.#queue.map(runs))
    const at = this.#queue.findIndex((waiting) => runs(waiting) === fewest)
    if (at < 0) return
    const [next] = this.#queue.splice(at, 1)
    next?.begin()
  }
}

function step(counts: Map<string, number>, user: string, by: number): void {
  const count = (counts.get(user) ?? 0) + by
  if (count > 0) counts.set(user, count)
  else counts.delete(user)
}

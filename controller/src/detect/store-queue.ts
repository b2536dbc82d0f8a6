/**
 * What was matched is stored in the order of matching, while matching goes on: what triage has to look up for one batch holds up no
 * other. How much may wait is bounded.
 */
import type { Findings } from '../triage/index.ts'

const MAX_WAITING = 256

export class StoreQueue {
  /** Begun or waiting. */
  readonly #open = new Set<Promise<void>>()
  /** Ends when the store of everything before has been asked. */
  #turn: Promise<void> = Promise.resolve()
  #failure: { readonly thrown: unknown } | undefined
  #changed: (() => void)[] = []

  /** `store` must ask the state store before it waits for anything. */
  add(findings: Promise<Findings> | undefined, store: (findings: Findings | undefined) => Promise<void>): void {
    const before = this.#turn
    const asked = Promise.withResolvers<void>()
    this.#turn = asked.promise
    const done = this.#inTurn(findings, before, store, asked.resolve).finally(() => {
      asked.resolve()
      this.#open.delete(done)
      for (const tell of this.#changed.splice(0)) tell()
    })
    this.#open.add(done)
  }

  async #inTurn(
    findings: Promise<Findings> | undefined,
    before: Promise<void>,
    store: (findings: Findings | undefined) => Promise<void>,
    asked: () => void,
  ): Promise<void> {
    try {
      const found = await findings
      await before
      // What comes behind a failed batch would be stored out of order: all of it is matched again.
      if (this.#failure !== undefined) return
      const storing = store(found)
      asked()
      await storing
    } catch (thrown) {
      this.#failure ??= { thrown }
    }
  }

  /** Everything is stored; a failure that nobody was told of is not. */
  get isDone(): boolean {
    return this.#open.size === 0 && this.#failure === undefined
  }

  get isFull(): boolean {
    return this.#open.size >= MAX_WAITING
  }

  /** Resolves when one more is stored. Throws when one could not be. */
  async progress(): Promise<void> {
    if (this.#failure === undefined && this.#open.size > 0)
      await new Promise<void>((resolve) => this.#changed.push(resolve))
    if (this.#failure !== undefined) throw this.#failure.thrown
  }

  /** Resolves when nothing is under way any more, however it ended, and forgets failures. */
  async settled(): Promise<void> {
    while (this.#open.size > 0) await Promise.all(this.#open)
    this.#failure = undefined
  }
}

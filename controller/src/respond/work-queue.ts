/** Work named by a key: the same key is never worked on twice at a time, and a key that comes while it is worked on comes again after. */
export class WorkQueue<Key> {
  readonly #atOnce: number
  readonly #work: (key: Key) => Promise<void>
  readonly #waiting = new Set<Key>()
  readonly #active = new Set<Key>()
  #closed = false
  #idle: (() => void)[] = []

  /** `work` must not reject. */
  constructor(atOnce: number, work: (key: Key) => Promise<void>) {
    this.#atOnce = atOnce
    this.#work = work
  }

  get busy(): boolean {
    return this.#active.size > 0 || this.#waiting.size > 0
  }

  add(key: Key): void {
    if (this.#closed) return
    this.#waiting.add(key)
    this.#fill()
  }

  /** What waits is dropped; what is being worked on is finished. */
  close(): void {
    this.#closed = true
    this.#waiting.clear()
  }

  idle(): Promise<void> {
    if (!this.busy) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  #fill(): void {
    for (const key of this.#waiting) {
      if (this.#active.size >= this.#atOnce) return
      if (this.#active.has(key)) continue
      this.#waiting.delete(key)
      this.#active.add(key)
      void this.#work(key).finally(() => {
        this.#active.delete(key)
        this.#fill()
        if (!this.busy) for (const resolve of this.#idle.splice(0)) resolve()
      })
    }
  }
}

/** A source that costs something to keep open: it runs while nobody better does, and does not start for a pause of some seconds. */
const PAUSE_MS = 5_000

export class Standby {
  readonly #isWanted: () => boolean
  readonly #on: () => Promise<void>
  readonly #off: () => Promise<void>
  readonly #failed: (error: unknown) => void
  #tail: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #isStarted = false
  #isOn = false

  constructor(
    isWanted: () => boolean,
    on: () => Promise<void>,
    off: () => Promise<void>,
    failed: (error: unknown) => void,
  ) {
    this.#isWanted = isWanted
    this.#on = on
    this.#off = off
    this.#failed = failed
  }

  get isOn(): boolean {
    return this.#isOn
  }

  /** Resolves when it is on, where it is wanted now. */
  async start(): Promise<void> {
    this.#isStarted = true
    await this.#settle()
  }

  /** Somebody came or went. */
  changed(): void {
    if (!this.#isStarted) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => {
        this.#settle().catch(this.#failed)
      },
      this.#isWanted() ? PAUSE_MS : 0,
    ).unref()
  }

  async stop(): Promise<void> {
    this.#isStarted = false
    clearTimeout(this.#timer)
    await this.#settle()
  }

  #settle(): Promise<void> {
    const done = this.#tail.then(() => this.#turn())
    this.#tail = done.catch(() => undefined)
    return done
  }

  async #turn(): Promise<void> {
    const isWanted = this.#isStarted && this.#isWanted()
    if (isWanted === this.#isOn) return
    this.#isOn = isWanted
    await (isWanted ? this.#on() : this.#off())
  }
}

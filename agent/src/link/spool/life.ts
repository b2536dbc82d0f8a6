/** Signs of life on disk: the next start knows how long nobody watched, and events age only while somebody could have sent them. */
import { statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { WriteFile } from './ballast.ts'

/** A longer pause between two signs was a sleep of the machine: nothing could be sent, and nothing was produced. */
const LONGEST_PAUSE_MS = 60_000

export class Life {
  readonly #path: string
  readonly #clock: Clock
  readonly #write: WriteFile
  /** When the life before gave its last sign, ms since 1970; `undefined` at the first start. */
  readonly before: number | undefined
  #alive = 0
  #lookedAt: number

  constructor(folder: string, clock: Clock, write: WriteFile) {
    this.#path = join(folder, 'alive')
    this.#clock = clock
    this.#write = write
    this.before = mtimeOf(this.#path)
    this.#lookedAt = clock.monotonic()
  }

  /** ms that this process has been awake and working. */
  age(): number {
    const now = this.#clock.monotonic()
    this.#alive += Math.min(now - this.#lookedAt, LONGEST_PAUSE_MS)
    this.#lookedAt = now
    return this.#alive
  }

  /** Throws when the disk does not take it. Not flushed: after a power cut it may be some seconds old. */
  sign(): void {
    const at = this.#clock.now() / 1_000
    if (mtimeOf(this.#path) === undefined) this.#write(this.#path, '')
    utimesSync(this.#path, at, at)
  }
}

function mtimeOf(path: string): number | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && Math.round(found.mtimeMs)
}

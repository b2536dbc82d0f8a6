/**
 * A file that only takes room: when the disk is full it is given up, so that the small files which let the spool free something (a gap
 * in place of events, how far was acked) can still be written. Without it a full disk could not be emptied without losing count.
 */
import { unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere, writeAtomic } from '../../disk/atomic-file.ts'

/** What a gap file and a state file take, in blocks of a file system, and some. */
const BALLAST_BYTES = 16 * 1024

/** Puts a small file in place, whole and flushed, or throws. */
export type WriteFile = (path: string, content: Uint8Array | string) => void

export class Ballast {
  readonly #path: string
  #isThere = false

  constructor(folder: string) {
    this.#path = join(folder, 'ballast')
    this.#isThere = readIfThere(this.#path)?.length === BALLAST_BYTES
  }

  readonly write: WriteFile = (path, content) => {
    try {
      writeAtomic(path, content)
    } catch (thrown) {
      if (!this.#isThere || !isDiskFull(thrown)) throw thrown
      unlinkSync(this.#path)
      this.#isThere = false
      writeAtomic(path, content)
    }
  }

  /** Takes the room again when there is some. Throws when the disk takes nothing at all. */
  restore(): void {
    if (this.#isThere) return
    try {
      // Not zeros: a file system that compresses would keep no room for them.
      writeAtomic(this.#path, crypto.getRandomValues(new Uint8Array(BALLAST_BYTES)))
      this.#isThere = true
    } catch (thrown) {
      if (!isDiskFull(thrown)) throw thrown // tried again later
    }
  }
}

/** Whether a write failed because there is no room: ENOSPC, or EDQUOT with a quota (write(2)). */
export function isDiskFull(thrown: unknown): boolean {
  for (let at: unknown = thrown; at instanceof Error; at = at.cause) {
    const { code } = at as NodeJS.ErrnoException
    if (code === 'ENOSPC' || code === 'EDQUOT') return true
  }
  return false
}

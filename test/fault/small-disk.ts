/** A file system of a few megabytes in memory, made for one test and taken away after it; filled up and freed at will. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const PIECE = Buffer.alloc(64 * 1_024, 1)

export class SmallDisk {
  readonly path: string
  readonly #ballast: string

  private constructor(path: string) {
    this.path = path
    this.#ballast = join(path, 'ballast')
  }

  static mount(path: string, megabytes: number): SmallDisk {
    mkdirSync(path, { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'firebreak-test', path])
    return new SmallDisk(path)
  }

  /** Until nothing more fits. */
  fill(): void {
    for (const piece of [PIECE, PIECE.subarray(0, 4_096)]) {
      try {
        for (;;) appendFileSync(this.#ballast, piece)
      } catch (thrown) {
        if ((thrown as { code?: string }).code !== 'ENOSPC') throw thrown
      }
    }
  }

  free(): void {
    rmSync(this.#ballast, { force: true })
  }

  unmount(): void {
    execFileSync('umount', ['-l', this.path])
  }
}

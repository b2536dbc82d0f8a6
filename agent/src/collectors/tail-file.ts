import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { MiB } from '@firebreak/shared/wire/units.ts'

/** Taken in one look; what is more comes with the next. */
const MAX_LOOK_BYTES = MiB

/**
 * What is appended to a file, also across rotation by renaming (the rest of the old file comes first) and by truncation. A file that
 * is not there yet is waited for. What was in the file when it was first opened is left out.
 */
export class FileTail {
  readonly path: string
  #fd: number | undefined
  #inode = ''
  #offset = 0
  #hasLooked = false

  constructor(path: string) {
    this.path = path
  }

  /** The next bytes, empty when there are none. Throws when the file is there and cannot be read. */
  read(): Buffer {
    if (this.#fd === undefined) this.#open(!this.#hasLooked)
    this.#hasLooked = true
    if (this.#fd === undefined) return Buffer.alloc(0)
    const bytes = this.#readSome(this.#fd)
    if (bytes.length > 0 || !this.#isReplaced()) return bytes
    this.close()
    this.#open(false)
    return this.#fd === undefined ? bytes : this.#readSome(this.#fd)
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #open(atEnd: boolean): void {
    try {
      this.#fd = openSync(this.path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw error
    }
    const stat = fstatSync(this.#fd)
    this.#inode = `${stat.dev}:${stat.ino}`
    this.#offset = atEnd ? stat.size : 0
  }

  #readSome(fd: number): Buffer {
    const { size } = fstatSync(fd)
    // Emptied in place (copytruncate of logrotate).
    if (size < this.#offset) this.#offset = 0
    const bytes = Buffer.allocUnsafe(Math.min(size - this.#offset, MAX_LOOK_BYTES))
    const length = bytes.length === 0 ? 0 : readSync(fd, bytes, 0, bytes.length, this.#offset)
    this.#offset += length
    return bytes.subarray(0, length)
  }

  #isReplaced(): boolean {
    const stat = statSync(this.path, { throwIfNoEntry: false })
    return stat !== undefined && `${stat.dev}:${stat.ino}` !== this.#inode
  }
}

/** Puts bytes together to lines; a line longer than the limit is left out and counted. */
export class LineSplitter {
  readonly #maxBytes: number
  #rest = Buffer.alloc(0)
  #isSkipping = false
  #skipped = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Lines that were too long, since this was last asked. */
  takeSkipped(): number {
    const skipped = this.#skipped
    this.#skipped = 0
    return skipped
  }

  push(bytes: Buffer): Buffer[] {
    const lines: Buffer[] = []
    let buffer = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    for (let end = buffer.indexOf(0x0a); end >= 0; end = buffer.indexOf(0x0a)) {
      if (this.#isSkipping) this.#isSkipping = false
      else if (end > this.#maxBytes) this.#skipped += 1
      else lines.push(buffer.subarray(0, end))
      buffer = buffer.subarray(end + 1)
    }
    if (buffer.length > this.#maxBytes) {
      if (!this.#isSkipping) this.#skipped += 1
      this.#isSkipping = true
      buffer = Buffer.alloc(0)
    }
    this.#rest = this.#isSkipping ? Buffer.alloc(0) : Buffer.from(buffer)
    return lines
  }
}

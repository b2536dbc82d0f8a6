import { createHash } from 'node:crypto'
import { close, constants, fstat, open, read } from 'node:fs'
import { promisify } from 'node:util'
import { KiB } from '@firebreak/shared/wire/units.ts'

// Plain descriptors: a FileHandle of fs/promises costs more than the digest of a small file.
const openFile = promisify(open)
const statFile = promisify(fstat)
const readFile = promisify(read)
const closeFile = promisify(close)
const CHUNK_BYTES = 256 * KiB
const AT_ONCE = 2
/** Beyond this many waiting files an event goes out without a digest rather than late. */
const MAX_WAITING = 1_000

/** SHA-256 of small files that just changed, two at a time. */
export class FileDigests {
  readonly #maxBytes: number
  #running = 0
  readonly #waiting: (() => void)[] = []
  #isStopped = false

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Undefined for what is too large, no regular file, gone, written to meanwhile, or too much at once. Does not throw. */
  async of(path: string, inode: number, size: number): Promise<string | undefined> {
    if (size > this.#maxBytes || this.#isStopped || this.#waiting.length >= MAX_WAITING) return undefined
    await this.#turn()
    try {
      return this.#isStopped ? undefined : await digest(path, inode, this.#maxBytes)
    } finally {
      this.#running -= 1
      this.#waiting.shift()?.()
    }
  }

  /** What waits is let through at once, without a digest. */
  stop(): void {
    this.#isStopped = true
  }

  async #turn(): Promise<void> {
    while (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running += 1
  }
}

async function digest(path: string, inode: number, maxBytes: number): Promise<string | undefined> {
  let fd: number | undefined
  try {
    // No following of a link put there meanwhile, no waiting for the other end of a pipe.
    fd = await openFile(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    return await digestOf(fd, inode, maxBytes)
  } catch {
    // Gone or refused: the event says what is known without it.
    return undefined
  } finally {
    // A descriptor that could only be read has nothing to lose when it is closed.
    if (fd !== undefined) await closeFile(fd).catch(() => undefined)
  }
}

async function digestOf(fd: number, inode: number, maxBytes: number): Promise<string | undefined> {
  const before = await statFile(fd)
  if (!before.isFile() || before.ino !== inode || before.size > maxBytes) return undefined
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, before.size + 1))
  for (let done = 0; done <= maxBytes; ) {
    const { bytesRead } = await readFile(fd, chunk, 0, chunk.length, done)
    if (bytesRead === 0) break
    hash.update(chunk.subarray(0, bytesRead))
    done += bytesRead
  }
  const after = await statFile(fd)
  return after.mtimeMs === before.mtimeMs && after.size === before.size ? hash.digest('hex') : undefined
}

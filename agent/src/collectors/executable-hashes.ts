import { createHash } from 'node:crypto'
import { type BigIntStats, close, fstat, openSync, read } from 'node:fs'
import { promisify } from 'node:util'
import type { Clock } from '@firebreak/shared/clock.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'

const closeFile = promisify(close)
const readFile = promisify(read)
const CHUNK_BYTES = 256 * KiB
const MAX_KNOWN = 4_096
/** Each waiting file holds one descriptor. */
const MAX_WAITING = 128

interface Waiting {
  readonly key: string
  readonly fd: number
  readonly size: number
}

export interface HashLimits {
  readonly max_bytes: number
  readonly bytes_per_s: number
}

/**
 * SHA-256 of executables, known by (device, inode, mtime, ctime, size), worked out beside the hot path and no faster than the limit.
 * The file is opened when it is first asked for, so that one which is deleted or replaced at once is still the one that is read.
 */
export class ExecutableHashes {
  readonly #clock: Pick<Clock, 'sleep'>
  readonly #limits: HashLimits
  readonly #known = new Map<string, string>()
  readonly #queue: Waiting[] = []
  readonly #asked = new Set<string>()
  readonly #stop = new AbortController()
  #working: Promise<void> | undefined

  constructor(clock: Pick<Clock, 'sleep'>, limits: HashLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  /** The digest when it is known already. */
  known(stat: BigIntStats): string | undefined {
    return this.#known.get(keyOf(stat))
  }

  /** The digest when it is known; else it is put to work and the next asker gets it. `path` may be /proc/PID/exe. Does not throw. */
  of(path: string, stat: BigIntStats): string | undefined {
    const key = keyOf(stat)
    const known = this.#known.get(key)
    if (known !== undefined) {
      // Last asked for, last forgotten.
      this.#known.delete(key)
      this.#known.set(key, known)
      return known
    }
    if (!this.#isWanted(key, stat)) return undefined
    try {
      this.#queue.push({ key, fd: openSync(path, 'r'), size: Number(stat.size) })
    } catch {
      // Gone or not ours to read: the event tells the rest, and a later start of the same file asks again.
      return undefined
    }
    this.#asked.add(key)
    this.#working ??= this.#work()
    return undefined
  }

  /** No descriptor and no timer is left when it resolves. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#working
    await Promise.all(this.#queue.splice(0).map(({ fd }) => closeFile(fd)))
  }

  /** Resolves when nothing waits; for tests and benches. */
  async settled(): Promise<void> {
    await this.#working
  }

  #isWanted(key: string, stat: BigIntStats): boolean {
    return (
      stat.isFile() &&
      stat.size <= BigInt(this.#limits.max_bytes) &&
      this.#queue.length < MAX_WAITING &&
      !this.#asked.has(key) &&
      !this.#stop.signal.aborted
    )
  }

  async #work(): Promise<void> {
    for (let next = this.#takeSmallest(); next; next = this.#takeSmallest()) {
      const digest = await this.#digest(next)
      this.#asked.delete(next.key)
      await closeFile(next.fd)
      if (digest !== undefined) this.#remember(next.key, digest)
      if (this.#stop.signal.aborted) break
    }
    this.#working = undefined
  }

  /** Smallest first: an implant is small, and does not wait for the browsers and compilers of a busy host. */
  #takeSmallest(): Waiting | undefined {
    let smallest = 0
    for (let at = 1; at < this.#queue.length; at++) {
      if ((this.#queue[at]?.size ?? 0) < (this.#queue[smallest]?.size ?? 0)) smallest = at
    }
    return this.#queue.splice(smallest, 1)[0]
  }

  async #digest({ fd, key, size }: Waiting): Promise<string | undefined> {
    const hash = createHash('sha256')
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(size, 1)))
    const pauseMs = (chunk.length / this.#limits.bytes_per_s) * 1_000
    try {
      for (let done = 0; done < size; ) {
        const { bytesRead } = await readFile(fd, chunk, 0, chunk.length, done)
        if (bytesRead === 0) return undefined
        hash.update(chunk.subarray(0, bytesRead))
        done += bytesRead
        if (done < size) await this.#clock.sleep(pauseMs, this.#stop.signal)
      }
      // Written to meanwhile: then the digest is of neither the old nor the new file.
      return keyOf(await statOf(fd)) === key ? hash.digest('hex') : undefined
    } catch {
      // Stopped, or the disk refused: no digest is the honest answer.
      return undefined
    }
  }

  #remember(key: string, digest: string): void {
    this.#known.set(key, digest)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break
      this.#known.delete(oldest)
    }
  }
}

function keyOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.ctimeNs}:${stat.size}`
}

function statOf(fd: number): Promise<BigIntStats> {
  return new Promise((resolve, reject) => {
    fstat(fd, { bigint: true }, (error, stat) => (error ? reject(error) : resolve(stat)))
  })
}

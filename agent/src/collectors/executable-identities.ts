/**
 * What a process runs, beyond its path: SHA-256, owner package and whether the file is as the package shipped it. Known by inode, both
 * times and size; worked out beside the hot path and no faster than the limit. An event never waits: what is known goes with it, and what
 * becomes known later follows in an event of its own (`executable-identified`), so that a search for a digest finds the first start too.
 */
import { createHash } from 'node:crypto'
import { type BigIntStats, close, fstat, openSync, read } from 'node:fs'
import { promisify } from 'node:util'
import type { Clock } from '@firebreak/shared/clock.ts'
import { KiB, MiB } from '@firebreak/shared/wire/units.ts'
import type { ExecutableFacts, PackageOwners } from './executable-facts.ts'
import { type ExecutableFile, contentKey, executableFileOf } from './executable-file.ts'
import type { KnownProcess } from './process-events.ts'
import type { ProcessEntry, ProcessTable } from './process-table.ts'

const closeFile = promisify(close)
const readFile = promisify(read)
const CHUNK_BYTES = 256 * KiB
const MAX_KNOWN = 4_096
/** Each waiting file holds one descriptor. */
const MAX_WAITING = 128
/** What is larger has a lane of its own, in which it may take seconds. */
const SMALL_BYTES = 4 * MiB
/** Starts of one file that are told once more when it is known. */
const MAX_FOLLOWERS = 64

export interface IdentityLimits {
  readonly max_bytes: number
  readonly bytes_per_s: number
}

type Follow = (facts: ExecutableFacts) => void

interface Waiting {
  readonly key: string
  readonly fd: number
  readonly file: ExecutableFile
  readonly path: string | undefined
  readonly isHosts: boolean
  readonly followers: Follow[]
}

/** Files that are worked on one after the other. */
interface Lane {
  readonly waiting: Waiting[]
  working?: Promise<void> | undefined
}

export class ExecutableIdentities {
  readonly #clock: Pick<Clock, 'sleep'>
  readonly #limits: IdentityLimits
  readonly #owners: PackageOwners
  readonly #mountNamespace: number | undefined
  readonly #known = new Map<string, ExecutableFacts>()
  readonly #lanes: readonly Lane[] = [{ waiting: [] }, { waiting: [] }]
  readonly #asked = new Map<string, Waiting>()
  readonly #stop = new AbortController()
  /** Package lists are not read to their end for somebody who leaves. */
  readonly #stopped = new Promise<undefined>((resolve) => {
    this.#stop.signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })

  /** `mountNamespace`: the agent's own; files of processes in another one belong to no package of this host. */
  constructor(
    deps: {
      readonly clock: Pick<Clock, 'sleep'>
      readonly owners: PackageOwners
      readonly mountNamespace?: number | undefined
    },
    limits: IdentityLimits,
  ) {
    this.#clock = deps.clock
    this.#limits = limits
    this.#owners = deps.owners
    this.#mountNamespace = deps.mountNamespace
  }

  /** Puts what is known into the entry, and calls `follow` with the process once more when it is known only later. */
  identify(entry: ProcessEntry, table: ProcessTable, follow: (known: KnownProcess) => void): void {
    const { pid, image } = entry.known
    if (entry.known.executable !== undefined || !image.file) return
    const isHosts =
      image.namespaces === undefined ||
      this.#mountNamespace === undefined ||
      image.namespaces.mnt === this.#mountNamespace
    const facts = this.#of(`${table.reader.root}/${pid}/exe`, image.executable, image.file, isHosts, (found) => {
      // It may have become another program meanwhile.
      if (entry.known.image === image) table.change(entry, { executable: found })
      follow({ ...entry.known, image, executable: found })
    })
    if (facts) table.change(entry, { executable: facts })
  }

  /** No descriptor and no timer is left when it resolves. */
  async stop(): Promise<void> {
    this.#stop.abort()
    for (const { working } of this.#lanes) await working
    await Promise.all(this.#lanes.flatMap(({ waiting }) => waiting.splice(0)).map(({ fd }) => closeFile(fd)))
  }

  #of(
    exe: string,
    path: string | undefined,
    file: ExecutableFile,
    isHosts: boolean,
    follow: Follow,
  ): ExecutableFacts | undefined {
    const key = contentKey(file)
    const known = this.#known.get(key)
    if (known !== undefined) {
      // Last asked for, last forgotten.
      this.#known.delete(key)
      this.#known.set(key, known)
      return known
    }
    const asked = this.#asked.get(key)
    if (asked) {
      if (asked.followers.length < MAX_FOLLOWERS) asked.followers.push(follow)
      return undefined
    }
    const lane = this.#lanes[file.size > SMALL_BYTES ? 1 : 0]
    if (!lane || file.size > this.#limits.max_bytes || lane.waiting.length >= MAX_WAITING || this.#stop.signal.aborted)
      return undefined
    const fd = openEither(exe, isHosts ? path : undefined)
    // Gone or not ours to read: the event tells the rest, and a later start of the same file asks again.
    if (fd === undefined) return undefined
    const waiting: Waiting = { key, fd, file, path, isHosts, followers: [follow] }
    lane.waiting.push(waiting)
    this.#asked.set(key, waiting)
    lane.working ??= this.#work(lane)
    return undefined
  }

  async #work(lane: Lane): Promise<void> {
    for (let next = takeSmallest(lane.waiting); next; next = takeSmallest(lane.waiting)) {
      const facts = await this.#identify(next)
      await closeFile(next.fd)
      this.#asked.delete(next.key)
      if (this.#stop.signal.aborted) break
      if (facts === undefined) continue
      this.#remember(next.key, facts)
      for (const follow of next.followers) follow(facts)
    }
    lane.working = undefined
  }

  async #identify(waiting: Waiting): Promise<ExecutableFacts | undefined> {
    const digests = await this.#digests(waiting)
    if (!digests || this.#stop.signal.aborted) return undefined
    const owner =
      waiting.isHosts && waiting.path !== undefined
        ? await Promise.race([this.#owners.of(waiting.path, digests), this.#stopped])
        : ({ status: 'unknown' } as const)
    return owner && { sha256: digests.sha256, package: owner }
  }

  async #digests({ fd, key, file }: Waiting): Promise<{ sha256: string; md5: string } | undefined> {
    const sha256 = createHash('sha256')
    const md5 = createHash('md5')
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(file.size, 1)))
    const pauseMs = (chunk.length / this.#limits.bytes_per_s) * 1_000
    try {
      if (keyOf(await statOf(fd)) !== key) return undefined
      for (let done = 0; done < file.size; ) {
        const { bytesRead } = await readFile(fd, chunk, 0, chunk.length, done)
        if (bytesRead === 0) return undefined
        sha256.update(chunk.subarray(0, bytesRead))
        md5.update(chunk.subarray(0, bytesRead))
        done += bytesRead
        if (done < file.size) await this.#clock.sleep(pauseMs, this.#stop.signal)
      }
      // Written to meanwhile: then the digest is of neither the old nor the new file.
      return keyOf(await statOf(fd)) === key ? { sha256: sha256.digest('hex'), md5: md5.digest('hex') } : undefined
    } catch {
      // Stopped, or the disk refused: no digest is the honest answer.
      return undefined
    }
  }

  #remember(key: string, facts: ExecutableFacts): void {
    this.#known.set(key, facts)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break
      this.#known.delete(oldest)
    }
  }
}

/** Smallest first: an implant is small, and does not wait for the browsers and compilers of a busy host. */
function takeSmallest(queue: Waiting[]): Waiting | undefined {
  let smallest = 0
  for (let at = 1; at < queue.length; at++)
    if ((queue[at]?.file.size ?? 0) < (queue[smallest]?.file.size ?? 0)) smallest = at
  return queue.splice(smallest, 1)[0]
}

/**
 * The file is opened when it is first asked for, so that one which is deleted or replaced at once is still the one that is read. A process
 * that has ended has no link to it any more; what lies under its path is compared before it is believed.
 */
function openEither(exe: string, path: string | undefined): number | undefined {
  for (const name of path === undefined ? [exe] : [exe, path]) {
    try {
      return openSync(name, 'r')
    } catch {
      continue
    }
  }
  return undefined
}

function keyOf(stat: BigIntStats): string | undefined {
  const file = executableFileOf(stat)
  return file && contentKey(file)
}

function statOf(fd: number): Promise<BigIntStats> {
  return new Promise((resolve, reject) => {
    fstat(fd, { bigint: true }, (error, stat) => (error ? reject(error) : resolve(stat)))
  })
}

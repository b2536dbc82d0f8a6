import { readdirSync, readlinkSync } from 'node:fs'

/** One search may take this much processor time, µs, and follow this many descriptors; what is not found by then has no process in its event. */
const MAX_SEARCH_US = 40_000
const MAX_DESCRIPTORS = 20_000
/** Processes that held a socket lately are asked first. */
const MAX_LIKELY = 256

/** Which process holds a socket, by its inode: `socket:[12345]` behind a descriptor of /proc/PID/fd. */
export class SocketOwners {
  readonly #procRoot: string
  #byInode = new Map<string, number>()
  readonly #likely = new Set<number>()
  #cutSearches = 0

  constructor(procRoot: string) {
    this.#procRoot = procRoot
  }

  /** Searches that ended at their limit before every owner was found. */
  get cutSearches(): number {
    return this.#cutSearches
  }

  pidOf(inode: string): number | undefined {
    return this.#byInode.get(inode)
  }

  /** Finds the holders of these sockets. `pids`: all processes, any order. */
  search(inodes: Iterable<string>, pids: readonly number[]): void {
    const wanted = new Set<string>()
    for (const inode of inodes) if (inode !== '0' && !this.#byInode.has(inode)) wanted.add(inode)
    if (wanted.size === 0) return
    const before = process.threadCpuUsage()
    let left = MAX_DESCRIPTORS
    // A new connection is mostly of a process that had one before, or of a new process: the highest ids.
    const others = pids.filter((pid) => !this.#likely.has(pid)).sort((a, b) => b - a)
    for (const pid of [...[...this.#likely].reverse(), ...others]) {
      left -= this.#look(pid, wanted)
      if (wanted.size === 0) return
      const { user, system } = process.threadCpuUsage(before)
      if (left > 0 && user + system < MAX_SEARCH_US) continue
      this.#cutSearches += 1
      return
    }
  }

  /** Forgets the sockets that are gone. */
  keepOnly(inodes: ReadonlySet<string>): void {
    for (const inode of this.#byInode.keys()) if (!inodes.has(inode)) this.#byInode.delete(inode)
  }

  /** Returns how many descriptors it followed. A process may end meanwhile or not be ours to see: then it has none. */
  #look(pid: number, wanted: Set<string>): number {
    const folder = `${this.#procRoot}/${pid}/fd`
    let descriptors: string[]
    try {
      descriptors = readdirSync(folder)
    } catch {
      this.#likely.delete(pid)
      return 1
    }
    for (const descriptor of descriptors) {
      const inode = socketInode(`${folder}/${descriptor}`)
      if (inode === undefined || !wanted.delete(inode)) continue
      this.#byInode.set(inode, pid)
      this.#remember(pid)
      if (wanted.size === 0) break
    }
    return descriptors.length
  }

  #remember(pid: number): void {
    this.#likely.delete(pid)
    this.#likely.add(pid)
    for (const oldest of this.#likely) {
      if (this.#likely.size <= MAX_LIKELY) break
      this.#likely.delete(oldest)
    }
  }
}

function socketInode(path: string): string | undefined {
  try {
    const target = readlinkSync(path)
    return target.startsWith('socket:[') ? target.slice(8, -1) : undefined
  } catch {
    // The descriptor was closed between the listing and this.
    return undefined
  }
}

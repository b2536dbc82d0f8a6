/**
 * Owners of files by dpkg's own lists. The lists of a host hold some 100,000 paths; of each only a number is kept, and the one list that a
 * number points to is read again to be sure, so the whole costs half a megabyte. Source: dpkg(1), FILES; deb-md5sums(5).
 */
import { open, readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MiB } from '@firebreak/shared/wire/units.ts'
import type { FileDigestPair, PackageFields, PackageOwners } from './executable-facts.ts'

const LIST = '.list'
const MAX_PACKAGES = 65_535
const MAX_PATHS = 4_000_000
const MAX_LIST_BYTES = 32 * MiB
/** Folders that are links into /usr where the two were merged; dpkg's lists may hold either name. */
const MERGED = /^\/usr\/(?=(?:bin|sbin|lib|lib32|lib64|libx32)\/)/
const UNOWNED: PackageFields = { status: 'unowned' }
const UNKNOWN: PackageFields = { status: 'unknown' }

interface Index {
  readonly version: string
  /** Names of the lists, without `.list`: `package` or `package:architecture`. */
  readonly lists: readonly string[]
  /** Hash of each path, ascending, and beside it the list that it is in. */
  readonly hashes: Uint32Array
  readonly listOf: Uint16Array
}

export class DpkgOwners implements PackageOwners {
  readonly #admin: string
  #index: Promise<Index> | undefined
  #versions: { readonly of: string; readonly names: ReadonlyMap<string, string> } | undefined

  constructor(root: string) {
    this.#admin = join(root, 'var/lib/dpkg')
  }

  async of(path: string, digests: FileDigestPair): Promise<PackageFields> {
    try {
      const index = await this.#current()
      const original = await this.#undiverted(path)
      for (const name of namesOf(original)) {
        const list = await this.#listWith(index, name)
        if (list !== undefined) return await this.#judge(list, name, digests.md5)
      }
      return UNOWNED
    } catch {
      // The lists change while packages are installed: what could not be read is not known.
      return UNKNOWN
    }
  }

  async #judge(list: string, path: string, md5: string): Promise<PackageFields> {
    const name = list.split(':')[0] ?? list
    const version = (await this.#versionsOf()).get(name)
    const shipped = await this.#shippedMd5(list, path)
    return {
      name,
      type: 'deb',
      ...(version === undefined ? {} : { version }),
      status: shipped === undefined ? 'unknown' : shipped === md5 ? 'intact' : 'modified',
    }
  }

  /** The lists as they are now: read anew when a package came or went. */
  async #current(): Promise<Index> {
    const version = versionOf(await stat(join(this.#admin, 'info')))
    const index = await this.#index?.catch(() => undefined)
    if (index?.version === version) return index
    this.#index = this.#read(version)
    return await this.#index
  }

  async #read(version: string): Promise<Index> {
    const folder = join(this.#admin, 'info')
    const lists = (await readdir(folder)).filter((name) => name.endsWith(LIST)).slice(0, MAX_PACKAGES)
    let pairs = new Float64Array(1 << 16)
    let count = 0
    for (const [at, name] of lists.entries()) {
      // One list at a time and each in a turn of its own: a host with thousands of packages must not stop the agent.
      const bytes = await readBounded(join(folder, name))
      forEachLine(bytes, (start, end) => {
        if (count >= MAX_PATHS) return
        if (count === pairs.length) {
          const larger = new Float64Array(pairs.length * 2)
          larger.set(pairs)
          pairs = larger
        }
        pairs[count++] = hashOf(bytes, start, end) * (MAX_PACKAGES + 1) + at
      })
    }
    const sorted = pairs.subarray(0, count).sort()
    const hashes = new Uint32Array(count)
    const listOf = new Uint16Array(count)
    for (let n = 0; n < count; n++) {
      const pair = sorted[n] ?? 0
      hashes[n] = Math.floor(pair / (MAX_PACKAGES + 1))
      listOf[n] = pair % (MAX_PACKAGES + 1)
    }
    return { version, lists: lists.map((name) => name.slice(0, -LIST.length)), hashes, listOf }
  }

  async #listWith({ hashes, listOf, lists }: Index, path: string): Promise<string | undefined> {
    const wanted = Buffer.from(path)
    const hash = hashOf(wanted, 0, wanted.length)
    for (let at = firstOf(hashes, hash); hashes[at] === hash; at++) {
      const list = lists[listOf[at] ?? 0]
      if (list === undefined) continue
      const bytes = await readBounded(join(this.#admin, 'info', `${list}${LIST}`))
      let isThere = false
      forEachLine(bytes, (start, end) => {
        if (end - start === wanted.length && bytes.compare(wanted, 0, wanted.length, start, end) === 0) isThere = true
      })
      if (isThere) return list
    }
    return undefined
  }

  /** As the package shipped it; undefined for what has no digest, such as configuration. */
  async #shippedMd5(list: string, path: string): Promise<string | undefined> {
    const bytes = await readBounded(join(this.#admin, 'info', `${list}.md5sums`)).catch(() => undefined)
    const line = bytes
      ?.toString('utf8')
      .split('\n')
      .find((one) => one.slice(34) === path.slice(1))
    const md5 = line?.slice(0, 32)
    return md5 !== undefined && /^[0-9a-f]{32}$/.test(md5) ? md5 : undefined
  }

  async #versionsOf(): Promise<ReadonlyMap<string, string>> {
    const path = join(this.#admin, 'status')
    const version = versionOf(await stat(path))
    if (this.#versions?.of === version) return this.#versions.names
    const names = new Map<string, string>()
    for (const paragraph of (await readFile(path, 'utf8')).split('\n\n')) {
      const name = /^Package: (\S+)$/m.exec(paragraph)?.[1]
      const has = /^Version: (\S+)$/m.exec(paragraph)?.[1]
      if (name !== undefined && has !== undefined) names.set(name, has)
    }
    this.#versions = { of: version, names }
    return names
  }

  /** A file that another package put aside is listed under the name that it had. Source: dpkg-divert(1). */
  async #undiverted(path: string): Promise<string> {
    const lines = (await readFile(join(this.#admin, 'diversions'), 'utf8').catch(() => '')).split('\n')
    const names = namesOf(path)
    for (let at = 0; at + 2 < lines.length; at += 3) {
      const [original, aside] = [lines[at], lines[at + 1]]
      if (original !== undefined && aside !== undefined && names.includes(aside)) return original
    }
    return path
  }
}

function namesOf(path: string): string[] {
  return MERGED.test(path) ? [path, path.replace(MERGED, '/')] : [path]
}

function versionOf(stats: { readonly mtimeMs: number; readonly ino: number; readonly size: number }): string {
  return `${stats.ino}:${stats.mtimeMs}:${stats.size}`
}

async function readBounded(path: string): Promise<Buffer> {
  await using file = await open(path, 'r')
  const { size } = await file.stat()
  if (size > MAX_LIST_BYTES) throw new RangeError(`${path} has ${size} bytes`)
  return await file.readFile()
}

function forEachLine(bytes: Buffer, take: (start: number, end: number) => void): void {
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start)
    const end = newline < 0 ? bytes.length : newline
    if (end > start) take(start, end)
    start = end + 1
  }
}

/** FNV-1a, 32 bits. */
function hashOf(bytes: Buffer, start: number, end: number): number {
  let hash = 0x811c_9dc5
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x0100_0193)
  return hash >>> 0
}

function firstOf(hashes: Uint32Array, hash: number): number {
  let low = 0
  let high = hashes.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((hashes[middle] ?? 0) < hash) low = middle + 1
    else high = middle
  }
  return low
}

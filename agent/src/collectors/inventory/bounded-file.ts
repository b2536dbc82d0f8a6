/**
 * Reads what others wrote, without being led astray: a FIFO or a device in place of a file is never opened (opening /dev/watchdog would
 * arm it), no more than the limit is read, and a file that changes meanwhile is read again.
 */
import { constants, readdirSync, type Stats, statSync } from 'node:fs'
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { textOfBytes } from '../escaped-bytes.ts'

export type Unreadable = 'absent' | 'not_a_file' | 'too_large' | 'no_permission' | 'unsteady' | 'failed'

/** open(2), not among Node's constants: only the name is looked up, nothing is opened. */
const O_PATH = 0o10000000
const TRIES = 3

export async function readBounded(path: string, maxBytes: number): Promise<Result<Buffer, Unreadable>> {
  for (let left = TRIES; ; left--) {
    const read = await readOnce(path, maxBytes)
    if (read.ok || read.code !== 'unsteady' || left === 1) return read
  }
}

/** The same as text, by lines; other bytes than UTF-8 as `\xNN`. */
export async function readLines(path: string, maxBytes: number): Promise<Result<string[], Unreadable>> {
  const read = await readBounded(path, maxBytes)
  return read.ok ? ok(textOfBytes(read.value).split('\n')) : read
}

async function readOnce(path: string, maxBytes: number): Promise<Result<Buffer, Unreadable>> {
  try {
    await using file = await openRegular(path)
    if (file === undefined) return refuse('not_a_file', `${path} is no regular file`)
    const found = await file.stat()
    if (found.size > maxBytes) return tooLarge(path, maxBytes)
    const bytes = await readUpTo(file, maxBytes + 1, found.size)
    if (bytes.length > maxBytes) return tooLarge(path, maxBytes)
    const after = await file.stat()
    if (after.size !== found.size || after.mtimeMs !== found.mtimeMs)
      return refuse('unsteady', `${path} changes while it is read`)
    return ok(bytes)
  } catch (error) {
    return refuseOf(path, error)
  }
}

/** For reading; undefined when it is no regular file. Throws as `open` does. */
export async function openRegular(path: string): Promise<FileHandle | undefined> {
  await using name = await open(path, O_PATH)
  if (!(await name.stat()).isFile()) return undefined
  return await open(`/proc/self/fd/${name.fd}`, constants.O_RDONLY | constants.O_NONBLOCK)
}

function tooLarge(path: string, maxBytes: number): Result<never, Unreadable> {
  return refuse('too_large', `${path} is larger than ${maxBytes} bytes`)
}

async function readUpTo(file: FileHandle, limit: number, expected: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let at = 0; at < limit; ) {
    const chunk = Buffer.allocUnsafe(Math.min(limit - at, Math.max(4_096, Math.min(expected + 1, 1_048_576))))
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null)
    if (bytesRead === 0) break
    chunks.push(chunk.subarray(0, bytesRead))
    at += bytesRead
  }
  return Buffer.concat(chunks)
}

export interface Listing {
  readonly names: readonly string[]
  /** Why not all of it is there. */
  readonly why?: string
}

/** Names in a folder in their order, at most `limit`; none when there is no such folder. */
export async function listFolder(path: string, limit: number): Promise<Listing> {
  try {
    const names = (await readdir(path, { encoding: 'buffer' })).map((name) => textOfBytes(name)).toSorted()
    return names.length <= limit
      ? { names }
      : { names: names.slice(0, limit), why: `${path}: more than ${limit} names` }
  } catch (error) {
    const refused = refuseOf(path, error)
    return refused.code === 'absent' ? { names: [] } : { names: [], why: refused.why }
  }
}

/** Changes when the file, or what the folder holds by name, does; empty when there is none. */
export async function stampOf(path: string): Promise<string> {
  try {
    return stampText(await stat(path))
  } catch {
    return ''
  }
}

function stampText({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return `${dev}:${ino}:${size}:${mtimeMs}:${ctimeMs}`
}

/** Of a folder and of everything directly in it. Without the thread pool, which costs ten times as much: for folders of the system's own disk. */
export function stampOfFolder(path: string, limit: number): string {
  const own = quickStamp(path)
  if (own === '') return ''
  try {
    const names = readdirSync(path).slice(0, limit)
    return [own, ...names.map((name) => `${name} ${quickStamp(join(path, name))}`)].join('|')
  } catch {
    return own
  }
}

function quickStamp(path: string): string {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    return stat ? stampText(stat) : ''
  } catch {
    return ''
  }
}

function refuseOf(
  path: string,
  error: unknown,
): { readonly ok: false; readonly code: Unreadable; readonly why: string } {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'ENOENT' || code === 'ENOTDIR') return refuse('absent', `${path} does not exist`)
  if (code === 'EACCES' || code === 'EPERM') return refuse('no_permission', `${path} may not be read`)
  return refuse('failed', `${path} cannot be read: ${code ?? String(error)}`)
}

/** Copies with a hash of every file, durable before they count. */
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { chmod, mkdir, open, readdir } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Manifest } from './manifest.ts'

type FileEntry = Manifest['files'][number]

/** All regular files under a folder, as paths relative to it, in order. */
export async function filesUnder(root: string): Promise<readonly string[]> {
  const found = await readdir(root, { recursive: true, withFileTypes: true })
  return found
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort()
}

/** Copies one file and flushes it. */
export async function copyFile(from: string, to: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  await mkdir(dirname(to), { recursive: true, mode: 0o700 })
  const hash = createHash('sha256')
  let bytes = 0
  const through = new Transform({
    transform(chunk: Buffer, _, done) {
      hash.update(chunk)
      bytes += chunk.length
      done(null, chunk)
    },
  })
  await pipeline(createReadStream(from), through, createWriteStream(to, { flags: 'wx', mode: 0o600, flush: true }))
  return { bytes, sha256: hash.digest('hex') }
}

export async function hashOf(path: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk as Buffer)
    bytes += (chunk as Buffer).length
  }
  return { bytes, sha256: hash.digest('hex') }
}

/** Copies a whole folder; what it holds, under `prefix`. */
export async function copyFolder(from: string, root: string, prefix: string): Promise<readonly FileEntry[]> {
  const entries: FileEntry[] = []
  for (const path of await filesUnder(from)) {
    const under = join(prefix, path)
    entries.push({ path: under, ...(await copyFile(join(from, path), join(root, under))) })
  }
  return entries
}

/** A folder's list of names is on the disk only when it is flushed itself (fsync(2)). */
export async function flushFolder(dir: string): Promise<void> {
  await chmod(dir, 0o700)
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

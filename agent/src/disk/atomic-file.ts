/** Small files that are whole or not there: written beside, flushed, renamed over, and the folder flushed (rename(2), fsync(2)). */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'

/** After it returns the content survives a power cut. `mode` is set before the first byte is written. */
export function writeAtomic(path: string, content: Uint8Array | string, mode = 0o600): void {
  const beside = `${path}.new`
  try {
    const fd = openSync(beside, 'w', mode)
    try {
      const bytes = typeof content === 'string' ? Buffer.from(content) : content
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(beside, path)
    flushFolder(dirname(path))
  } catch (cause) {
    throw new Fault('disk_unwritable', `cannot write ${path}`, { cause })
  }
}

/** `undefined` when there is no such file. */
export function readIfThere(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new Fault('disk_unreadable', `cannot read ${path}`, { cause: thrown })
  }
}

/** Makes names that were just created, renamed or removed in a folder survive a power cut. */
export function flushFolder(path: string): void {
  if (process.platform === 'win32') return // a folder cannot be opened there; NTFS journals its names
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** A folder for root alone. */
export function makePrivateFolder(path: string): void {
  if (existsSync(path)) return
  mkdirSync(path, { recursive: true, mode: 0o700 })
  flushFolder(dirname(path))
}

/** Secrets in files of their own: 0600, on disk before they count, never half written. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'

/** `undefined` when the file is not there. Faults: `key_exposed` when others may read it. */
export function readSecret(path: string): Buffer | undefined {
  let mode: number
  try {
    mode = statSync(path).mode
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw thrown
  }
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    throw new Fault('key_exposed', `${path} can be read by others: chmod 600 it, and think about making a new key`)
  return readFileSync(path)
}

export function writeSecret(path: string, content: Uint8Array | string): void {
  writeDurably(path, content, 0o600)
}

export function writePublic(path: string, content: Uint8Array | string): void {
  writeDurably(path, content, 0o644)
}

function writeDurably(path: string, content: Uint8Array | string, mode: number): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const half = `${path}.new`
  const file = openSync(half, 'w', mode)
  try {
    const bytes = Buffer.from(content)
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(half, path)
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

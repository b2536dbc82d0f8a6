/**
 * chDB streams Parquet as a whole file for each piece, and what is put together of those is no file that anybody can read. So the engine
 * writes the one file itself, beside the store, and it is read from there. Nothing of it outlives its reader, or a restart.
 */
import { randomUUID } from 'node:crypto'
import { createReadStream, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { quoted } from './literals.ts'

/** Where files lie while they are read; emptied of what a crash left there. */
export function exportsDir(storeDir: string): string {
  const dir = `${storeDir}.exports`
  rmSync(dir, { recursive: true, force: true })
  return dir
}

/** `run` executes a statement; `query` is a whole one, with its settings. */
export async function* parquetFile(
  run: (sql: string) => Promise<unknown>,
  query: string,
  dir: string,
): AsyncIterable<Uint8Array> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const path = join(dir, `${randomUUID()}.parquet`)
  try {
    // Not `insert into function file(...)`: that takes two lists under one prefix for a nested table and wants them equally long.
    await run(`${query} into outfile ${quoted(path)} format Parquet`)
    for await (const piece of createReadStream(path, { highWaterMark: 262_144 })) yield piece as Buffer
  } finally {
    rmSync(path, { force: true })
  }
}

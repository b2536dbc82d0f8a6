/**
 * How a block goes into the engine in this process: as a file of RowBinary with one row a batch, which the engine itself takes apart into
 * events. Handed over as text of a statement, the same block is copied and looked through several times on its way (measured: 10 to 20
 * against 1 µs an event). The file is never flushed, and nothing of it outlives its insert, or a restart.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Block } from './engine.ts'
import { INSERT_COLUMNS } from './event-rows.ts'
import { quoted } from './literals.ts'
import type { EventLine } from './telemetry-store.ts'

const ROW =
  "agent_id String, epoch String, class String, ingested DateTime64(3, 'UTC'), seqs Array(UInt64), texts String"

/** In one piece and in the same order each time, so that the same token again meets the same parts. */
const ONE_BLOCK = {
  max_threads: 1,
  min_insert_block_size_rows: 1_048_449,
  min_insert_block_size_bytes: 1_073_741_824,
} as const

/** As many pieces as the system takes at once (IOV_MAX). */
const PIECES_AT_ONCE = 1_000

/** Where blocks lie while they go in; emptied of what a crash left there. */
export function blocksDir(storeDir: string): string {
  const dir = resolve(`${storeDir}.blocks`)
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return dir
}

/** `run` executes a statement. */
export async function insertBlock(
  run: (sql: string) => Promise<unknown>,
  { table, events, token }: Block,
  settings: Readonly<Record<string, string | number>>,
  dir: string,
): Promise<void> {
  const path = join(dir, `${randomUUID()}.rows`)
  try {
    await write(path, rowsOf(events))
    const all = { ...ONE_BLOCK, ...settings, insert_deduplication_token: quoted(token) }
    await run(`insert into ${table} (${INSERT_COLUMNS.join(', ')})
      select agent_id, epoch, class, seq, ingested, raw from (select * from file(${quoted(path)}, RowBinary, ${quoted(ROW)}))
      array join seqs as seq, splitByChar('\\n', texts) as raw
      settings ${Object.entries(all)
        .map(([name, value]) => `${name} = ${value}`)
        .join(', ')}`)
  } finally {
    await rm(path, { force: true })
  }
}

async function write(path: string, pieces: readonly Uint8Array[]): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    for (let at = 0; at < pieces.length; at += PIECES_AT_ONCE) {
      const some = pieces.slice(at, at + PIECES_AT_ONCE)
      const { bytesWritten } = await file.writev(some)
      if (bytesWritten !== some.reduce((sum, { length }) => sum + length, 0))
        throw new Error(`the disk took a part of ${path}`)
    }
  } finally {
    await file.close()
  }
}

/** RowBinary (ClickHouse, formats): a length as LEB128 before each text and list, numbers little-endian, a time as ms. */
export function rowsOf(events: readonly EventLine[]): Uint8Array[] {
  return events.flatMap((event) => [lead(event), event.json])
}

function lead({ agentId, epoch, class: name, ingestedAt, seq, seqs = [seq], json }: EventLine): Uint8Array {
  const texts = [agentId, epoch, name]
  const row = Buffer.allocUnsafe(texts.reduce((sum, { length }) => sum + 3 * length + 5, 0) + 18 + 8 * seqs.length)
  let at = 0
  for (const text of texts) {
    at = length(row, at, Buffer.byteLength(text))
    at += row.write(text, at, 'utf8')
  }
  at = row.writeBigInt64LE(BigInt(Date.parse(ingestedAt)), at)
  at = length(row, at, seqs.length)
  for (const each of seqs) {
    row.writeUInt32LE(each % 2 ** 32, at)
    at = row.writeUInt32LE(Math.floor(each / 2 ** 32), at + 4)
  }
  at = length(row, at, json.length)
  return row.subarray(0, at)
}

function length(row: Buffer, at: number, value: number): number {
  let [end, rest] = [at, value]
  for (; rest > 127; rest = Math.floor(rest / 128)) row[end++] = (rest % 128) + 128
  row[end++] = rest
  return end
}

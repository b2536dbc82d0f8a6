/**
 * Damage of the store in this process, found at open. Left alone the engine puts a part that it cannot read aside and goes on without
 * its events, makes a table anew whose definition is gone, and reads on until it meets a flipped byte. So it is asked: which parts it
 * has put aside, whether less is there than was, and whether the newest parts, which a crash can have hurt, still have their checksums.
 * Older parts are checked by the engine block by block when they are read.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { DATABASE, EVENTS } from './event-table.ts'
import type { Engine } from './engine.ts'
import { ledgerPath, missing, type PartLedger, readLedger } from './part-ledger.ts'
import { readStats } from './stats.ts'
import type { TelemetryStore } from './telemetry-store.ts'

/** Read at each start, newest first: about a second. */
const CHECKED_BYTES = 256 * MiB
const SHOWN = 5

/** Before the tables are made: makes sure that they are not made anew over what was there. Returns what was there when last looked. */
export async function beforeTables(engine: Engine, dir: string): Promise<PartLedger | undefined> {
  const ledger = readLedger(dir)
  if (ledger === undefined) return undefined
  const tables = await rows<{ name: string }>(engine, `select name from system.tables where database = '${DATABASE}'`)
  const gone = ['events', 'seen', 'seen_view'].filter((name) => !tables.some((table) => table.name === name))
  if (gone.length > 0) throw damaged(dir, [`the definition of ${gone.join(', ')} is missing`], [])
  return ledger
}

export async function afterTables(
  engine: Engine,
  store: Pick<TelemetryStore, 'select'>,
  dir: string,
  ledger: PartLedger | undefined,
): Promise<void> {
  const aside = await rows<{ table: string; name: string; path: string }>(
    engine,
    `select table, name, path from system.detached_parts where database = '${DATABASE}' and startsWith(ifNull(reason, ''), 'broken')`,
  )
  const found = aside.map(({ table, name }) => `a part of ${table} cannot be read (${name})`)
  found.push(...missing(ledger ?? {}, (await readStats(store)).days))
  const failed = await checkNewest(engine)
  found.push(...failed)
  if (found.length > 0)
    throw damaged(dir, found, [...aside.map(({ path }) => path), ...(ledger ? [ledgerPath(dir)] : [])])
}

async function checkNewest(engine: Engine): Promise<readonly string[]> {
  const parts = await rows<{ name: string; bytes: number }>(
    engine,
    `select name, toFloat64(bytes_on_disk) as bytes from system.parts
    where active and database = '${DATABASE}' and table = 'events' order by modification_time desc limit 200`,
  )
  const failed: string[] = []
  let left = CHECKED_BYTES
  for (const { name, bytes } of parts) {
    left -= bytes
    if (left < 0 && left + bytes < CHECKED_BYTES) break
    const [answer] = await rows<{ is_passed: number | boolean; message: string }>(
      engine,
      `check table ${EVENTS} part '${name.replaceAll(/[\\']/g, '')}'`,
      { check_query_single_value_result: 0 },
    )
    if (!answer?.is_passed) failed.push(`a part of events is damaged (${name}: ${answer?.message ?? 'no answer'})`)
  }
  return failed
}

async function rows<T>(
  engine: Engine,
  sql: string,
  settings: Readonly<Record<string, number>> = { max_threads: 1 },
): Promise<T[]> {
  try {
    const text = await engine.read({ sql, params: {}, settings })
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as T)
  } catch (cause) {
    throw new Fault('telemetry_damaged', `the telemetry store cannot be checked: ${reasonOf(cause)}`, { cause })
  }
}

function damaged(dir: string, found: readonly string[], files: readonly string[]): Fault {
  const more = found.length > SHOWN ? `; and ${found.length - SHOWN} more` : ''
  const without =
    files.length > 0 ? `, or, to go on without those events, move away ${files.slice(0, SHOWN).join(' and ')}` : ''
  return new Fault(
    'telemetry_damaged',
    `the telemetry store ${dir} is damaged: ${found.slice(0, SHOWN).join('; ')}${more}. Nothing was deleted, and hosts keep what was not acknowledged. Put a backup back with \`firebreak restore\`${without}`,
  )
}

/** An engine that does not open is damaged, or somebody has it. */
export function openProblem(dir: string, cause: unknown): Fault {
  const there = existsSync(join(dir, 'metadata'))
  return new Fault(
    'telemetry_unreadable',
    `the telemetry store ${dir} cannot be opened: another process has it open, or it is damaged (${reasonOf(cause)})${there ? '; the engine has written why to standard error. Put a backup back with `firebreak restore`' : ''}`,
    { cause },
  )
}

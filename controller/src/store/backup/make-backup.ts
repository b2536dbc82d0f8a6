/**
 * A backup of both stores, and of the keys without which they are worth nothing, while hosts send. Both are pictures of the same
 * moment: nothing moves from one to the other while they are taken, so that an event that was acknowledged is in exactly one of them.
 * Only the taking holds the way into the telemetry store up (hard links and one copy of the state); copying comes after.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { AuditLog } from '../../audit/audit-log.ts'
import { VERSION } from '../../version.ts'
import type { StateStore } from '../state/state-store.ts'
import type { Frozen, TelemetryStats, TelemetryStore } from '../telemetry/telemetry-store.ts'
import { copyFile, copyFolder, flushFolder, hashOf } from './backup-files.ts'
import { FORMAT, MANIFEST_FILE, type Manifest } from './manifest.ts'

/** For the mark that the last block is in; it follows within milliseconds. */
const SETTLE_MS = 10_000
/** A page holds at least one row's worth: past every page there is. */
const ALL_PAGES = 2_147_483_647
/** What agents know the deployment by, and what the state is sealed with. */
export const KEY_FOLDERS = ['keys', 'trust'] as const
export const KEY_FILES = ['tls.crt'] as const

export interface BackupDeps {
  readonly stateDir: string
  readonly state: StateStore
  readonly telemetry: TelemetryStore
  readonly audit: Pick<AuditLog, 'verify'>
  readonly now: () => number
}

/**
 * Writes a new folder. Faults: `backup_exists`, `backup_busy` (the telemetry store does not take events: a picture of it would be
 * torn), `backup_failed`; then nothing is left that could be taken for a backup.
 */
export async function makeBackup(deps: BackupDeps, target: string): Promise<Manifest> {
  if (existsSync(target)) throw new Fault('backup_exists', `${target} exists already; name a new folder`)
  const partial = join(dirname(target), `.${basename(target)}.partial`)
  await rm(partial, { recursive: true, force: true })
  let frozen: Frozen | undefined
  try {
    await mkdir(partial, { recursive: true, mode: 0o700 })
    const picture = await takePicture(deps, join(partial, 'state.db'))
    frozen = picture.frozen
    const manifest = await fill(deps, partial, picture)
    await writeDurably(join(partial, MANIFEST_FILE), `${JSON.stringify(manifest)}\n`)
    await flushFolder(partial)
    await rename(partial, target)
    await flushFolder(dirname(target))
    return manifest
  } catch (thrown) {
    await rm(partial, { recursive: true, force: true })
    if (thrown instanceof Fault) throw thrown
    throw new Fault('backup_failed', `the backup ${target} was not made: ${reasonOf(thrown)}`, { cause: thrown })
  } finally {
    await frozen?.release()
  }
}

interface Picture {
  readonly at: string
  readonly frozen: Frozen | undefined
  readonly stats: TelemetryStats | undefined
}

async function takePicture({ state, stateDir, telemetry, now }: BackupDeps, to: string): Promise<Picture> {
  return await telemetry.hold(async (lastToken) => {
    await settled(state, lastToken)
    const frozen = await freeze(telemetry, now())
    const stats = frozen && (await telemetry.stats())
    const source = new DatabaseSync(join(stateDir, 'state.db'), { readOnly: true, timeout: 5_000 })
    try {
      // In one step, which is one picture: with several, every write would make it begin again.
      await backup(source, to, { rate: ALL_PAGES })
    } finally {
      source.close()
    }
    oneFile(to)
    return { at: new Date(now()).toISOString(), frozen, stats }
  })
}

/** The copy is in WAL mode like its source: looking into it would lay two more files beside it. */
function oneFile(path: string): void {
  const copy = new DatabaseSync(path)
  try {
    copy.exec('pragma synchronous = full; pragma journal_mode = delete')
  } finally {
    copy.close()
  }
}

async function freeze(telemetry: TelemetryStore, nowMs: number): Promise<Frozen | undefined> {
  try {
    return await telemetry.freeze(`backup_${nowMs}`)
  } catch (thrown) {
    if (thrown instanceof Fault && thrown.code === 'backup_elsewhere') return undefined
    throw thrown
  }
}

/** Until the state says of the last block, which is in, that it is in: otherwise it would go in a second time after a restore. */
async function settled(state: StateStore, lastToken: string | undefined): Promise<void> {
  if (lastToken === undefined) return
  for (let waited = 0; waited < SETTLE_MS; waited += 20) {
    const open = await state.db
      .selectFrom('ingest_batches')
      .select('id')
      .where('stored', '=', 0)
      .where('block_id', '=', lastToken)
      .executeTakeFirst()
    if (!open) return
    await sleep(20)
  }
  throw new Fault('backup_busy', 'the state does not take what was stored; nothing can be backed up until it does')
}

async function fill(
  { stateDir, audit }: BackupDeps,
  partial: string,
  { at, frozen, stats }: Picture,
): Promise<Manifest> {
  const files: Manifest['files'] = [{ path: 'state.db', ...(await hashOf(join(partial, 'state.db'))) }]
  for (const folder of KEY_FOLDERS)
    if (existsSync(join(stateDir, folder))) files.push(...(await copyFolder(join(stateDir, folder), partial, folder)))
  for (const name of KEY_FILES)
    if (existsSync(join(stateDir, name)))
      files.push({ path: name, ...(await copyFile(join(stateDir, name), join(partial, name))) })
  for (const { table, dir } of frozen?.tables ?? [])
    for (const part of await partFolders(dir))
      files.push(...(await copyFolder(part, partial, join('telemetry', table, basename(part)))))
  const kept = readState(join(partial, 'state.db'))
  const verified = await audit.verify()
  if (!verified.ok)
    throw new Fault('backup_failed', `the audit log does not hold: ${verified.why ?? 'a record was changed'}`)
  return {
    format: FORMAT,
    made_at: at,
    version: VERSION,
    ...kept,
    telemetry: stats
      ? { events: stats.events, days: stats.days.map(({ day, class: name, events }) => ({ day, class: name, events })) }
      : null,
    files,
  }
}

/** `shadow/NAME/store/abc/UUID/PART`: where the engine puts frozen parts. */
export async function partFolders(dir: string): Promise<readonly string[]> {
  if (!existsSync(dir)) return []
  const entries = await readdir(dir, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile() && entry.name === 'columns.txt').map((entry) => entry.parentPath)
}

/** Read from the copy itself, which is also a check of it. */
export function readState(path: string): Pick<Manifest, 'deployment_id' | 'audit'> {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const [check] = database.prepare('pragma quick_check(1)').all()
    if (check?.['quick_check'] !== 'ok')
      throw new Error(`the copy of the state is damaged: ${String(check?.['quick_check'])}`)
    const deployment = database.prepare("select value from meta where key = 'deployment_id'").get()
    const head = database.prepare('select n, sha256 from audit order by n desc limit 1').get()
    return {
      deployment_id: String(deployment?.['value'] ?? ''),
      audit: { records: Number(head?.['n'] ?? 0), head_sha256: String(head?.['sha256'] ?? '0'.repeat(64)) },
    }
  } finally {
    database.close()
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Puts a backup back. Everything is checked first (hashes of all files, the state, the chain of the audit log), then built beside what
 * is there, checked again, and only then moved into place. What was there is moved aside, never deleted. A mark lies in the state
 * folder while the moves run: a controller does not start over half a restore, and the restore can be run again.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { createAuditLog } from '../../audit/audit-log.ts'
import { lockStateDir, RESTORE_MARK } from '../state/state-lock.ts'
import { RESTORED_TO } from '../state/restored-to.ts'
import { openStateStore } from '../state/sqlite-store.ts'
import { copyFile, filesUnder, flushFolder, hashOf } from './backup-files.ts'
import { KEY_FILES, KEY_FOLDERS, readState } from './make-backup.ts'
import { type Manifest, MANIFEST_FILE, manifestSchema } from './manifest.ts'
import { attachParts } from './restore-telemetry.ts'

const PLACES = ['state.db', 'state.db-wal', 'state.db-shm', 'telemetry', ...KEY_FOLDERS, ...KEY_FILES] as const

export interface RestoreOptions {
  /** Moves aside what the state folder holds. */
  readonly force: boolean
  readonly now: () => number
}

export interface Restored {
  readonly manifest: Manifest
  /** Where what was there lies now. */
  readonly aside: string | undefined
}

/** Faults: `backup_invalid`, `not_empty`, `already_running`, `restore_failed`; then the state folder is as it was. */
export async function restoreBackup(from: string, stateDir: string, { force, now }: RestoreOptions): Promise<Restored> {
  const unlock = lockStateDir(stateDir, { overMark: true })
  try {
    const manifest = await checkBackup(from)
    const there = PLACES.filter((name) => existsSync(join(stateDir, name)))
    if (there.length > 0 && !force)
      throw new Fault(
        'not_empty',
        `${stateDir} holds ${there.join(', ')}: give --force to move that aside, or name another folder`,
      )
    const building = join(stateDir, 'restore-building')
    await rm(building, { recursive: true, force: true })
    try {
      await build(from, building, manifest, now)
    } catch (thrown) {
      await rm(building, { recursive: true, force: true })
      if (thrown instanceof Fault) throw thrown
      throw new Fault('restore_failed', `the backup was not restored: ${reasonOf(thrown)}; ${stateDir} is as it was`, {
        cause: thrown,
      })
    }
    return { manifest, aside: await moveIntoPlace(stateDir, building, there.length > 0, now()) }
  } finally {
    unlock()
  }
}

/** Reads all of it. Fault `backup_invalid`. */
export async function checkBackup(from: string): Promise<Manifest> {
  const invalid = (why: string, cause?: unknown) =>
    new Fault('backup_invalid', `${from} is no whole backup: ${why}`, { cause })
  let text: string
  try {
    text = await readFile(join(from, MANIFEST_FILE), 'utf8')
  } catch (cause) {
    throw invalid(`it has no readable ${MANIFEST_FILE} (${reasonOf(cause)})`, cause)
  }
  let manifest: unknown
  try {
    manifest = JSON.parse(text)
  } catch (cause) {
    throw invalid(`${MANIFEST_FILE} is damaged`, cause)
  }
  if (!manifestSchema.Check(manifest)) throw invalid(`${MANIFEST_FILE} is not of a form that this version knows`)
  const listed = new Map(manifest.files.map((file) => [file.path, file]))
  const found = (await filesUnder(from)).filter((path) => path !== MANIFEST_FILE)
  const stranger = found.find((path) => !listed.has(path))
  if (stranger !== undefined) throw invalid(`${stranger} is not in its list`)
  const there = new Set(found)
  for (const { path, bytes, sha256 } of manifest.files) {
    if (!there.has(path)) throw invalid(`${path} is missing`)
    const now = await hashOf(join(from, path))
    if (now.bytes !== bytes || now.sha256 !== sha256) throw invalid(`${path} was changed or is damaged`)
  }
  return manifest
}

async function build(from: string, building: string, manifest: Manifest, now: () => number): Promise<void> {
  for (const { path } of manifest.files)
    if (!path.startsWith('telemetry/')) await copyFile(join(from, path), join(building, path))
  const kept = readState(join(building, 'state.db'))
  if (kept.audit.head_sha256 !== manifest.audit.head_sha256 || kept.audit.records !== manifest.audit.records)
    throw new Fault('backup_invalid', 'the audit log of the backup is not the one that its list names')
  await checkAudit(join(building, 'state.db'), now, manifest)
  if (manifest.telemetry)
    await attachParts(join(from, 'telemetry'), join(building, 'telemetry'), manifest.telemetry.days)
  await flushFolder(building)
}

/** Record by record and receipt by receipt, as `firebreak audit verify` does it. The key is for checkpoints, of which none is made here. */
async function checkAudit(path: string, now: () => number, { made_at }: Manifest): Promise<void> {
  const state = await openStateStore(path)
  try {
    const { ok: holds, brokenAt, why } = await createAuditLog(state, { now }, signingKeyOf(generateSeed())).verify()
    if (!holds)
      throw new Fault('backup_invalid', `record ${brokenAt ?? '?'} of the audit log does not hold: ${why ?? ''}`)
    // What hosts sent since then and have let go is forgotten: when they say so, this says that it is true.
    await state.write((tx) =>
      tx
        .insertInto('meta')
        .values({ key: RESTORED_TO, value: made_at })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({ value: made_at }))
        .execute(),
    )
  } finally {
    await state.close()
  }
}

async function moveIntoPlace(
  stateDir: string,
  building: string,
  occupied: boolean,
  nowMs: number,
): Promise<string | undefined> {
  const aside = join(stateDir, `before-restore-${new Date(nowMs).toISOString().replaceAll(/[:.]/g, '-')}`)
  await writeFile(join(stateDir, RESTORE_MARK), `${new Date(nowMs).toISOString()}\n`, { flush: true, mode: 0o600 })
  await flushFolder(stateDir)
  if (occupied) await mkdir(aside, { mode: 0o700 })
  for (const name of PLACES) if (existsSync(join(stateDir, name))) await rename(join(stateDir, name), join(aside, name))
  for (const name of await readdir(building)) await rename(join(building, name), join(stateDir, name))
  await rm(building, { recursive: true, force: true })
  await flushFolder(stateDir)
  await rm(join(stateDir, RESTORE_MARK))
  await flushFolder(stateDir)
  return occupied ? aside : undefined
}

/**
 * A host that was copied takes leave of the key that another machine has too, and can join under one of its own. Events that were not
 * taken yet go on under the new id; orders and receipts belong to the old one and are set aside.
 */
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { IsolationStore } from '../actions/isolation/state.ts'
import { flushFolder } from '../disk/atomic-file.ts'
import { openSpool, type SpoolConfig } from '../link/spool/spool.ts'
import type { Log } from '../log.ts'
import { ENROLMENT_FILE, TRUST_FILE } from './trust-store.ts'
import { KEY_FILE, readIdentity } from './identity.ts'

export type ResetRefusal = 'not_enrolled' | 'isolated'

export interface FormerIdentity {
  readonly agentId: string
  /** Where its trust file, its enrolment and its journal are kept. The key is kept nowhere. */
  readonly folder: string
}

/** With no agent running. The enrolment goes first: from then on the host has not joined, whatever happens on the way. */
export async function resetIdentity(
  stateDir: string,
  spoolConfig: SpoolConfig,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Promise<Result<FormerIdentity, ResetRefusal>> {
  const identity = readIdentity(stateDir)
  if (!identity.ok) return refuse('not_enrolled', identity.why)
  const { record } = new IsolationStore(stateDir).read()
  if (record)
    return refuse(
      'isolated',
      `this host is isolated by command ${record.cmd_id}; it must be released before it changes its identity`,
    )
  const { agentId } = identity.value
  const folder = join(stateDir, `former-${agentId}`)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const name of [ENROLMENT_FILE, TRUST_FILE, 'journal'])
    if (existsSync(join(stateDir, name))) renameSync(join(stateDir, name), join(folder, name))
  rmSync(join(stateDir, KEY_FILE), { force: true })
  flushFolder(stateDir)
  const spoolFolder = join(stateDir, 'spool')
  if (existsSync(spoolFolder)) {
    const spool = openSpool({ clock, log, folder: spoolFolder }, spoolConfig)
    await spool.changeIdentity()
    await spool.close()
  }
  return ok({ agentId, folder })
}

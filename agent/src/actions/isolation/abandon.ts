/** The agent leaves this host: its isolation is over for good, and an agent that comes back later tells the controller so. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { BEFORE_FILE, BOOT_FILE, IsolationStore, STATE_FILE, type Ended } from './state.ts'

/**
 * Ends the isolation on disk, with no agent running; its rules are the caller's to take away. Returns whose isolation it was, undefined
 * when there was none. A state that cannot be understood is forgotten: a reinstalled agent must not isolate by an order from before.
 */
export function abandonIsolation(stateDir: string, why: string): string | undefined {
  const store = new IsolationStore(stateDir)
  try {
    const { record, ended } = store.read()
    if (!record) return undefined
    const over: Ended = { cmd_id: record.cmd_id, cause: 'overridden', why, evidence: {}, reported: false }
    store.write({ v: 1, phase: 'none', ended: [...ended, over].slice(-8) })
    return record.cmd_id
  } catch {
    rmSync(join(stateDir, STATE_FILE), { force: true })
    return undefined
  } finally {
    for (const name of [BOOT_FILE, BEFORE_FILE]) rmSync(join(stateDir, name), { force: true })
  }
}

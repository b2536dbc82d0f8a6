/** Backups as they are asked for: one at a time, each in the audit log, and none forgotten when it fails. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { AuditLog } from '../../audit/audit-log.ts'
import type { Backups, BackupView } from './index.ts'
import type { BackupLog } from './log-names.ts'
import { type BackupDeps, makeBackup } from './make-backup.ts'

/** What is remembered of finished ones. */
const MAX_REMEMBERED = 100

export function createBackups(
  deps: BackupDeps & { readonly audit: AuditLog; readonly log: BackupLog },
  dir: string,
): Backups & { stop(): Promise<void> } {
  const known = new Map<string, BackupView>()
  let running: Promise<void> | undefined

  return {
    async start(asked, actor) {
      const startedAt = new Date(deps.now()).toISOString()
      const name = asked ?? startedAt.slice(0, 19).replaceAll(':', '-')
      const path = join(dir, name)
      if (running) return refuse('backup_running', 'a backup is being made; one at a time')
      if (existsSync(path)) return refuse('backup_exists', `${path} exists already; give another name`)
      const view: BackupView = {
        name,
        path,
        state: 'running',
        started_at: startedAt,
        ended_at: null,
        why: null,
        events: null,
        audit_records: null,
        files: null,
        bytes: null,
      }
      known.set(name, view)
      const oldest = known.keys().next().value
      if (known.size > MAX_REMEMBERED && oldest !== undefined) known.delete(oldest)
      running = run(view, actor).finally(() => (running = undefined))
      return ok(view)
    },
    get: (name) => known.get(name),
    async stop() {
      await running
    },
  }

  async function run(view: BackupView, actor: string): Promise<void> {
    const record = (action: string, detail: Readonly<Record<string, unknown>>) =>
      deps.state.write((tx) =>
        deps.audit.append(tx, { actor, action, objectType: 'backup', objectId: view.name, detail }),
      )
    try {
      await record('backup.store.started', { path: view.path })
      const { made_at, telemetry, audit, files } = await makeBackup(deps, view.path)
      const done: BackupView = {
        ...view,
        state: 'done',
        ended_at: new Date(deps.now()).toISOString(),
        events: telemetry?.events ?? null,
        audit_records: audit.records,
        files: files.length,
        bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
      }
      await record('backup.store.made', {
        path: view.path,
        made_at,
        events: done.events,
        files: done.files,
        bytes: done.bytes,
      })
      known.set(view.name, done)
      deps.log.info('backup.store.made', { path: view.path, events: done.events, bytes: done.bytes })
    } catch (thrown) {
      known.set(view.name, {
        ...view,
        state: 'failed',
        ended_at: new Date(deps.now()).toISOString(),
        why: reasonOf(thrown),
      })
      deps.log.error('backup.store.failed', { path: view.path, why: reasonOf(thrown) })
    }
  }
}

import type { Result } from '@firebreak/shared/result.ts'

export interface BackupView {
  readonly name: string
  /** On the controller's machine. */
  readonly path: string
  readonly state: 'running' | 'done' | 'failed'
  readonly started_at: string
  readonly ended_at: string | null
  readonly why: string | null
  /** Of the finished one. */
  readonly events: number | null
  readonly audit_records: number | null
  readonly files: number | null
  readonly bytes: number | null
}

export interface Backups {
  /** Begins one; one at a time. */
  start(name: string | undefined, actor: string): Promise<Result<BackupView, 'backup_running' | 'backup_exists'>>
  /** Of this run of the controller. */
  get(name: string): BackupView | undefined
}

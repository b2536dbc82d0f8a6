/** Log names of this room. */
export interface BackupLog {
  info(name: 'backup.store.made', fields: Readonly<Record<string, unknown>>): void
  error(name: 'backup.store.failed', fields: Readonly<Record<string, unknown>>): void
}

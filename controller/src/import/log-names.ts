/** Log names of this room. */
export type ImportLogName = 'import.recording.completed'

export interface ImportLog {
  info(name: ImportLogName, fields: Readonly<Record<string, unknown>>): void
}

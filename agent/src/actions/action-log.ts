/** What actions need of a logger; pino's fits. */
export interface ActionLog {
  info(fields: object, name: string): void
  warn(fields: object, name: string): void
  error(fields: object, name: string): void
}

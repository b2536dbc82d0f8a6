import { type Level, pino } from 'pino'

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** A line has a stable name (`room.thing.happened`) and fields; no secret, token or file content goes in. */
export interface Log {
  debug(name: string, fields?: LogFields): void
  info(name: string, fields?: LogFields): void
  warn(name: string, fields?: LogFields): void
  error(name: string, fields?: LogFields): void
}

/** JSON lines on standard output, where journald takes them. */
export function createLog(level: Level): Log {
  const out = pino({
    level,
    base: null,
    messageKey: 'log',
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label) => ({ level: label }) },
  })
  return {
    debug: (name, fields) => out.debug(fields ?? {}, name),
    info: (name, fields) => out.info(fields ?? {}, name),
    warn: (name, fields) => out.warn(fields ?? {}, name),
    error: (name, fields) => out.error(fields ?? {}, name),
  }
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} }

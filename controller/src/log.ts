/** Log lines as rooms write them: a stable name and fields; pino writes them as JSON. */
import type { DestinationStream, Logger } from 'pino'
import { pino } from 'pino'

type Fields = Readonly<Record<string, unknown>>

/** Fits every room's own log interface: theirs say which names they use. */
export interface Log {
  debug(name: string, fields: Fields): void
  info(name: string, fields: Fields): void
  warn(name: string, fields: Fields): void
  error(name: string, fields: Fields): void
}

export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = { level, base: null, timestamp: () => `,"@timestamp":"${new Date().toISOString()}"` }
  return destination ? pino(options, destination) : pino(options)
}

export function roomLog(logger: Logger): Log {
  return {
    debug: (name, fields) => logger.debug(fields, name),
    info: (name, fields) => logger.info(fields, name),
    warn: (name, fields) => logger.warn(fields, name),
    error: (name, fields) => logger.error(fields, name),
  }
}

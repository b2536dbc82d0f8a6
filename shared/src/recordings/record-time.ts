/** When a record happened, by whichever of its times says it best. */
import type { RawRecord } from './record-values.ts'
import { isRecord } from './record-values.ts'

/** Best first: the source's own time in UTC, then that of the log, then that of who shipped it; last one without a zone. */
const TIME_FIELDS = [
  'UtcTime',
  'TimeCreated',
  'SystemTime',
  '@timestamp',
  'TimeGenerated',
  'eventTime',
  'timestamp',
  'ts',
  'EventTime',
  'time',
  'date',
] as const

/** ms since 1970, and what it was read from. */
export function timeOfRecord(record: RawRecord): { readonly atMs: number; readonly field: string } | undefined {
  for (const field of TIME_FIELDS) {
    if (!Object.hasOwn(record, field)) continue
    const value = record[field]
    // A record of a viewer writes it as an attribute.
    const atMs = parseTime(isRecord(value) ? (value['SystemTime'] ?? value['#text']) : value)
    if (atMs !== undefined) return { atMs, field }
  }
  return undefined
}

const EARLIEST_MS = Date.UTC(1970, 0, 1)
const LATEST_MS = Date.UTC(2262, 0, 1)
const TEXT = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?$/

/** ISO 8601 with or without its T and its zone (then UTC), or seconds or milliseconds since 1970. */
export function parseTime(value: unknown): number | undefined {
  if (typeof value === 'number') return within(value > 1e11 ? value : value * 1_000)
  if (typeof value !== 'string' || value.length > 64) return undefined
  if (/^\d{9,10}(\.\d+)?$/.test(value)) return within(Number(value) * 1_000)
  if (/^\d{12,13}$/.test(value)) return within(Number(value))
  const [, y, mo, d, h, m, s, fraction = '', zone = 'Z'] = TEXT.exec(value.trim()) ?? []
  if (y === undefined) return undefined
  const at = Date.UTC(Number(y), Number(mo) - 1, Number(d), Number(h), Number(m), Number(s))
  // A day that does not exist would be read as one that does.
  if (new Date(at).getUTCDate() !== Number(d) || Number(h) > 23 || Number(m) > 59) return undefined
  return within(at + Number(fraction.padEnd(3, '0').slice(0, 3)) - zoneMs(zone))
}

function zoneMs(zone: string): number {
  if (zone === 'Z') return 0
  const [hours, minutes] = [Number(zone.slice(1, 3)), Number(zone.slice(-2))]
  return (zone.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000
}

function within(atMs: number): number | undefined {
  return Number.isFinite(atMs) && atMs >= EARLIEST_MS && atMs < LATEST_MS ? Math.trunc(atMs) : undefined
}

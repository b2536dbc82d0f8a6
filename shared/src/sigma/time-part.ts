/** The number that a time modifier takes out of a date. The date is read as it is written: no time zone is applied. */
import type { TimePart } from './rule.ts'

const WRITTEN = /^\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2}))?/
const DAY_MS = 86_400_000

/** `null`: not a date. Numbers are Unix time, in seconds or milliseconds, read as UTC. */
export function timePartOf(value: unknown, part: TimePart): number | null {
  const parts = partsOf(value)
  if (parts === null) return null
  switch (part) {
    case 'minute':
      return parts.minute
    case 'hour':
      return parts.hour
    case 'day':
      return parts.day
    case 'week':
      return isoWeek(parts.year, parts.month, parts.day)
    case 'month':
      return parts.month
    case 'year':
      return parts.year
    default:
      throw new Error('unhandled part', { cause: part satisfies never })
  }
}

interface Parts {
  readonly year: number
  readonly month: number
  readonly day: number
  readonly hour: number | null
  readonly minute: number | null
}

function partsOf(value: unknown): Parts | null {
  if (typeof value === 'number') return fromUnix(value)
  if (typeof value !== 'string') return null
  const written = WRITTEN.exec(value)
  if (written !== null) {
    const [, year, month, day, hour, minute] = written
    return {
      year: Number(year),
      month: Number(month),
      day: Number(day),
      hour: hour === undefined ? null : Number(hour),
      minute: minute === undefined ? null : Number(minute),
    }
  }
  return /^\d{9,13}(\.\d+)?$/.test(value) ? fromUnix(Number(value)) : null
}

/** Above this a number of seconds would lie in the year 5138: it counts milliseconds. */
const SECONDS_END = 1e11

function fromUnix(value: number): Parts | null {
  const date = new Date(value < SECONDS_END ? value * 1_000 : value)
  if (Number.isNaN(date.getTime())) return null
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
  }
}

/** ISO 8601: the week that holds the year's first Thursday is week 1. */
function isoWeek(year: number, month: number, day: number): number {
  const date = new Date(Date.UTC(year, month - 1, day))
  const weekday = (date.getUTCDay() + 6) % 7
  const thursday = new Date(date.getTime() + (3 - weekday) * DAY_MS)
  const first = Date.UTC(thursday.getUTCFullYear(), 0, 1)
  return 1 + Math.floor((thursday.getTime() - first) / (7 * DAY_MS))
}

/**
 * Which days of arrival a search looks at first. Whoever asks for the newest hundred events of a common value should not pay for all
 * months of it: what comes in is mostly as new as it says, so the newest days are asked alone, and the others only whether they hold
 * something that is newer still. More days are taken as long as too little is found.
 */
import { DATABASE } from './event-table.ts'
import type { EventSearch, Statement } from './telemetry-store.ts'

/** A day of arrival, as the table is partitioned: 20260301. */
export interface DayOfEvents {
  readonly day: number
  readonly events: number
}

/** Days from and to, inclusive. */
export interface DayWindow {
  readonly from: number
  readonly to: number
  readonly events: number
}

/** Events that are looked at before it is known how common a value is; about 50 ms of work. */
export const LOOK_FIRST_AT = 700_000
/** Searches of growing windows before all is searched. */
export const MAX_WINDOWS = 3
const FIRST_DAY = 0
const LAST_DAY = 99_999_999
const DAY_MS = 86_400_000

/** From the engine's own list of parts. */
export const DAYS_OF_EVENTS: Statement = {
  sql: `select toFloat64(toUInt32OrZero(substring(partition, 2, 8))) as day, toFloat64(sum(rows)) as events from system.parts
    where active and database = {database:String} and table = 'events' group by day order by day`,
  params: { database: DATABASE },
}

/** The days that the search begins with, of at least so many events; `undefined` when that is nearly all of them. */
export function windowOf(
  days: readonly DayOfEvents[],
  { order, after, nearMs }: Pick<EventSearch, 'order' | 'after' | 'nearMs'>,
  atLeast: number,
): DayWindow | undefined {
  const near = after?.timeMs ?? nearMs
  const newest = order === 'newest'
  // What happened shortly before midnight may have come after it.
  const start = near === undefined ? (newest ? LAST_DAY : FIRST_DAY) : dayOf(newest ? near + DAY_MS : near)
  const ahead = newest ? days.filter(({ day }) => day <= start).toReversed() : days.filter(({ day }) => day >= start)
  let events = 0
  for (const [at, one] of ahead.entries()) {
    events += one.events
    if (events < atLeast) continue
    if (at >= ahead.length - 1 && ahead.length === days.length) return undefined
    return newest ? { from: one.day, to: start, events } : { from: start, to: one.day, events }
  }
  return undefined
}

export function within({ from, to }: DayWindow): Statement {
  return {
    sql: 'toYYYYMMDD(ingested) >= {day_from:UInt32} and toYYYYMMDD(ingested) <= {day_to:UInt32}',
    params: { day_from: from, day_to: to },
  }
}

/** Whether other days hold what comes before `timeMs`, or at the same time. */
export function outside({ from, to }: DayWindow, order: EventSearch['order'], timeMs: number): Statement {
  const until = upTo(order, timeMs)
  return {
    sql: `(toYYYYMMDD(ingested) < {day_from:UInt32} or toYYYYMMDD(ingested) > {day_to:UInt32}) and ${until.sql}`,
    params: { day_from: from, day_to: to, ...until.params },
  }
}

export function upTo(order: EventSearch['order'], timeMs: number): Statement {
  return {
    sql: `time ${order === 'newest' ? '>=' : '<='} fromUnixTimestamp64Milli({edge_ms:Int64}, 'UTC')`,
    params: { edge_ms: timeMs },
  }
}

function dayOf(ms: number): number {
  // Times beyond what a date can be stand for the first and the last day.
  if (!(Math.abs(ms) < 8.64e15)) return ms > 0 ? LAST_DAY : FIRST_DAY
  const date = new Date(ms)
  const year = date.getUTCFullYear()
  if (year < 1 || year > 9_999) return year < 1 ? FIRST_DAY : LAST_DAY
  return year * 10_000 + (date.getUTCMonth() + 1) * 100 + date.getUTCDate()
}

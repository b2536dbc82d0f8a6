/**
 * Times as people write them, to the millisecond that the store keeps. Without a zone a time is UTC, wherever its reader sits; what
 * names a whole day, hour ... means all of it. Date math is Elasticsearch's (`now-7d/d`). Source: ISO 8601; Elasticsearch reference,
 * "Date math".
 */
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'

/** Milliseconds since 1970; `toMs` exclusive. An instant is one millisecond long. */
export interface Moment {
  readonly fromMs: number
  readonly toMs: number
}

/** What the engine's type for times can hold: 1900 to 2299. */
const EARLIEST = Date.UTC(1900, 0, 1)
const LATEST = Date.UTC(2300, 0, 1)

const CALENDAR =
  /^(?<year>\d{4})(?:-(?<month>\d\d)(?:-(?<day>\d\d)(?:[T ](?<hour>\d\d)(?::(?<minute>\d\d)(?::(?<second>\d\d)(?:[.,](?<fraction>\d{1,9}))?)?)?(?<zone>Z|[+-]\d\d(?::?\d\d)?)?)?)?)?$/i
const EPOCH_MS = /^\d{10,13}$/
const MATH_STEP = /(?<sign>[+-])(?<amount>\d{1,6})(?<unit>[smhHdwMy])|\/(?<round>[smhHdwMy])/gy
const AGO = /^(?<amount>\d{1,6})(?<unit>[smhdwMy])$/

type Unit = 's' | 'm' | 'h' | 'd' | 'w' | 'M' | 'y'
const FIXED_MS: Readonly<Partial<Record<Unit, number>>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** A time in a query: a date, a time, or `now` with date math. */
export function parseMoment(text: string, nowMs: number): Result<Moment, 'bad_time'> {
  const moment = text.startsWith('now') ? mathOf(instant(nowMs), text.slice(3)) : anchored(text)
  if (!moment) return refuse('bad_time', `${JSON.stringify(text)} is not a time; ${TIME_FORMS}`)
  if (moment.fromMs < EARLIEST || moment.toMs > LATEST)
    return refuse('bad_time', `${JSON.stringify(text)} is not a time between the years 1900 and 2299`)
  return ok(moment)
}
const TIME_FORMS =
  'a time looks like 2026-11-24, 2026-11-24T12:00:00Z, 2026-11-24T12:00+01:00 or now-7d (without a zone it is UTC)'

/** A time beside a query (`since`, `until`): also `7d`, which is that long ago. */
export function parseBound(text: string, nowMs: number): Result<Moment, 'bad_time'> {
  const { amount, unit } = AGO.exec(text)?.groups ?? {}
  if (amount === undefined) return parseMoment(text, nowMs)
  return parseMoment(`now-${amount}${unit ?? ''}`, nowMs)
}

function instant(ms: number): Moment {
  return { fromMs: ms, toMs: ms + 1 }
}

/** `2026-11-24||-1d/d` reckons from a date. */
function anchored(text: string): Moment | undefined {
  const [anchor = '', math, ...more] = text.split('||')
  if (more.length > 0) return undefined
  const moment = EPOCH_MS.test(anchor) ? instant(Number(anchor)) : calendarOf(anchor)
  return moment && math !== undefined ? mathOf(instant(moment.fromMs), math) : moment
}

function calendarOf(text: string): Moment | undefined {
  const { year, month, day, hour, minute, second, fraction, zone } = CALENDAR.exec(text)?.groups ?? {}
  if (year === undefined) return undefined
  const parts = [month ?? '01', day ?? '01', hour ?? '00', minute ?? '00', second ?? '00'].map(Number)
  const [mon = 1, dom = 1, hours = 0, minutes = 0, seconds = 0] = parts
  const local = new Date(Date.UTC(Number(year), mon - 1, dom, hours, minutes, seconds))
  // Date.UTC turns February 30 into March 2: a day that does not exist must not become another.
  const exists =
    local.getUTCMonth() === mon - 1 && local.getUTCDate() === dom && hours < 24 && minutes < 60 && seconds < 60
  const offset = offsetOf(zone)
  if (!exists || offset === undefined) return undefined
  const ms = local.getTime() - offset + Number((fraction ?? '').padEnd(3, '0').slice(0, 3))
  if (fraction !== undefined) return instant(ms)
  const unit: Unit =
    second !== undefined
      ? 's'
      : minute !== undefined
        ? 'm'
        : hour !== undefined
          ? 'h'
          : day !== undefined
            ? 'd'
            : month !== undefined
              ? 'M'
              : 'y'
  return { fromMs: ms, toMs: stepped(ms, 1, unit) }
}

function offsetOf(zone: string | undefined): number | undefined {
  if (zone === undefined || zone.toUpperCase() === 'Z') return 0
  const [, sign = '+', hours = '0', minutes = '0'] = /^([+-])(\d\d):?(\d\d)?$/.exec(zone) ?? []
  if (Number(hours) > 14 || Number(minutes) > 59) return undefined
  return (sign === '-' ? -1 : 1) * (Number(hours) * 3_600_000 + Number(minutes) * 60_000)
}

function mathOf(start: Moment, math: string): Moment | undefined {
  let moment = start
  let at = 0
  for (const { 0: step, groups } of math.matchAll(MATH_STEP)) {
    at += step.length
    const round = unitOf(groups?.['round'])
    const unit = unitOf(groups?.['unit'])
    if (round !== undefined) {
      const fromMs = floored(moment.fromMs, round)
      moment = { fromMs, toMs: stepped(fromMs, 1, round) }
    } else if (unit !== undefined) {
      const amount = Number(groups?.['amount']) * (groups?.['sign'] === '-' ? -1 : 1)
      moment = instant(stepped(moment.fromMs, amount, unit))
    }
    if (!Number.isFinite(moment.fromMs)) return undefined
  }
  return at === math.length ? moment : undefined
}

function unitOf(text: string | undefined): Unit | undefined {
  return text === 'H' ? 'h' : (text as Unit | undefined)
}

function stepped(ms: number, amount: number, unit: Unit): number {
  const fixed = FIXED_MS[unit]
  if (fixed !== undefined) return ms + amount * fixed
  const date = new Date(ms)
  const months = amount * (unit === 'y' ? 12 : 1)
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months + 1, 0)).getUTCDate()
  return new Date(ms).setUTCMonth(date.getUTCMonth() + months, Math.min(date.getUTCDate(), lastDay))
}

/** Weeks begin on Monday (ISO 8601). */
function floored(ms: number, unit: Unit): number {
  const date = new Date(ms)
  switch (unit) {
    case 'y':
      return Date.UTC(date.getUTCFullYear(), 0, 1)
    case 'M':
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)
    case 'w': {
      const day = floored(ms, 'd')
      return day - ((new Date(day).getUTCDay() + 6) % 7) * 86_400_000
    }
    case 'd':
    case 'h':
    case 'm':
    case 's': {
      const length = FIXED_MS[unit] ?? 1
      return Math.floor(ms / length) * length
    }
    default:
      throw new Error(`unhandled unit ${String(unit satisfies never)}`)
  }
}

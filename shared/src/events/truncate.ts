import { createHash } from 'node:crypto'
import { type Event, FIELD_LIMITS } from './event.ts'

const TEXT_FIELDS = new Set(['command_line', 'args', 'message', 'reason', 'strings'])
/** Below these every field may be a text: what they are called is up to others. */
const TEXT_OBJECTS = ['winlog.event_data.', 'winlog.user_data.', 'auditd.data.', 'firebreak.record.']

/**
 * Cuts every text of an event to its limit and says so in `firebreak.truncated` (field, whole length in bytes, SHA-256 of the whole),
 * and drops list members past the limit. The event is returned unchanged when nothing was too long.
 */
export function truncateEvent(event: Event, limits: EventLimits = FIELD_LIMITS): Event {
  if (isWithin(event, limits)) return event
  const cuts: Cut[] = []
  const shortened = cutValue(event, '', limits, cuts) as Event
  if (cuts.length === 0) return event
  const earlier = event.firebreak?.truncated ?? []
  return { ...shortened, firebreak: { ...shortened.firebreak, truncated: [...earlier, ...cuts].slice(0, 64) } }
}

export type EventLimits = { readonly [Name in 'keyword' | 'text' | 'list']: number }
type Cut = { field: string; bytes: number; sha256: string }

/**
 * Whether no text of the event, or of a part of one, is longer than the shortest limit, no list longer than its own, and all texts together at most `units`:
 * then nothing is to be cut. Most events are so, and this costs a tenth of looking at each field by its name.
 */
export function isWithin(part: object, limits: EventLimits = FIELD_LIMITS, units = Number.POSITIVE_INFINITY): boolean {
  return unitsLeft(part, limits, units) >= 0
}

/** What is left of `units`; below zero when they were not enough or something is too long. */
function unitsLeft(value: unknown, limits: EventLimits, units: number): number {
  if (typeof value === 'string') return value.length > limits.keyword ? -1 : units - value.length
  if (typeof value !== 'object' || value === null) return units
  let left = units
  if (Array.isArray(value)) {
    if (value.length > limits.list) return -1
    for (let at = 0; at < value.length && left >= 0; at++) left = unitsLeft(value[at], limits, left)
    return left
  }
  const members = value as Readonly<Record<string, unknown>>
  for (const name in members) {
    left = unitsLeft(members[name], limits, left)
    if (left < 0) return -1
  }
  return left
}

function cutValue(value: unknown, path: string, limits: EventLimits, cuts: Cut[]): unknown {
  if (typeof value === 'string') {
    const limit = isText(path) ? limits.text : limits.keyword
    if (value.length <= limit) return value
    const whole = Buffer.from(value, 'utf8')
    cuts.push({ field: path, bytes: whole.length, sha256: createHash('sha256').update(whole).digest('hex') })
    return cutAtCharacter(value, limit)
  }
  if (Array.isArray(value)) {
    let changed = value.length > limits.list
    const kept = value.slice(0, limits.list).map((member) => {
      const cut = cutValue(member, path, limits, cuts)
      if (cut !== member) changed = true
      return cut
    })
    if (value.length > limits.list) cuts.push(wholeList(path, value))
    return changed ? kept : value
  }
  if (typeof value === 'object' && value !== null) {
    let copy: Record<string, unknown> | undefined
    for (const [name, member] of Object.entries(value)) {
      const cut = cutValue(member, path === '' ? name : `${path}.${name}`, limits, cuts)
      if (cut !== member) {
        copy ??= { ...value }
        copy[name] = cut
      }
    }
    return copy ?? value
  }
  return value
}

function wholeList(field: string, list: readonly unknown[]): { field: string; bytes: number; sha256: string } {
  const whole = Buffer.from(list.map(String).join('\0'), 'utf8')
  return { field, bytes: whole.length, sha256: createHash('sha256').update(whole).digest('hex') }
}

function cutAtCharacter(value: string, limit: number): string {
  const last = value.charCodeAt(limit - 1)
  return value.slice(0, last >= 0xd800 && last <= 0xdbff ? limit - 1 : limit)
}

function isText(path: string): boolean {
  return TEXT_FIELDS.has(lastName(path)) || TEXT_OBJECTS.some((object) => path.startsWith(object))
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1)
}

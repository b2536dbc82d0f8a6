/** First and last time, how often and on which hosts a value was seen. */
import { ok, type Result, refuse } from '@firebreak/shared/result.ts'
import { Conditions } from '../store/telemetry/conditions.ts'
import type { EventColumnName } from '../store/telemetry/event-columns.ts'
import { EVENTS, SEEN_KINDS, type SeenKind } from '../store/telemetry/event-table.ts'
import type { QueryLimits, QueryRefusal, TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { spellingsOf } from './addresses.ts'
import { kindOf, withoutDot } from './values.ts'

/** Hosts that are named; all of them are counted. */
export const MAX_HOSTS = 100

export interface HostSighting {
  readonly agentId: string
  /** ISO 8601, by the clock of the host. */
  readonly first: string
  readonly last: string
  readonly events: number
}

export interface Sighting {
  readonly kind: SeenKind
  readonly value: string
  /** Over everything that ever came, also what has expired; absent when it was never seen. */
  readonly ever?: { readonly first: string; readonly last: string; readonly events: number; readonly hosts: number }
  /** Of the events that are still kept: the hosts that saw it last come first. */
  readonly hosts: readonly HostSighting[]
  readonly fields: readonly { readonly field: string; readonly events: number }[]
}

interface HostRow {
  readonly agent_id: string
  readonly first: number
  readonly last: number
  readonly events: number
}

const HASH_OF_LENGTH: Readonly<Record<number, string>> = { 32: '.md5', 40: '.sha1', 64: '.sha256' }

/** A hash can only be in the fields of its kind; the others need not be read. */
function fieldsOf(kind: SeenKind, wanted: string): readonly EventColumnName[] {
  const ending = kind === 'hash' ? (HASH_OF_LENGTH[wanted.length] ?? '') : ''
  return SEEN_KINDS[kind].filter((field) => field.endsWith(ending))
}

export async function lookUp(
  telemetry: Pick<TelemetryStore, 'select' | 'seen'>,
  value: string,
  limits: QueryLimits,
  signal: AbortSignal | undefined,
): Promise<Result<Sighting, QueryRefusal | 'unknown_kind'>> {
  const kind = kindOf(value)
  if (kind === undefined)
    return refuse(
      'unknown_kind',
      `${JSON.stringify(value)} is not a hash (SHA-256, SHA-1, MD5), an address, a domain or the path of a program; search for other text with a query`,
    )
  const wanted =
    kind === 'executable'
      ? value
      : (spellingsOf(value)?.[0] ?? (kind === 'domain' ? withoutDot(value) : value).toLowerCase())
  const conditions = new Conditions()
  const isLookup = kind !== 'executable'
  const fields = fieldsOf(kind, wanted).map((field) => ({
    field,
    condition: isLookup ? conditions.isWhole(field, wanted) : conditions.equals(field, wanted),
  }))
  const any = fields.map(({ condition }) => condition).join(' or ')
  const where = isLookup ? `${conditions.lookup(wanted)} and (${any})` : any
  const hosts = await telemetry.select<HostRow & Record<string, unknown>>(
    conditions.statement(`select agent_id, toFloat64(toUnixTimestamp64Milli(min(time))) as first,
        toFloat64(toUnixTimestamp64Milli(max(time))) as last, toFloat64(count()) as events,
        ${fields.map(({ condition }, at) => `toFloat64(countIf(${condition})) as f${at}`).join(', ')}
      from ${EVENTS} where ${where} group by agent_id order by last desc, agent_id`),
    { ...limits, rows: 1_000_000 },
    signal,
  )
  if (!hosts.ok) return hosts
  const ever = await telemetry.seen(kind, wanted)
  const counts = fields.map(({ field }, at) => ({
    field,
    events: hosts.value.reduce((sum, row) => sum + Number(row[`f${at}`]), 0),
  }))
  return ok({
    kind,
    value: wanted,
    ...(ever && { ever: { first: ever.first, last: ever.last, events: ever.events, hosts: ever.hosts } }),
    hosts: hosts.value.slice(0, MAX_HOSTS).map((row) => ({
      agentId: row.agent_id,
      first: new Date(row.first).toISOString(),
      last: new Date(row.last).toISOString(),
      events: row.events,
    })),
    fields: counts.filter(({ events }) => events > 0),
  })
}

/**
 * Events in chDB: ClickHouse's own engine in this process, one data directory. A block is inserted under a token; the same token again
 * stores nothing (ClickHouse: `insert_deduplication_token` with `non_replicated_deduplication_window`), also after a restart, because
 * the engine keeps the tokens of each partition on disk. What is searched for is always a bound parameter; names of columns come
 * from a fixed list.
 */
import { mkdirSync } from 'node:fs'
import type * as Chdb from 'chdb'
import type { Event } from '@firebreak/shared/events/event.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { columnOf, columnTypeOf, isEventColumn, TEXT_COLUMNS, tupleType } from './event-columns.ts'
import type { EventLine, EventQuery, TelemetryStore } from './telemetry-store.ts'

const TABLE = 'firebreak.events'
const COLUMNS = ['agent_id', 'epoch', 'class', 'seq', 'ingested', 'raw'] as const
/** Blocks whose tokens are remembered, per partition: many more than can be on the way when a controller dies. */
const TOKEN_WINDOW = 10_000
const QUERY_LIMITS = 'max_execution_time = 30, max_memory_usage = 1000000000, max_threads = 2'
const MAX_RESULTS = 10_000

/** Faults: `telemetry_unsupported` (the engine does not load on this system), `telemetry_unreadable` (another process has it, or it is damaged). */
export async function openTelemetryStore(dir: string): Promise<TelemetryStore> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const engine = await loadEngine()
  let session: Chdb.Session
  try {
    session = new engine.Session(dir)
  } catch (cause) {
    // chDB writes why to standard error and does not say it in the error.
    throw new Fault(
      'telemetry_unreadable',
      `the telemetry store ${dir} cannot be opened: another process has it open, or it is damaged (${reasonOf(cause)})`,
      { cause },
    )
  }
  try {
    await session.queryAsync('create database if not exists firebreak')
    await session.queryAsync(tableDefinition())
  } catch (cause) {
    session.close()
    throw new Fault('telemetry_unreadable', `the telemetry store ${dir} cannot be prepared: ${reasonOf(cause)}`, {
      cause,
    })
  }
  return new ChdbStore(session)
}

async function loadEngine(): Promise<typeof Chdb> {
  try {
    return await import('chdb')
  } catch (cause) {
    throw new Fault(
      'telemetry_unsupported',
      `chDB does not load on ${process.platform}-${process.arch}: ${reasonOf(cause)}; it needs Linux or macOS with glibc`,
      { cause },
    )
  }
}

/**
 * The partition is the day of arrival, by the controller's clock: a host that claims to live in 1970 and 2262 cannot make a thousand
 * partitions. `fsync_*`: an insert has returned means that it is on the disk.
 */
function tableDefinition(): string {
  const tuple = tupleType()
  return `create table if not exists ${TABLE} (
    agent_id String codec(ZSTD(1)),
    epoch UUID codec(ZSTD(1)),
    class LowCardinality(String),
    seq UInt64 codec(Delta, ZSTD(1)),
    ingested DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    raw String codec(ZSTD(1)),
    ecs ${tuple} materialized JSONExtract(raw, '${tuple}') codec(ZSTD(1)),
    time DateTime64(3, 'UTC') materialized parseDateTime64BestEffortOrZero(ecs.\`@timestamp\`, 3, 'UTC') codec(Delta, ZSTD(1)),
    index by_time time type minmax granularity 4
  ) engine = MergeTree
  partition by toYYYYMMDD(ingested)
  order by (agent_id, time)
  settings non_replicated_deduplication_window = ${TOKEN_WINDOW}, fsync_after_insert = 1, fsync_part_directory = 1`
}

interface Row {
  readonly agent_id: string
  readonly epoch: string
  readonly class: string
  readonly seq: number
  readonly ingested_ms: number
  readonly raw: string
}

class ChdbStore implements TelemetryStore {
  readonly #session: Chdb.Session
  #healthy = true
  #closed = false

  constructor(session: Chdb.Session) {
    this.#session = session
  }

  async insert(token: string, events: readonly EventLine[]): Promise<void> {
    if (events.length === 0) return
    try {
      await this.#session.insert({
        table: TABLE,
        columns: COLUMNS,
        values: blockOf(events),
        format: 'JSONCompactEachRow',
        settings: {
          insert_deduplicate: 1,
          insert_deduplication_token: token,
          // The event stays the text that it is; nothing is parsed in between.
          input_format_json_read_objects_as_strings: 1,
          async_insert: 0,
          max_partitions_per_insert_block: 100,
        },
      })
      this.#healthy = true
    } catch (cause) {
      this.#healthy = false
      throw new Fault('telemetry_unwritable', `the telemetry store did not take a block: ${reasonOf(cause)}`, { cause })
    }
  }

  async search(query: EventQuery): Promise<readonly Event[]> {
    const { where, params } = conditionsOf(query)
    const limit = Math.max(1, Math.min(MAX_RESULTS, Math.floor(query.limit)))
    const rows = await this.#rows<Row>(
      `select agent_id, toString(epoch) as epoch, class, toFloat64(seq) as seq,
        toFloat64(toUnixTimestamp64Milli(ingested)) as ingested_ms, raw
      from ${TABLE} where ${where} order by time desc, agent_id, seq desc limit ${limit}`,
      params,
    )
    return rows.map(eventOf)
  }

  async count(agentId?: string): Promise<number> {
    const rows = await this.#rows<{ events: number }>(
      `select toFloat64(count()) as events from ${TABLE} ${agentId === undefined ? '' : 'where agent_id = {agent:String}'}`,
      agentId === undefined ? {} : { agent: agentId },
    )
    return rows[0]?.events ?? 0
  }

  async prevalence(field: string, value: string, before: string): Promise<{ events: number; hosts: number }> {
    if (!isEventColumn(field)) throw new Fault('unknown_field', `${field} is not a field that can be searched by`)
    const rows = await this.#rows<{ events: number; hosts: number }>(
      `select toFloat64(count()) as events, toFloat64(uniqExact(agent_id)) as hosts from ${TABLE}
      where ${equals(field, 'value')} and time < parseDateTime64BestEffort({before:String}, 3, 'UTC')`,
      { value, before },
    )
    return { events: rows[0]?.events ?? 0, hosts: rows[0]?.hosts ?? 0 }
  }

  healthy(): boolean {
    return this.#healthy && !this.#closed
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#session.close()
    const { drainPending } = await loadEngine()
    await drainPending()
  }

  async #rows<T>(sql: string, params: Readonly<Record<string, string>>): Promise<readonly T[]> {
    try {
      const answer = await this.#session.queryBindAsync(`${sql} settings ${QUERY_LIMITS}`, params, {
        format: 'JSONEachRow',
      })
      return answer
        .text()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as T)
    } catch (cause) {
      throw new Fault('telemetry_unreadable', `the telemetry store did not answer: ${reasonOf(cause)}`, { cause })
    }
  }
}

/**
 * Rows of JSONCompactEachRow, written into one buffer: joining three small ones an event costs more than all the rest.
 * Ids, numbers and times are ASCII.
 */
function blockOf(events: readonly EventLine[]): Uint8Array {
  const leads: string[] = []
  let bytes = 0
  let of: EventLine | undefined
  let owner = ''
  for (const event of events) {
    if (of?.agentId !== event.agentId || of.epoch !== event.epoch || of.class !== event.class) {
      owner = JSON.stringify([event.agentId, event.epoch, event.class]).slice(0, -1)
      of = event
    }
    const lead = `${owner},${event.seq},"${event.ingestedAt.slice(0, 10)} ${event.ingestedAt.slice(11, 23)}",`
    leads.push(lead)
    bytes += lead.length + event.json.length + 2
  }
  const block = Buffer.allocUnsafe(bytes)
  let at = 0
  for (const [i, { json }] of events.entries()) {
    at += block.write(leads[i] ?? '', at, 'latin1')
    block.set(json, at)
    at += json.length
    block[at++] = 0x5d
    block[at++] = 0x0a
  }
  return block
}

function eventOf(row: Row): Event {
  const event = JSON.parse(row.raw) as Event
  return {
    ...event,
    event: {
      ...event.event,
      id: `${row.agent_id}:${row.epoch}:${row.class}:${row.seq}`,
      ingested: new Date(row.ingested_ms).toISOString(),
    },
    // Who it was is what the connection said, whatever the text says.
    host: { ...event.host, id: row.agent_id },
  }
}

function conditionsOf(query: EventQuery): { readonly where: string; readonly params: Record<string, string> } {
  const conditions: string[] = []
  const params: Record<string, string> = {}
  const param = (value: string) => {
    const name = `p${Object.keys(params).length}`
    params[name] = value
    return name
  }
  if (query.agentId !== undefined) conditions.push(`agent_id = {${param(query.agentId)}:String}`)
  if (query.class !== undefined) conditions.push(`class = {${param(query.class)}:String}`)
  if (query.since !== undefined)
    conditions.push(`time >= parseDateTime64BestEffort({${param(query.since)}:String}, 3, 'UTC')`)
  if (query.until !== undefined)
    conditions.push(`time <= parseDateTime64BestEffort({${param(query.until)}:String}, 3, 'UTC')`)
  for (const [field, value] of Object.entries(query.fields ?? {})) {
    if (field === 'host.id') conditions.push(`agent_id = {${param(value)}:String}`)
    else if (!isEventColumn(field)) throw new Fault('unknown_field', `${field} is not a field that can be searched by`)
    else if (value.includes('*')) conditions.push(like(field, param(patternOf(value))))
    else conditions.push(equals(field, param(value)))
  }
  if (query.text !== undefined) {
    const name = param(query.text)
    const places = TEXT_COLUMNS.map((field) => `positionCaseInsensitiveUTF8(${columnOf(field)}, {${name}:String}) > 0`)
    conditions.push(`(${places.join(' or ')})`)
  }
  return { where: conditions.length === 0 ? '1' : conditions.join(' and '), params }
}

function equals(field: Parameters<typeof columnOf>[0], name: string): string {
  const column = columnOf(field)
  switch (columnTypeOf(field)) {
    case 'String':
      return `lowerUTF8(${column}) = lowerUTF8({${name}:String})`
    case 'UInt32':
      return `toString(${column}) = {${name}:String}`
    case 'Array(String)':
      return `has(${column}, {${name}:String})`
    default:
      throw new Fault('unknown_field', `${field satisfies string} has a type that cannot be searched by`)
  }
}

function like(field: Parameters<typeof columnOf>[0], name: string): string {
  const column = columnOf(field)
  return columnTypeOf(field) === 'Array(String)'
    ? `arrayExists(item -> item ilike {${name}:String}, ${column})`
    : `toString(${column}) ilike {${name}:String}`
}

/** `*` stands for any text; what ClickHouse would take for a wildcard stands for itself. */
function patternOf(value: string): string {
  return value.replaceAll(/[\\%_]/g, (special) => `\\${special}`).replaceAll('*', '%')
}

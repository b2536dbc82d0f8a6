/** The store of events over anything that speaks ClickHouse's SQL. The definitions and the statements are the same for all. */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Event } from '@firebreak/shared/events/event.ts'
import { Fault, ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { Conditions } from './conditions.ts'
import { type Engine, EngineFault } from './engine.ts'
import { eventLines, eventOf, type EventRow, ROW_COLUMNS } from './event-rows.ts'
import { DATABASE, definitions, EVENTS, PARTS_TO_DELAY, SEEN, type SeenKind } from './event-table.ts'
import { columnOf, EVENT_COLUMNS, type EventColumnName, isEventColumn } from './event-columns.ts'
import {
  DAYS_OF_EVENTS,
  type DayOfEvents,
  LOOK_FIRST_AT,
  MAX_WINDOWS,
  outside,
  upTo,
  windowOf,
  within,
} from './day-windows.ts'
import { dropStatement, expired } from './retention.ts'
import { readStats } from './stats.ts'
import { FROZEN_TABLES } from './telemetry-store.ts'
import type {
  EventLine,
  EventQuery,
  EventSearch,
  Expired,
  ExportFormat,
  FoundEvent,
  Frozen,
  FrozenTable,
  QueryLimits,
  QueryRefusal,
  RetentionPolicy,
  Seen,
  Statement,
  TelemetryHealth,
  TelemetryStats,
  TelemetryStore,
} from './telemetry-store.ts'

const DEFAULT_LIMITS = { timeoutMs: 30_000, rows: 10_000, bytes: 64 * MiB } as const
const MAX_TIMEOUT_MS = 300_000
const MAX_MEMORY_BYTES = 1_000_000_000
const READ_THREADS = 2
/** An export may take long, and what it gives is never held; but it must not starve the others of memory. */
const EXPORT_SETTINGS = { max_execution_time: 0, max_memory_usage: 2 * MAX_MEMORY_BYTES, max_threads: 1 } as const
const PARQUET_COLUMNS = [
  'time as `@timestamp`',
  'ingested as `event.ingested`',
  "concat(agent_id, ':', toString(epoch), ':', class, ':', toString(seq)) as `event.id`",
  'agent_id as `host.id`',
  ...(Object.keys(EVENT_COLUMNS) as EventColumnName[]).map((field) => `${columnOf(field)} as \`${field}\``),
  'raw as `event.original`',
].join(', ')

/** What a store whose files are on this machine has more than one on a server. */
interface Local {
  readonly dir: string
  /** Told what the store holds when that was looked at, before days go, and at the end. */
  remember(days: TelemetryStats['days']): void
}

/**
 * Makes the tables where they are not there yet. `lookFirstAt`: events that a search looks at before it looks at more. Fault
 * `telemetry_unreadable`.
 */
export async function openStore(
  engine: Engine,
  local?: Local,
  lookFirstAt: number = LOOK_FIRST_AT,
): Promise<TelemetryStore> {
  try {
    for (const statement of definitions()) await engine.command(statement)
  } catch (cause) {
    await engine.close()
    throw new Fault(
      'telemetry_unreadable',
      `the telemetry store (${engine.name}) cannot be prepared: ${reasonOf(cause)}`,
      { cause },
    )
  }
  return new ClickhouseStore(engine, local, lookFirstAt)
}

class ClickhouseStore implements TelemetryStore {
  readonly #engine: Engine
  readonly #local: Local | undefined
  readonly #lookFirstAt: number
  #healthy = true
  #damage: string | undefined
  #closed = false
  #lastToken: string | undefined
  /** Inserts and holds, one after the other. */
  #queue: Promise<unknown> = Promise.resolve()

  constructor(engine: Engine, local: Local | undefined, lookFirstAt: number) {
    this.#engine = engine
    this.#local = local
    this.#lookFirstAt = lookFirstAt
  }

  async insert(token: string, events: readonly EventLine[]): Promise<void> {
    if (events.length === 0) return
    await this.#alone(async () => await this.#insert(token, events))
  }

  async #insert(token: string, events: readonly EventLine[]): Promise<void> {
    try {
      await this.#engine.insert({ table: EVENTS, events, token })
      this.#healthy = true
      this.#lastToken = token
    } catch (cause) {
      this.#healthy = false
      throw new Fault('telemetry_unwritable', `the telemetry store did not take a block: ${reasonOf(cause)}`, { cause })
    }
  }

  async search(query: EventQuery): Promise<readonly Event[]> {
    const limit = Math.max(1, Math.min(DEFAULT_LIMITS.rows, Math.floor(query.limit)))
    const found = value(await this.find({ where: whereOf(query), order: 'newest', limit, ...nearTo(query) }))
    return found.map(({ event }) => event)
  }

  async find(
    search: EventSearch,
    limits?: QueryLimits,
    signal?: AbortSignal,
  ): Promise<Result<readonly FoundEvent[], QueryRefusal>> {
    const rows = await this.#findByDays(search, limits, signal)
    return rows.ok ? ok(rows.value.map(eventOf)) : rows
  }

  async #findByDays(
    search: EventSearch,
    limits: QueryLimits = {},
    signal?: AbortSignal,
  ): Promise<Result<readonly EventRow[], QueryRefusal>> {
    const limit = wholeLimit(search.limit)
    const started = performance.now()
    // All questions of one search have its time together.
    const ask = async <Row>({ sql, params }: Statement) => {
      const left = (limits.timeoutMs ?? DEFAULT_LIMITS.timeoutMs) - (performance.now() - started)
      return await this.select<Row>({ sql, params }, { ...limits, timeoutMs: Math.max(1, left) }, signal)
    }
    const find = async (...also: readonly Statement[]) => {
      const { sql, params } = searchStatement({ ...search, where: allOf(search.where, ...also) }, ROW_COLUMNS)
      return await ask<EventRow>({ sql: `${sql} limit ${limit}`, params })
    }
    const days = await ask<DayOfEvents>(DAYS_OF_EVENTS)
    if (!days.ok) return days
    let atLeast = this.#lookFirstAt
    for (let windows = 0; windows < MAX_WINDOWS; windows++) {
      const window = windowOf(days.value, search, atLeast)
      if (window === undefined) break
      const rows = await find(within(window))
      if (!rows.ok) return rows
      const last = rows.value.at(-1)
      if (last === undefined) break
      if (rows.value.length === limit) {
        const { sql, params } = allOf(search.where, outside(window, search.order, last.time_ms))
        const others = await ask({ sql: `select 1 as one from ${EVENTS} where ${sql} limit 1`, params })
        if (!others.ok) return others
        return others.value.length === 0 ? rows : await find(upTo(search.order, last.time_ms))
      }
      atLeast = Math.ceil((1.5 * window.events * limit) / rows.value.length)
    }
    return await find()
  }

  async select<Row>(
    { sql, params }: Statement,
    limits: QueryLimits = {},
    signal?: AbortSignal,
  ): Promise<Result<readonly Row[], QueryRefusal>> {
    try {
      const text = await this.#engine.read({ sql, params, settings: settingsOf(limits), ...(signal && { signal }) })
      return ok(
        text
          .split('\n')
          .filter((line) => line !== '')
          .map((line) => JSON.parse(line) as Row),
      )
    } catch (thrown) {
      const refusal = refusalOf(thrown, signal)
      if (refusal) return refusal
      if (thrown instanceof EngineFault && DAMAGED.has(thrown.number)) {
        this.#damage = `a part of the telemetry store is damaged: ${thrown.message.slice(0, 300)}`
        throw new Fault('telemetry_damaged', this.#damage, { cause: thrown })
      }
      throw new Fault('telemetry_unreadable', `the telemetry store did not answer: ${reasonOf(thrown)}`, {
        cause: thrown,
      })
    }
  }

  async count(agentId?: string): Promise<number> {
    const rows = value(
      await this.select<{ events: number }>({
        sql: `select toFloat64(count()) as events from ${EVENTS} ${agentId === undefined ? '' : 'where agent_id = {agent:String}'}`,
        params: agentId === undefined ? {} : { agent: agentId },
      }),
    )
    return rows[0]?.events ?? 0
  }

  async prevalence(field: string, wanted: string, before: string): Promise<{ events: number; hosts: number }> {
    if (!isEventColumn(field)) throw new Fault('unknown_field', `${field} is not a field that can be searched by`)
    const conditions = new Conditions()
    const where = `${conditions.equals(field, wanted)} and ${conditions.compare('@timestamp', '<', before)}`
    const rows = value(
      await this.select<{ events: number; hosts: number }>(
        conditions.statement(
          `select toFloat64(count()) as events, toFloat64(uniqExact(agent_id)) as hosts from ${EVENTS} where ${where}`,
        ),
      ),
    )
    return { events: rows[0]?.events ?? 0, hosts: rows[0]?.hosts ?? 0 }
  }

  async seen(kind: SeenKind, wanted: string): Promise<Seen | undefined> {
    const rows = value(
      await this.select<{ first_ms: number; last_ms: number; total: number; on: number }>({
        sql: `select toFloat64(toUnixTimestamp64Milli(min(first))) as first_ms, toFloat64(toUnixTimestamp64Milli(max(last))) as last_ms,
            toFloat64(sum(events)) as total, toFloat64(uniqMerge(hosts)) as on
          from ${SEEN} where kind = {kind:String} and value = {value:String} having total > 0`,
        params: { kind, value: kind === 'executable' ? wanted : wanted.toLowerCase() },
      }),
    )
    const [row] = rows
    if (!row) return undefined
    const { first_ms, last_ms, total, on } = row
    const times = { first: new Date(first_ms).toISOString(), last: new Date(last_ms).toISOString() }
    return { kind, value: wanted, ...times, events: total, hosts: on }
  }

  async *export(
    search: Omit<EventSearch, 'after' | 'limit'> & { readonly limit?: number },
    format: ExportFormat,
    signal?: AbortSignal,
  ): AsyncIterable<Uint8Array> {
    const { sql, params } = searchStatement(search, format === 'ndjson' ? ROW_COLUMNS : PARQUET_COLUMNS)
    const limited = search.limit === undefined ? sql : `${sql} limit ${wholeLimit(search.limit)}`
    const read = { sql: limited, params, settings: EXPORT_SETTINGS, ...(signal && { signal }) }
    try {
      if (format === 'parquet') yield* this.#engine.stream(read, 'Parquet')
      else yield* eventLines(this.#engine.stream(read, 'JSONEachRow'))
    } catch (cause) {
      throw new Fault('export_failed', `the export stopped: ${reasonOf(cause)}`, { cause })
    }
  }

  async stats(): Promise<TelemetryStats> {
    const stats = await readStats(this)
    this.#local?.remember(stats.days)
    return stats
  }

  async retain(policy: RetentionPolicy, nowMs: number): Promise<readonly Expired[]> {
    const stats = await this.stats()
    const due = expired(stats, policy, nowMs)
    const going = new Set(due.map(({ day, class: name }) => `${day} ${name}`))
    this.#local?.remember(stats.days.filter(({ day, class: name }) => !going.has(`${day} ${name}`)))
    for (const { day, class: name } of due) await this.#engine.command(dropStatement(day, name))
    return due
  }

  async hold<T>(work: (lastToken: string | undefined) => Promise<T>): Promise<T> {
    return await this.#alone(async () => await work(this.#lastToken))
  }

  async freeze(name: string): Promise<Frozen> {
    if (this.#local === undefined)
      throw new Fault(
        'backup_elsewhere',
        `the events are kept by ${this.#engine.name}: back them up there, with BACKUP DATABASE ${DATABASE}`,
      )
    if (!/^\w{1,64}$/.test(name)) throw new Error(`${name} is no name for a folder`)
    const tables: FrozenTable[] = []
    for (const table of FROZEN_TABLES) {
      const frozen = `${name}_${table}`
      await this.#engine.command(`alter table ${DATABASE}.${table} freeze with name '${frozen}'`)
      tables.push({ table, dir: join(this.#local.dir, 'shadow', frozen) })
    }
    // Hard links alone: deleting them is how they are let go (ClickHouse, ALTER TABLE FREEZE).
    return {
      tables,
      release: async () => {
        for (const { dir } of tables) await rm(dir, { recursive: true })
      },
    }
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#queue.then(work)
    this.#queue = done.catch(() => undefined) // the caller has it
    return await done
  }

  async health(): Promise<TelemetryHealth> {
    const most = (await this.stats()).days.reduce((max, { parts }) => Math.max(max, parts), 0)
    const parts = { most, slowedAt: PARTS_TO_DELAY }
    if (this.#closed) return { ok: false, why: 'the telemetry store is closed', parts }
    if (this.#damage !== undefined) return { ok: false, why: this.#damage, parts }
    if (!this.#healthy) return { ok: false, why: 'the last block of events was not taken', parts }
    if (most >= PARTS_TO_DELAY) return { ok: false, why: 'merging does not keep up with what comes in', parts }
    return { ok: true, parts }
  }

  healthy(): boolean {
    return this.#healthy && this.#damage === undefined && !this.#closed
  }

  async close(): Promise<void> {
    if (this.#closed) return
    // What is there now is what must be there at the next start.
    await this.stats().catch(() => undefined) // a store that does not answer any more has nothing to remember
    this.#closed = true
    await this.#engine.close()
  }
}

/** Newest first is by every part of the key, so that a page can go on exactly where the last one ended. */
function searchStatement({ where, order, after }: Omit<EventSearch, 'limit'>, columns: string): Statement {
  const conditions = [where?.sql ?? '1']
  const params: Record<string, Statement['params'][string]> = { ...where?.params }
  if (after) {
    const comparison = order === 'newest' ? '<' : '>'
    conditions.push(
      `time ${comparison}= fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC')`,
      `(time, agent_id, epoch, class, seq) ${comparison} (fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC'), {after_agent:String}, {after_epoch:UUID}, {after_class:String}, {after_seq:UInt64})`,
    )
    Object.assign(params, {
      after_ms: after.timeMs,
      after_agent: after.agentId,
      after_epoch: after.epoch,
      after_class: after.class,
      after_seq: after.seq,
    })
  }
  const way = order === 'newest' ? 'desc' : 'asc'
  const by = ['time', 'agent_id', 'epoch', 'class', 'seq'].map((column) => `${column} ${way}`).join(', ')
  return { sql: `select ${columns} from ${EVENTS} where ${conditions.join(' and ')} order by ${by}`, params }
}

function allOf(...statements: readonly (Statement | undefined)[]): Statement {
  const said = statements.filter((statement) => statement !== undefined)
  return {
    sql: said.length === 0 ? '1' : said.map(({ sql }) => `(${sql})`).join(' and '),
    params: Object.assign({}, ...said.map(({ params }) => params)) as Statement['params'],
  }
}

function wholeLimit(limit: number): number {
  return Math.max(1, Math.min(1_000_000, Math.floor(limit)))
}

function settingsOf({ timeoutMs, rows, bytes, memoryBytes }: QueryLimits): Record<string, string | number> {
  return {
    max_execution_time: Math.min(MAX_TIMEOUT_MS, timeoutMs ?? DEFAULT_LIMITS.timeoutMs) / 1_000,
    max_result_rows: rows ?? DEFAULT_LIMITS.rows,
    max_result_bytes: bytes ?? DEFAULT_LIMITS.bytes,
    result_overflow_mode: 'throw',
    max_memory_usage: Math.min(MAX_MEMORY_BYTES, memoryBytes ?? MAX_MEMORY_BYTES),
    max_threads: READ_THREADS,
    // Texts of events are read for the rows of the answer alone.
    query_plan_max_limit_for_lazy_materialization: 10_000,
    // They would stand in for the indexes of values and words, and every event of a day be compared one by one.
    use_top_k_dynamic_filtering: 0,
    use_skip_indexes_for_top_k: 0,
  }
}

/** src/Common/ErrorCodes.cpp of ClickHouse. */
const TOO_LONG = new Set([159, 160])
const TOO_MUCH = new Set([158, 191, 241, 307, 396, 493])
const CANCELLED = new Set([394, 734])
/** CANNOT_READ_ALL_DATA, CHECKSUM_DOESNT_MATCH, CORRUPTED_DATA, CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD */
const DAMAGED = new Set([33, 40, 246, 271, 89, 354, 432])

function refusalOf(
  thrown: unknown,
  signal: AbortSignal | undefined,
): ReturnType<typeof refuse<QueryRefusal>> | undefined {
  if (signal?.aborted) return refuse('cancelled', 'the search was cancelled')
  if (!(thrown instanceof EngineFault)) return undefined
  if (TOO_LONG.has(thrown.number))
    return refuse('too_long', 'the search took longer than it may: narrow the time or the hosts')
  if (TOO_MUCH.has(thrown.number))
    return refuse('too_much', 'the search needs more memory or gives a larger answer than it may: narrow it')
  if (CANCELLED.has(thrown.number)) return refuse('cancelled', 'the search was cancelled')
  return undefined
}

/** For our own small questions: past a limit they are a fault. */
function value<T>(result: Result<T, QueryRefusal>): T {
  if (!result.ok) throw new Fault('telemetry_timeout', result.why)
  return result.value
}

function nearTo({ until }: EventQuery): Pick<EventSearch, 'nearMs'> {
  const nearMs = until === undefined ? Number.NaN : Date.parse(until)
  return Number.isNaN(nearMs) ? {} : { nearMs }
}

function whereOf(query: EventQuery): Statement {
  const conditions = new Conditions()
  const all: string[] = []
  if (query.agentId !== undefined) all.push(conditions.equals('host.id', query.agentId))
  if (query.class !== undefined) all.push(`class = ${conditions.param(query.class, 'String')}`)
  if (query.since !== undefined) all.push(conditions.compare('@timestamp', '>=', query.since))
  if (query.until !== undefined) all.push(conditions.compare('@timestamp', '<=', query.until))
  for (const [field, wanted] of Object.entries(query.fields ?? {}))
    all.push(wanted.includes('*') ? conditions.like(field, onlyStars(wanted)) : conditions.equals(field, wanted))
  if (query.text !== undefined) all.push(conditions.contains(query.text))
  return conditions.statement(all.length === 0 ? '1' : all.join(' and '))
}

/** In these simple queries nothing but `*` is special. */
function onlyStars(value: string): string {
  return value.replaceAll(/[\\?]/g, String.raw`\$&`)
}

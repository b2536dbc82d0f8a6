/** A ClickHouse server over its HTTP interface. Credentials are never part of the URL, so that no log line and no error can hold them. */
import { Readable } from 'node:stream'
import {
  ClickHouseError,
  ClickHouseLogLevel,
  type ClickHouseClient,
  type ClickHouseSettings,
  createClient,
} from '@clickhouse/client'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { type Block, type Engine, EngineFault, INSERT_SETTINGS, type Read } from './engine.ts'
import { blockOf, INSERT_COLUMNS } from './event-rows.ts'
import type { Params } from './telemetry-store.ts'

export interface ClickhouseServer {
  /** http:// or https://, host and port, without credentials. */
  readonly url: string
  readonly username: string
  readonly password: string
}

/** The first version whose text indexes are not experimental. */
const OLDEST = [26, 2] as const
const REQUEST_TIMEOUT_MS = 310_000
const MAX_CONNECTIONS = 10

/** Faults: `telemetry_unreachable`, `telemetry_refused` (credentials), `telemetry_unsupported` (too old). */
export async function openClickhouseEngine(server: ClickhouseServer): Promise<Engine> {
  const client = createClient({
    url: server.url,
    username: server.username,
    password: server.password,
    application: 'firebreak',
    request_timeout: REQUEST_TIMEOUT_MS,
    max_open_connections: MAX_CONNECTIONS,
    compression: { request: true, response: true },
    log: { level: ClickHouseLogLevel.OFF },
  })
  try {
    await check(client, server)
    return new ClickhouseEngine(client, server.url)
  } catch (thrown) {
    await client.close()
    throw thrown
  }
}

async function check(client: ClickHouseClient, { url, username }: ClickhouseServer): Promise<void> {
  let version: string
  try {
    const answer = await client.query({ query: 'select version() as version', format: 'JSONEachRow' })
    version = (await answer.json<{ version: string }>())[0]?.version ?? ''
  } catch (cause) {
    // src/Common/ErrorCodes.cpp: UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED
    if (cause instanceof ClickHouseError && ['192', '193', '194', '516'].includes(cause.code))
      throw new Fault(
        'telemetry_refused',
        `ClickHouse at ${url} does not let ${username} in: set telemetry.clickhouse_user and telemetry.clickhouse_password_file`,
        { cause },
      )
    throw new Fault('telemetry_unreachable', `ClickHouse at ${url} does not answer: ${reasonOf(cause)}`, { cause })
  }
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    throw new Fault(
      'telemetry_unsupported',
      `ClickHouse at ${url} is ${version}: ${OLDEST.join('.')} or later is needed`,
    )
}

class ClickhouseEngine implements Engine {
  readonly name: string
  readonly #client: ClickHouseClient

  constructor(client: ClickHouseClient, url: string) {
    this.name = `ClickHouse at ${url}`
    this.#client = client
  }

  async insert({ table, events, token }: Block): Promise<void> {
    await told(
      this.#client.insert({
        table,
        columns: [...INSERT_COLUMNS],
        values: Readable.from([blockOf(events)], { objectMode: false }),
        format: 'TabSeparated',
        clickhouse_settings: { ...INSERT_SETTINGS, insert_deduplication_token: token },
      }),
    )
  }

  async command(sql: string, params: Params = {}): Promise<void> {
    await told(this.#client.command({ query: sql, query_params: params }))
  }

  async read(read: Read): Promise<string> {
    const answer = await told(
      this.#client.query({
        query: read.sql,
        query_params: read.params,
        format: 'JSONEachRow',
        // Whole on the server first, so that a failure is an error and not the end of half an answer.
        clickhouse_settings: { ...settingsOf(read), wait_end_of_query: 1 },
        ...(read.signal && { abort_signal: read.signal }),
      }),
    )
    return await told(answer.text())
  }

  async *stream(read: Read, format: 'JSONEachRow' | 'Parquet'): AsyncIterable<Uint8Array> {
    try {
      const { stream } = await this.#client.exec({
        query: `${read.sql} format ${format}`,
        query_params: read.params,
        clickhouse_settings: settingsOf(read),
        ...(read.signal && { abort_signal: read.signal }),
      })
      for await (const piece of stream) yield piece as Uint8Array
    } catch (cause) {
      throw faultOf(cause)
    }
  }

  async close(): Promise<void> {
    await this.#client.close()
  }
}

function settingsOf({ settings }: Read): ClickHouseSettings {
  return { ...settings, cancel_http_readonly_queries_on_client_close: 1 }
}

async function told<T>(running: Promise<T>): Promise<T> {
  try {
    return await running
  } catch (cause) {
    throw faultOf(cause)
  }
}

function faultOf(cause: unknown): EngineFault {
  return new EngineFault(cause instanceof ClickHouseError ? Number(cause.code) : 0, reasonOf(cause), cause)
}

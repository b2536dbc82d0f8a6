import type { EventLine, Params } from './telemetry-store.ts'

/** Events on their way in. */
export interface Block {
  readonly table: string
  readonly events: readonly EventLine[]
  /** The same token again stores nothing. */
  readonly token: string
}

export interface Read {
  readonly sql: string
  readonly params: Params
  readonly settings: Readonly<Record<string, string | number>>
  readonly signal?: AbortSignal
}

/**
 * What speaks ClickHouse's SQL: the library in this process, or a server. The store above it is the same for both.
 * All throw an `EngineFault`.
 */
export interface Engine {
  /** For people: `chDB in DIR` or `ClickHouse at URL`. */
  readonly name: string
  insert(block: Block): Promise<void>
  /** Statements that change something; no answer. */
  command(sql: string, params?: Params): Promise<void>
  /** The answer as one text, in JSONEachRow. */
  read(read: Read): Promise<string>
  /** The answer in pieces, as they are asked for. */
  stream(read: Read, format: 'JSONEachRow' | 'Parquet'): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

/** Number of an exception of ClickHouse (src/Common/ErrorCodes.cpp); 0 when it has none, such as a broken connection. */
export class EngineFault extends Error {
  readonly number: number
  constructor(number: number, message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'EngineFault'
    this.number = number
  }
}

export const INSERT_SETTINGS = {
  insert_deduplicate: 1,
  async_insert: 0,
  max_partitions_per_insert_block: '100',
} as const

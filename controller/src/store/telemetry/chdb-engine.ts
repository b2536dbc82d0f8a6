/**
 * ClickHouse's own engine in this process, one data directory. Its calls run on the threads of libuv, which are four: as many reads at
 * once would keep an insert waiting, so reads wait for one of two connections, and inserts have a connection of their own.
 */
import { mkdirSync } from 'node:fs'
import type * as Chdb from 'chdb'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { openProblem } from './chdb-damage.ts'
import { type Block, type Engine, EngineFault, INSERT_SETTINGS, type Read } from './engine.ts'
import { blocksDir, insertBlock } from './chdb-block.ts'
import { exportsDir, parquetFile } from './chdb-parquet.ts'
import { withLiterals } from './literals.ts'
import type { Params } from './telemetry-store.ts'

const READERS = 2

/** Faults: `telemetry_unsupported` (the engine does not load on this system), `telemetry_unreadable` (another process has it, or it is damaged). */
export async function openChdbEngine(dir: string): Promise<Engine> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const chdb = await loadEngine()
  const sessions: Chdb.Session[] = []
  try {
    for (let i = 0; i <= READERS; i++) sessions.push(new chdb.Session(dir))
  } catch (cause) {
    for (const session of sessions) session.close()
    // chDB writes why to standard error and does not say it in the error.
    throw openProblem(dir, cause)
  }
  const [writer, ...readers] = sessions
  if (!writer) throw new Error('no session was opened')
  return new ChdbEngine(dir, chdb, writer, readers)
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

class ChdbEngine implements Engine {
  readonly name: string
  readonly #chdb: typeof Chdb
  readonly #writer: Chdb.Session
  readonly #idle: Chdb.Session[]
  readonly #waiting: ((reader: Chdb.Session) => void)[] = []
  readonly #sessions: readonly Chdb.Session[]
  readonly #exports: string
  readonly #blocks: string

  constructor(dir: string, chdb: typeof Chdb, writer: Chdb.Session, readers: readonly Chdb.Session[]) {
    this.name = `chDB in ${dir}`
    this.#exports = exportsDir(dir)
    this.#blocks = blocksDir(dir)
    this.#chdb = chdb
    this.#writer = writer
    this.#idle = [...readers]
    this.#sessions = [writer, ...readers]
  }

  async insert(block: Block): Promise<void> {
    await told(insertBlock((sql) => this.#writer.queryAsync(sql), block, INSERT_SETTINGS, this.#blocks))
  }

  async command(sql: string, params: Params = {}): Promise<void> {
    await told(this.#writer.queryAsync(withLiterals(sql, params)))
  }

  async read(read: Read): Promise<string> {
    return await this.#reading(async (reader) => {
      read.signal?.throwIfAborted()
      const answer = await told(reader.queryAsync(withSettings(read), { format: 'JSONEachRow' }))
      return answer.text()
    })
  }

  async *stream(read: Read, format: 'JSONEachRow' | 'Parquet'): AsyncIterable<Uint8Array> {
    const reader = await this.#reader()
    try {
      read.signal?.throwIfAborted()
      if (format === 'Parquet') {
        yield* parquetFile((sql) => reader.queryAsync(sql), withSettings(read), this.#exports)
        return
      }
      const chunks = reader.queryStream(withSettings(read), { format, ...(read.signal && { signal: read.signal }) })
      for await (const chunk of chunks) yield chunk.raw()
    } catch (cause) {
      throw faultOf(cause)
    } finally {
      this.#giveBack(reader)
    }
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) session.close()
    await this.#chdb.drainPending()
  }

  async #reading<T>(work: (reader: Chdb.Session) => Promise<T>): Promise<T> {
    const reader = await this.#reader()
    try {
      return await work(reader)
    } finally {
      this.#giveBack(reader)
    }
  }

  async #reader(): Promise<Chdb.Session> {
    return this.#idle.pop() ?? (await new Promise((resolve) => this.#waiting.push(resolve)))
  }

  #giveBack(reader: Chdb.Session): void {
    const next = this.#waiting.shift()
    if (next) next(reader)
    else this.#idle.push(reader)
  }
}

function withSettings({ sql, params, settings }: Read): string {
  const said = Object.entries(settings).map(
    ([name, value]) => `${name} = ${typeof value === 'number' ? value : `'${value}'`}`,
  )
  return `${withLiterals(sql, params)}${said.length > 0 ? ` settings ${said.join(', ')}` : ''}`
}

async function told<T>(running: Promise<T>): Promise<T> {
  try {
    return await running
  } catch (cause) {
    throw faultOf(cause)
  }
}

function faultOf(cause: unknown): EngineFault {
  const message = reasonOf(cause)
  return new EngineFault(Number(/Code: (\d+)/.exec(message)?.[1] ?? 0), message, cause)
}

/**
 * The state in one SQLite file: WAL, one writer, group commit. A second connection reads, so that nobody sees what is not committed.
 * A commit of SQLite would wait for the disk with the whole process; here it only writes the log (synchronous=NORMAL), and the log is
 * flushed beside it: `write` resolves after that. At most one commit is not flushed yet, as wal-check.ts takes for granted, and since
 * the log is one sequence, whatever is flushed has everything before it. Source: sqlite.org/wal.html, 2.3.
 */
import { closeSync, fdatasync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import { Migrator } from 'kysely/migration'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { MIGRATIONS } from './migrations.ts'
import { nodeSqliteDialect } from './node-sqlite-dialect.ts'
import type { StateStore, Tx } from './state-store.ts'
import type { Tables } from './tables.ts'
import { walDamage } from './wal-check.ts'

export const MAX_GROUP = 200
const PROBE_MS = 1_000
const BUSY_TIMEOUT_MS = 5_000

/** Resolves when everything written to this file descriptor survives a power cut. */
export type Flush = (file: number) => Promise<void>

/** Opens the file, checks it and brings its tables up to date. Faults: `state_damaged`, `state_newer`, `state_unreadable`. */
export async function openStateStore(path: string, flush: Flush = promisify(fdatasync)): Promise<StateStore> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const writer = openChecked(path)
  let reader: DatabaseSync | undefined
  try {
    await migrate(writer)
    reader = new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS })
    // The log is one file as long as a connection is open; SQLite's locks are not on it, so that closing this takes none away.
    const log = openSync(`${path}-wal`, 'r+')
    await flush(log)
    return new SqliteStore(writer, reader, { file: log, flush })
  } catch (thrown) {
    reader?.close()
    writer.close()
    throw thrown
  }
}

function openChecked(path: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    // Before SQLite looks at it: opening would cut the log off at the damage.
    const damage = walDamage(path)
    if (damage !== undefined) throw new Error(`its write-ahead log: ${damage}`)
    database = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true })
    database.exec('pragma journal_mode = wal; pragma synchronous = normal; pragma journal_size_limit = 67108864')
    const found = database
      .prepare('pragma quick_check(3)')
      .all()
      .map((row) => String(row['quick_check']))
    if (found.length !== 1 || found[0] !== 'ok') throw new Error(found.join('; '))
    return database
  } catch (thrown) {
    database?.close()
    const code = /unable to open/.test(reasonOf(thrown)) ? 'state_unreadable' : 'state_damaged'
    throw new Fault(
      code,
      code === 'state_damaged'
        ? `the state file ${path} is damaged (${reasonOf(thrown)}): restore it from a backup (\`firebreak restore\`); nothing was changed`
        : `the state file ${path} cannot be opened: ${reasonOf(thrown)}`,
      { cause: thrown },
    )
  }
}

async function migrate(database: DatabaseSync): Promise<void> {
  const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(database) })
  const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ ...MIGRATIONS }) } })
  const known = new Set(Object.keys(MIGRATIONS))
  const tables = database.prepare("select name from sqlite_schema where name = 'kysely_migration'").all()
  const applied = tables.length === 0 ? [] : database.prepare('select name from kysely_migration').all()
  const foreign = applied.map((row) => String(row['name'])).find((name) => !known.has(name))
  if (foreign !== undefined)
    throw new Fault('state_newer', `the state was written by a newer Firebreak (step ${foreign}): install that version`)
  const { error } = await migrator.migrateToLatest()
  if (error !== undefined)
    throw new Fault('state_unreadable', `the state could not be brought up to date: ${reasonOf(error)}`, {
      cause: error,
    })
}

interface Job {
  readonly run: (tx: Tx) => Promise<() => void>
  readonly reject: (reason: unknown) => void
}

interface Group {
  readonly jobs: Job[]
  /** Tells those whose job is in, or failed by itself. */
  readonly settle: (() => void)[]
}

interface WriteAheadLog {
  readonly file: number
  readonly flush: Flush
}

class SqliteStore implements StateStore {
  readonly db: Kysely<Tables>
  readonly #writer: DatabaseSync
  readonly #writing: Kysely<Tables>
  readonly #log: WriteAheadLog
  readonly #waiting: Job[] = []
  #running: Promise<void> | undefined
  /** The commit before is flushed, or is known not to be. */
  #flushed: Promise<void> = Promise.resolve()
  #healthy = true
  /** Why nothing is written any more: what the system says of a file after a failed flush cannot be trusted (fsync(2), notes). */
  #unflushed: Fault | undefined
  #closed = false
  #probe: NodeJS.Timeout | undefined

  constructor(writer: DatabaseSync, reader: DatabaseSync, log: WriteAheadLog) {
    this.#writer = writer
    this.#log = log
    this.#writing = new Kysely<Tables>({ dialect: nodeSqliteDialect(writer) })
    this.db = new Kysely<Tables>({ dialect: nodeSqliteDialect(reader) })
  }

  write<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) {
        reject(new Fault('state_closed', 'the state store is closed'))
        return
      }
      this.#waiting.push({
        run: async (tx) => {
          const value = await work(tx)
          return () => resolve(value)
        },
        reject,
      })
      this.#running ??= this.#drain()
    })
  }

  healthy(): boolean {
    return this.#healthy && !this.#closed
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#probe)
    await this.#running
    await this.#flushed
    await this.#writing.destroy()
    await this.db.destroy()
    closeSync(this.#log.file)
  }

  async #drain(): Promise<void> {
    try {
      while (this.#waiting.length > 0) {
        // One turn of the loop lets everything that came in with the same I/O join the group; it is far below 2 ms when idle.
        await new Promise((resolve) => setImmediate(resolve))
        await this.#commitGroup()
      }
    } finally {
      this.#running = undefined
    }
  }

  async #commitGroup(): Promise<void> {
    const group: Group = { jobs: [], settle: [] }
    try {
      const tx = await this.#writing.startTransaction().execute()
      try {
        do {
          for (const job of this.#waiting.splice(0, MAX_GROUP - group.jobs.length)) {
            group.jobs.push(job)
            await this.#run(job, tx, group)
          }
          // While the commit before is being flushed, more may come that goes along.
          await this.#flushed
          if (this.#unflushed) throw this.#unflushed
        } while (this.#waiting.length > 0 && group.jobs.length < MAX_GROUP)
        await tx.commit().execute()
      } catch (thrown) {
        await tx.rollback().execute()
        throw thrown
      }
    } catch (thrown) {
      this.#failed(group, thrown)
      return
    }
    this.#flushed = this.#flush(group)
  }

  async #run(job: Job, tx: Tx, group: Group): Promise<void> {
    this.#writer.exec('savepoint job')
    try {
      group.settle.push(await job.run(tx))
    } catch (thrown) {
      // A full or failing disk makes SQLite give up the whole transaction: then it is nobody's own failure.
      if (!this.#writer.isTransaction || isDiskTrouble(thrown)) throw thrown
      this.#writer.exec('rollback to job')
      group.settle.push(() => job.reject(thrown))
    }
    this.#writer.exec('release job')
  }

  /** Never rejects. */
  async #flush(group: Group): Promise<void> {
    try {
      await this.#log.flush(this.#log.file)
    } catch (cause) {
      this.#unflushed = new Fault(
        'state_unwritable',
        `the disk did not take the state: ${reasonOf(cause)}; nothing more is written until the controller is started again`,
        { cause },
      )
      this.#failed(group, this.#unflushed)
      return
    }
    this.#healthy = true
    for (const settle of group.settle) settle()
  }

  #failed(group: Group, cause: unknown): void {
    this.#lost()
    const fault =
      cause === this.#unflushed
        ? this.#unflushed
        : new Fault('state_unwritable', `the state could not be written: ${reasonOf(cause)}`, { cause })
    for (const job of group.jobs) job.reject(fault)
  }

  /** Nothing may come to write while the disk is full, so the store itself asks again. */
  #lost(): void {
    this.#healthy = false
    clearTimeout(this.#probe)
    if (this.#unflushed) return
    this.#probe = setTimeout(() => {
      if (this.#closed) return
      void this.write(async (tx) => {
        const value = new Date().toISOString()
        await tx
          .insertInto('meta')
          .values({ key: 'last_probe', value })
          .onConflict((c) => c.column('key').doUpdateSet({ value }))
          .execute()
      }).catch(() => undefined) // told by healthy(); #lost has set the next probe
    }, PROBE_MS)
    this.#probe.unref()
  }
}

/** Result codes that say something about the disk and nothing about the statement (sqlite.org/rescode.html). */
function isDiskTrouble(thrown: unknown): boolean {
  const errcode = (thrown as { errcode?: unknown }).errcode
  if (typeof errcode !== 'number') return false
  const primary = errcode & 0xff
  return primary === 10 || primary === 11 || primary === 13 || primary === 14 || primary === 26
}

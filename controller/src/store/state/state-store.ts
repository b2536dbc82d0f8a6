import type { Kysely, Transaction } from 'kysely'
import type { Tables } from './tables.ts'

export type Tx = Transaction<Tables>

/** What must never be lost: hosts, incidents, commands, audit. SQLite in the process here, PostgreSQL beyond one machine. */
export interface StateStore {
  /** For reading. */
  readonly db: Kysely<Tables>
  /**
   * Runs `work` in a transaction and resolves after the commit is durable. Several are grouped into one commit; each has its own
   * savepoint, so one that throws takes back only itself.
   */
  write<T>(work: (tx: Tx) => Promise<T>): Promise<T>
  /** Whether the last write got through; for `/readyz`. */
  healthy(): boolean
  close(): Promise<void>
}

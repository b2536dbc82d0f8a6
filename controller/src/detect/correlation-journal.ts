/**
 * What the correlations took, as rows. A batch's part is written in the transaction that marks the batch as detected: so the memory of
 * the correlations, made again from the rows, holds exactly the batches that are marked, and those that are not come again.
 * Rows go when nothing of them can be counted any more. Form 1: zstd of JSON `[rule, time, received, event, fields][]`.
 */
import { promisify } from 'node:util'
import { zstdCompressSync, zstdDecompress } from 'node:zlib'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Fields, FieldValue } from '@firebreak/shared/sigma/correlate/fields.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'

const FORM = 1
const ROWS_AT_ONCE = 64
/** Of one batch's part: limits what is unpacked at once. */
const MAX_BODY_BYTES = 256 * 1_048_576
const unpack = promisify(zstdDecompress)

/** One match of a rule that some correlation builds on. Times in ms since 1970. */
export interface JournalEntry {
  /** Id of the rule, or its title. */
  readonly rule: string
  readonly timeMs: number
  readonly receivedMs: number
  readonly eventId: string
  readonly fields: Fields
}

/** Entries that may be forgotten at the same time. */
export interface JournalPart {
  readonly expiresMs: number
  readonly entries: readonly JournalEntry[]
}

type Written = readonly [string, number, number, string, Readonly<Record<string, FieldValue>>]

export class CorrelationJournal {
  readonly #store: Pick<StateStore, 'db'>
  readonly #most: number
  /** Entries in rows, as far as known here. */
  #kept = 0

  /** `most`: entries in all; past it the oldest rows go. */
  constructor(store: Pick<StateStore, 'db'>, most: number) {
    this.#store = store
    this.#most = most
  }

  get kept(): number {
    return this.#kept
  }

  /** Returns how many entries had to go for want of room. */
  async write(tx: Tx, parts: readonly JournalPart[], nowMs: number): Promise<number> {
    if (parts.length === 0) return 0
    const rows = parts.map(({ expiresMs, entries }) => ({
      expires_ms: Math.trunc(expiresMs),
      count: entries.length,
      version: FORM,
      body: zstdCompressSync(
        JSON.stringify(
          entries.map(({ rule, timeMs, receivedMs, eventId, fields }): Written => {
            return [rule, timeMs, receivedMs, eventId, Object.fromEntries(fields)]
          }),
        ),
      ),
    }))
    await tx.insertInto('correlation_journal').values(rows).execute()
    this.#kept += rows.reduce((sum, row) => sum + row.count, 0)
    await this.forget(tx, nowMs)
    return await this.#makeRoom(tx)
  }

  /** What can be counted no more. */
  async forget(tx: Tx, nowMs: number): Promise<void> {
    const gone = await tx
      .deleteFrom('correlation_journal')
      .where('expires_ms', '<', Math.trunc(nowMs))
      .returning('count')
      .execute()
    this.#kept -= gone.reduce((sum, row) => sum + row.count, 0)
  }

  async #makeRoom(tx: Tx): Promise<number> {
    let evicted = 0
    while (this.#kept > this.#most) {
      const oldest = await tx
        .selectFrom('correlation_journal')
        .select(['id', 'count'])
        .orderBy('id')
        .limit(ROWS_AT_ONCE)
        .execute()
      if (oldest.length === 0) break
      for (const { id, count } of oldest) {
        if (this.#kept <= this.#most) break
        await tx.deleteFrom('correlation_journal').where('id', '=', id).execute()
        this.#kept -= count
        evicted += count
      }
    }
    return evicted
  }

  /** Every entry in the order written. A row that cannot be read is told and left out. */
  async read(
    take: (entries: readonly JournalEntry[]) => void,
    damaged: (id: number, why: string) => void,
  ): Promise<void> {
    this.#kept = 0
    for (let after = 0; ; ) {
      const rows = await this.#store.db
        .selectFrom('correlation_journal')
        .selectAll()
        .where('id', '>', after)
        .orderBy('id')
        .limit(ROWS_AT_ONCE)
        .execute()
      for (const { id, count, version, body } of rows) {
        this.#kept += count
        try {
          if (version !== FORM) throw new Error(`it is of form ${version}, and this controller knows ${FORM}`)
          take(entriesOf(JSON.parse((await unpack(body, { maxOutputLength: MAX_BODY_BYTES })).toString('utf8'))))
        } catch (thrown) {
          damaged(id, reasonOf(thrown))
        }
      }
      const last = rows.at(-1)
      if (last === undefined) return
      after = last.id
    }
  }
}

function entriesOf(written: unknown): readonly JournalEntry[] {
  if (!Array.isArray(written)) throw new TypeError('it is no list')
  return (written as readonly Written[]).map(([rule, timeMs, receivedMs, eventId, fields]) => {
    if (typeof rule !== 'string' || !Number.isFinite(timeMs) || !Number.isFinite(receivedMs))
      throw new TypeError('an entry is not what it should be')
    return { rule, timeMs, receivedMs, eventId, fields: new Map(Object.entries(fields)) }
  })
}

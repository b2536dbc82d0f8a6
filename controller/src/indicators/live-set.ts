/** What is in force, in memory that the readers share. Changes wait for each other; readers wait for nothing. */
import { MatchTable, tableMemory } from '@firebreak/shared/indicators/match-table.ts'
import type { Observable, ObservableType } from '@firebreak/shared/indicators/observable.ts'
import type { StateStore } from '../store/state/state-store.ts'

const ROWS_AT_ONCE = 10_000
const SLOTS_AT_ONCE = 100_000
/** Room for what comes after a start, so that the table is not copied at once. */
const SPARE = 1.25

export class LiveSet {
  readonly #state: Pick<StateStore, 'db'>
  readonly #publish: (memory: SharedArrayBuffer) => void
  #table = new MatchTable(tableMemory(0))
  #turn: Promise<void> = Promise.resolve()

  constructor(state: Pick<StateStore, 'db'>, publish: (memory: SharedArrayBuffer) => void) {
    this.#state = state
    this.#publish = publish
  }

  get table(): MatchTable {
    return this.#table
  }

  /** From the store anew, without what is over. */
  async load(now: string): Promise<void> {
    await this.#inTurn(async () => {
      const { count } = await this.#state.db
        .selectFrom('indicators')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where((e) => e.or([e('valid_until', 'is', null), e('valid_until', '>', now)]))
        .executeTakeFirstOrThrow()
      const table = new MatchTable(tableMemory(Math.ceil(count * SPARE)))
      for (let after = 0; ; ) {
        const rows = await this.#state.db
          .selectFrom('indicators')
          .select(['n', 'type', 'value', 'valid_until'])
          .where('n', '>', after)
          .orderBy('n')
          .limit(ROWS_AT_ONCE)
          .execute()
        for (const row of rows)
          if (row.valid_until === null || row.valid_until > now) table.add(row.type as ObservableType, row.value)
        const last = rows.at(-1)
        if (!last) break
        after = last.n
        await new Promise((resolve) => setImmediate(resolve))
      }
      this.#use(table)
    })
  }

  async add(values: readonly Observable[]): Promise<void> {
    await this.#inTurn(async () => {
      for (const { type, value } of values) {
        if (this.#table.isFull) await this.#grow()
        this.#table.add(type, value)
      }
    })
  }

  async #grow(): Promise<void> {
    const larger = new MatchTable(tableMemory(this.#table.size * 2, this.#table))
    for (const _ of this.#table.copyTo(larger, SLOTS_AT_ONCE)) await new Promise((resolve) => setImmediate(resolve))
    this.#use(larger)
  }

  #use(table: MatchTable): void {
    this.#table = table
    this.#publish(table.shared)
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work)
    this.#turn = mine.catch(() => undefined) // told to whoever asked; the next one starts from what is in force
    await mine
  }
}

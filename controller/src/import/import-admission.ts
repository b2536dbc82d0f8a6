/**
 * Room for a recording. It stands in the same queue as the events of agents, so only a little of it may stand there at a time: an agent
 * waits for that much at most. Agents are asked for nothing: they come first by what is left out here.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Ingest } from '../ingest/index.ts'
import type { StateStore } from '../store/state/state-store.ts'

/** Batches of recordings that may wait for detection, and for the telemetry store. */
export const IMPORT_ROOM = { undetected: 8, unstored: 256, fullness: 0.25, lookMs: 10, patienceMs: 20_000 } as const

export class ImportAdmission {
  readonly #state: StateStore
  readonly #ingest: Pick<Ingest, 'fullness'>
  readonly #clock: Pick<Clock, 'monotonic' | 'sleep'>
  readonly #stopping = new AbortController()
  #mine: readonly number[] = []

  constructor(state: StateStore, ingest: Pick<Ingest, 'fullness'>, clock: Pick<Clock, 'monotonic' | 'sleep'>) {
    this.#state = state
    this.#ingest = ingest
    this.#clock = clock
  }

  took(batchIds: readonly number[]): void {
    this.#mine = [...this.#mine, ...batchIds]
  }

  stop(): void {
    this.#stopping.abort()
  }

  /** False when there was none for so long that the caller should be asked to come again. */
  async room(): Promise<boolean> {
    const until = this.#clock.monotonic() + IMPORT_ROOM.patienceMs
    while (!(await this.#hasRoom())) {
      if (this.#stopping.signal.aborted || this.#clock.monotonic() >= until) return false
      try {
        await this.#clock.sleep(IMPORT_ROOM.lookMs, this.#stopping.signal)
      } catch (thrown) {
        if (!this.#stopping.signal.aborted) throw thrown
      }
    }
    return true
  }

  async #hasRoom(): Promise<boolean> {
    if (this.#ingest.fullness() > IMPORT_ROOM.fullness) return false
    if (this.#mine.length === 0) return true
    const rows = await this.#state.db
      .selectFrom('ingest_batches')
      .select(['id', 'detected', 'stored'])
      .where('id', 'in', this.#mine)
      .execute()
    this.#mine = rows.map(({ id }) => id)
    const undetected = rows.filter(({ detected }) => detected === 0).length
    const unstored = rows.filter(({ stored }) => stored === 0).length
    return undetected <= IMPORT_ROOM.undetected && unstored <= IMPORT_ROOM.unstored
  }
}

/** What detection reads: the rows are the queue, the parsed events beside them only save work. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'
import { linesOf } from './batch-body.ts'
import { storedEvent } from './event-lines.ts'
import type { CommittedBatch, IngestFeed } from './index.ts'

/** Events that were just parsed, until detection has taken them; bounded, oldest kept because they are taken first. */
export class ParsedBatches {
  readonly #maxEvents: number
  readonly #batches = new Map<number, readonly StoredEvent[]>()
  #events = 0

  constructor(maxEvents: number) {
    this.#maxEvents = maxEvents
  }

  put(batchId: number, events: readonly StoredEvent[]): void {
    if (this.#events + events.length > this.#maxEvents) return
    this.#batches.set(batchId, events)
    this.#events += events.length
  }

  get(batchId: number): readonly StoredEvent[] | undefined {
    return this.#batches.get(batchId)
  }

  delete(batchId: number): void {
    const events = this.#batches.get(batchId)
    if (events && this.#batches.delete(batchId)) this.#events -= events.length
  }
}

export function createFeed(state: StateStore, parsed: ParsedBatches): IngestFeed {
  return {
    async takeUndetected(limit) {
      const rows = await state.db
        .selectFrom('ingest_batches')
        .select(['id', 'agent_id'])
        .where('detected', '=', 0)
        .orderBy('id')
        .limit(limit)
        .execute()
      const batches: CommittedBatch[] = []
      for (const { id, agent_id } of rows) {
        const events = parsed.get(id) ?? (await readAgain(state, id))
        if (events) batches.push({ batchId: id, agentId: agent_id as AgentId, events })
      }
      return batches
    },

    async markDetected(tx, batchId) {
      // Whoever is done with a row last takes it away: here, or the mover.
      const { numDeletedRows } = await tx
        .deleteFrom('ingest_batches')
        .where('id', '=', batchId)
        .where('stored', '=', 1)
        .executeTakeFirst()
      if (numDeletedRows === 0n)
        await tx.updateTable('ingest_batches').set({ detected: 1 }).where('id', '=', batchId).execute()
      parsed.delete(batchId)
    },
  }
}

async function readAgain(state: StateStore, id: number): Promise<readonly StoredEvent[] | undefined> {
  const row = await state.db
    .selectFrom('ingest_batches')
    .innerJoin('ingest_bodies', 'ingest_bodies.batch_id', 'ingest_batches.id')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst()
  if (!row) return undefined
  const of = { epoch: row.epoch, class: row.class, receivedAt: row.received_at }
  return linesOf(row).map(({ seq, line }) =>
    storedEvent(row.agent_id as AgentId, of, seq, JSON.parse(Buffer.from(line).toString('utf8')) as Event),
  )
}

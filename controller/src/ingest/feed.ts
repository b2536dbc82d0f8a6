/** What detection reads: the rows are the queue, the events beside them in memory only save work. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'
import { type KeptBatch, toReadAgain } from './batch-body.ts'
import type { HeldBatches } from './held-batches.ts'
import type { CommittedBatch, IngestFeed } from './index.ts'
import type { BatchReader } from './reader/batch-reader.ts'
import type { BatchRead } from './reader/read-batch.ts'
import type { SetAside } from './set-aside.ts'

export interface FeedDeps {
  readonly state: StateStore
  readonly held: Pick<HeldBatches, 'noticed' | 'dropNoticed'>
  readonly reader: Pick<BatchReader, 'read'>
  readonly setAside: SetAside
}

export function createFeed(deps: FeedDeps): IngestFeed {
  const { state, held } = deps
  return {
    async takeUndetected(limit, after = 0) {
      for (;;) {
        const rows = await state.db
          .selectFrom('ingest_batches')
          .select(['id', 'agent_id'])
          .where('detected', '=', 0)
          .where('id', '>', after)
          .orderBy('id')
          .limit(limit)
          .execute()
        const batches: CommittedBatch[] = []
        for (const { id, agent_id } of rows) {
          const events = held.noticed(id) ?? (await noticedAgain(deps, id))
          if (events) batches.push({ batchId: id, agentId: agent_id as AgentId, events })
        }
        // Where all of them were set aside, there may be others behind them.
        if (batches.length > 0 || rows.length === 0) return batches
      }
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
      held.dropNoticed(batchId)
    },
  }
}

async function noticedAgain(deps: FeedDeps, id: number): Promise<readonly StoredEvent[] | undefined> {
  const read = await readAgain(deps, id)
  return read?.noticed
}

/** Reads a row once more; one that is damaged is set aside, so that it holds up nothing behind it: `undefined` then. */
export async function readAgain(
  { state, reader, setAside }: Pick<FeedDeps, 'state' | 'reader' | 'setAside'>,
  id: number,
): Promise<BatchRead | undefined> {
  const row = await state.db.selectFrom('ingest_batches').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) return undefined
  const body = await state.db.selectFrom('ingest_bodies').select('body').where('batch_id', '=', id).executeTakeFirst()
  const read = await tryToRead(reader, row, body?.body)
  if (read.ok) return read
  await setAside(row, read.why)
  return undefined
}

async function tryToRead(
  reader: Pick<BatchReader, 'read'>,
  row: KeptBatch,
  body: Uint8Array | undefined,
): Promise<({ readonly ok: true } & BatchRead) | { readonly ok: false; readonly why: string }> {
  if (!body) return { ok: false, why: 'its body is gone' }
  let batch: ReturnType<typeof toReadAgain>
  try {
    batch = toReadAgain(row, body)
  } catch (thrown) {
    return { ok: false, why: `its gaps cannot be read: ${reasonOf(thrown)}` }
  }
  const reading = await reader.read(batch)
  if (!reading.ok) return reading
  // All of it had been checked before it was kept.
  if (reading.events !== row.count) return { ok: false, why: `it holds ${reading.events} events and not ${row.count}` }
  return reading
}

/**
 * A batch that was acked and cannot be read again. Its events are lost, so they are counted as what they are: a gap of their host,
 * class and epoch. The row is kept beside the others, for whoever wants to know what happened to it; what is behind it goes on.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Gap, GapReason } from '@firebreak/shared/wire/frame.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { RaiseAlarm } from '../fleet/index.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { KeptBatch } from './batch-body.ts'
import type { IngestLog, IngestMetrics } from './log-names.ts'

export type SetAside = (row: KeptBatch, why: string) => Promise<void>

const REASON: GapReason = 'controller_damaged'
/** Bodies of so many are kept, the latest. */
const MAX_KEPT = 100

export interface SetAsideDeps {
  readonly state: StateStore
  readonly clock: Pick<Clock, 'now'>
  readonly log: IngestLog
  readonly metrics: IngestMetrics
  readonly raise: RaiseAlarm
}

export function createSetAside({ state, clock, log, metrics, raise }: SetAsideDeps): SetAside {
  return async (row, why) => {
    const atMs = clock.now()
    const lost = await state.write((tx) => moveAside(tx, row, why, new Date(atMs).toISOString()))
    if (lost === undefined) return
    if (lost > 0) metrics.damaged.inc(lost)
    log.error('ingest.batch.set_aside', {
      'host.id': row.agent_id,
      epoch: row.epoch,
      class: row.class,
      from_seq: row.first_seq,
      to_seq: row.last_seq,
      events_lost: lost,
      why,
    })
    const numbers = `${row.class} ${row.first_seq} to ${row.last_seq}`
    await raise({
      kind: 'events_damaged',
      agentId: row.agent_id as AgentId,
      key: `${row.epoch}:${row.class}:${row.first_seq}-${row.last_seq}`,
      atMs,
      message:
        lost > 0
          ? `${lost} acknowledged events (${numbers}) were damaged on the controller's disk and are lost: ${why}`
          : `${row.count} events (${numbers}) are stored, but no rule has seen them: what was kept for the rules was damaged on the controller's disk: ${why}`,
    })
  }
}

/** Returns the events that are lost: none when the telemetry store has them already. `undefined`: somebody else was quicker. */
async function moveAside(tx: Tx, row: KeptBatch, why: string, at: string): Promise<number | undefined> {
  const now = await tx
    .selectFrom('ingest_batches')
    .select(['stored', 'detected'])
    .where('id', '=', row.id)
    .executeTakeFirst()
  if (!now) return undefined
  const body = await tx.selectFrom('ingest_bodies').select('body').where('batch_id', '=', row.id).executeTakeFirst()
  const key = { agent_id: row.agent_id, epoch: row.epoch, class: row.class }
  await tx
    .insertInto('ingest_damaged')
    .values({
      batch_id: row.id,
      ...key,
      first_seq: row.first_seq,
      last_seq: row.last_seq,
      count: row.count,
      stored: now.stored,
      detected: now.detected,
      body: body?.body ?? null,
      why,
      set_aside_at: at,
    })
    .execute()
  await tx
    .updateTable('ingest_damaged')
    .set({ body: null })
    .where('body', 'is not', null)
    .where('batch_id', 'not in', (q) =>
      q.selectFrom('ingest_damaged').select('batch_id').orderBy('batch_id', 'desc').limit(MAX_KEPT),
    )
    .execute()
  await tx.deleteFrom('ingest_batches').where('id', '=', row.id).execute()
  if (now.stored === 1) return 0
  const gaps = between(row).map(({ from, to }) => ({
    ...key,
    from_seq: from,
    to_seq: to,
    reason: REASON,
    recorded_at: at,
  }))
  if (gaps.length > 0) await tx.insertInto('gaps').values(gaps).execute()
  await tx
    .updateTable('streams')
    .set((e) => ({ stored: e('stored', '-', row.count), dropped: e('dropped', '+', row.count) }))
    .where('agent_id', '=', row.agent_id)
    .where('epoch', '=', row.epoch)
    .where('class', '=', row.class)
    .execute()
  return row.count
}

/** The numbers of the events of a row: what its own gaps leave over. All of them when those cannot be read. */
function between(row: KeptBatch): { from: number; to: number }[] {
  let gaps: readonly Gap[] = []
  try {
    gaps = JSON.parse(row.gaps) as Gap[]
  } catch {
    return [{ from: row.first_seq, to: row.last_seq }] // wider than it was, and said so
  }
  const parts: { from: number; to: number }[] = []
  let next = row.first_seq
  for (const { from, to } of gaps) {
    if (from > next) parts.push({ from: next, to: from - 1 })
    next = to + 1
  }
  if (next <= row.last_seq) parts.push({ from: next, to: row.last_seq })
  return parts
}

/** Batches in, acks out: an ack is given after the commit that made the batch durable, and never before. */
import { constants, zstdCompressSync } from 'node:zlib'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { batchLines, batchSequence, type Gap, type SealedBatch } from '@firebreak/shared/wire/frame.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import { gapsAfter, storedEvent, takeLines, type TakenLine } from './event-lines.ts'
import type { ParsedBatches } from './feed.ts'
import type { Cursor, Ingest } from './index.ts'
import type { IngestMetrics } from './log-names.ts'
import type { Mover } from './mover.ts'

/** Streams kept of one agent; a host that starts its spool anew again and again loses the oldest. */
const MAX_STREAMS = 96
/** As many as a welcome carries. */
const MAX_CURSORS = 64

export interface IngestDeps {
  readonly state: StateStore
  readonly bus: Bus
  readonly clock: Pick<Clock, 'now'>
  /** ms for intervals of this process; cheap. */
  readonly tick: () => number
  readonly metrics: IngestMetrics
  readonly parsed: ParsedBatches
  readonly mover: Pick<Mover, 'committed' | 'backlog'>
}

export function createIngest(deps: IngestDeps, config: { readonly backlog_batches: number }): Ingest {
  return {
    async accept(agentId, batch) {
      const started = deps.tick()
      const lines = batchLines(batch)
      if (!lines.ok) return lines
      const taken = takeLines(lines.value, batchSequence(batch.header))
      const receivedAt = new Date(deps.clock.now()).toISOString()
      const done = await deps.state.write((tx) => keep(tx, agentId, batch, taken, receivedAt))
      if (!done.ok) return done
      const { cursor, batchId, events, invalid } = done.value
      deps.metrics.batches.inc({ result: batchId === undefined && events.length === 0 ? 'duplicate' : 'stored' })
      if (invalid > 0) deps.metrics.invalid.inc(invalid)
      if (batchId !== undefined) {
        deps.metrics.events.inc(events.length)
        const of = { epoch: cursor.epoch, class: cursor.class, receivedAt }
        deps.parsed.put(
          batchId,
          events.map(({ seq, event }) => storedEvent(agentId, of, seq, event)),
        )
        deps.mover.committed(events.length)
        deps.bus.publish('batch.committed', { agentId, batchId })
      }
      deps.metrics.ackSeconds.observe((deps.tick() - started) / 1_000)
      return ok(cursor)
    },

    async cursors(agentId) {
      const rows = await deps.state.db
        .selectFrom('streams')
        .select(['epoch', 'class', 'acked_seq'])
        .where('agent_id', '=', agentId)
        .orderBy('updated_at', 'desc')
        .limit(MAX_CURSORS)
        .execute()
      return rows.map((row) => ({ epoch: row.epoch, class: row.class as EventClass, seq: row.acked_seq }))
    },

    backlogged: () => deps.mover.backlog() >= config.backlog_batches,
  }
}

interface Kept {
  readonly cursor: Cursor
  /** `undefined` when there was nothing new to store. */
  readonly batchId: number | undefined
  readonly events: readonly SoundLine[]
  readonly invalid: number
}
type SoundLine = TakenLine & { readonly event: NonNullable<TakenLine['event']> }

async function keep(
  tx: Tx,
  agentId: AgentId,
  { header, body }: SealedBatch,
  taken: readonly TakenLine[],
  receivedAt: string,
): Promise<Result<Kept, 'malformed'>> {
  const key = { agent_id: agentId, epoch: header.epoch, class: header.class }
  const stream = await tx
    .selectFrom('streams')
    .select(['acked_seq', 'stored', 'dropped', 'invalid'])
    .where('agent_id', '=', agentId)
    .where('epoch', '=', header.epoch)
    .where('class', '=', header.class)
    .executeTakeFirst()
  // The first batch of a stream may begin anywhere: this controller may have been set back to a backup.
  const acked = stream?.acked_seq ?? header.first_seq - 1
  if (header.first_seq > acked + 1)
    return refuse('malformed', `the batch begins at ${header.first_seq}, and ${acked + 1} has not come yet`)
  // Never further than this batch: an agent does not expect an ack of what it has not sent on this connection.
  const cursor = { epoch: header.epoch, class: header.class, seq: header.last_seq }
  if (header.last_seq <= acked) return ok({ cursor, batchId: undefined, events: [], invalid: 0 })
  const fresh = taken.filter(({ seq }) => seq > acked)
  const sound = fresh.filter((line): line is SoundLine => line.event !== undefined)
  const invalid = fresh.filter(({ event }) => event === undefined).map(({ seq }) => seq)
  const gaps = gapsAfter(header, acked, invalid)
  const dropped = gaps.reduce((sum, gap) => sum + gap.to - gap.from + 1, 0)
  const counted = {
    acked_seq: header.last_seq,
    stored: (stream?.stored ?? 0) + sound.length,
    dropped: (stream?.dropped ?? 0) + dropped,
    invalid: (stream?.invalid ?? 0) + invalid.length,
    updated_at: receivedAt,
  }
  if (stream)
    await tx
      .updateTable('streams')
      .set(counted)
      .where('agent_id', '=', agentId)
      .where('epoch', '=', header.epoch)
      .where('class', '=', header.class)
      .execute()
  else {
    await dropOldestStreams(tx, agentId)
    await tx
      .insertInto('streams')
      .values({ ...key, ...counted, produced: 0, spooled: 0, reported_dropped: 0 })
      .execute()
  }
  await writeGaps(tx, key, gaps, receivedAt)
  if (sound.length === 0) return ok({ cursor, batchId: undefined, events: [], invalid: invalid.length })
  const whole = sound.length === taken.length
  const lines = sound.map(({ line }) => line)
  const { id } = await tx
    .insertInto('ingest_batches')
    .values({
      ...key,
      first_seq: Math.max(header.first_seq, acked + 1),
      last_seq: header.last_seq,
      count: sound.length,
      gaps: JSON.stringify(gaps),
      body_bytes: whole ? header.body_bytes : lines.reduce((sum, line) => sum + line.length + 1, 0),
      received_at: receivedAt,
      block_id: null,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await tx
    .insertInto('ingest_bodies')
    .values({ batch_id: id, body: whole ? body : compress(lines) })
    .execute()
  return ok({ cursor, batchId: id, events: sound, invalid: invalid.length })
}

async function writeGaps(
  tx: Tx,
  key: { readonly agent_id: string; readonly epoch: string; readonly class: string },
  gaps: readonly Gap[],
  at: string,
): Promise<void> {
  if (gaps.length === 0) return
  const rows = gaps.map(({ from, to, reason }) => ({ ...key, from_seq: from, to_seq: to, reason, recorded_at: at }))
  await tx.insertInto('gaps').values(rows).execute()
}

async function dropOldestStreams(tx: Tx, agentId: AgentId): Promise<void> {
  const old = await tx
    .selectFrom('streams')
    .select(['epoch', 'class'])
    .where('agent_id', '=', agentId)
    .orderBy('updated_at', 'desc')
    .limit(1_000)
    .offset(MAX_STREAMS - 1)
    .execute()
  for (const { epoch, class: name } of old)
    await tx
      .deleteFrom('streams')
      .where('agent_id', '=', agentId)
      .where('epoch', '=', epoch)
      .where('class', '=', name)
      .execute()
}

function compress(lines: readonly Uint8Array[]): Uint8Array {
  const newline = Buffer.of(0x0a)
  return zstdCompressSync(Buffer.concat(lines.flatMap((line) => [line, newline])), {
    params: { [constants.ZSTD_c_compressionLevel]: 1 },
  })
}

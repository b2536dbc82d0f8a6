/** Batches in, acks out: an ack is given after the commit that made the batch durable, and never before. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { Fault, type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { type BatchHeader, batchSequence, type Gap, type SealedBatch } from '@firebreak/shared/wire/frame.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import { takeInventory } from '../fleet/inventory.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import { type BatchOrigin, gapsAfter } from './event-lines.ts'
import type { HeldBatches } from './held-batches.ts'
import type { Cursor, Ingest } from './index.ts'
import type { IngestMetrics } from './log-names.ts'
import type { Mover } from './mover.ts'
import type { BatchReader } from './reader/batch-reader.ts'
import { type BatchRead, type BatchReading, type BatchToRead, compress } from './reader/read-batch.ts'

/** Streams kept of one agent; a host that starts its spool anew again and again loses the oldest. */
const MAX_STREAMS = 96
/** As many as a welcome carries. */
const MAX_CURSORS = 64

const LATEST_MS = Date.UTC(2262, 0, 1)

export interface IngestDeps {
  readonly state: StateStore
  readonly bus: Bus
  readonly clock: Pick<Clock, 'now'>
  /** ms for intervals of this process; cheap. */
  readonly tick: () => number
  readonly metrics: IngestMetrics
  readonly reader: Pick<BatchReader, 'read'>
  readonly held: Pick<HeldBatches, 'put'>
  readonly mover: Pick<Mover, 'committed' | 'backlog'>
}

export function createIngest(deps: IngestDeps, config: { readonly backlog_batches: number }): Ingest {
  const underWay = new Map<AgentId, UnderWay>()
  return {
    async accept(agentId, batch) {
      const started = deps.tick()
      const origin = originOf(agentId, batch.header)
      const read = await readInOrder(agentId, { origin, header: batch.header, body: batch.body })
      if (!read.ok) return read
      const done = await deps.state.write((tx) => keep(tx, origin, batch, read))
      if (!done.ok) return done
      announce(agentId, done.value)
      deps.metrics.ackSeconds.observe((deps.tick() - started) / 1_000)
      return ok(done.value.cursor)
    },

    async acceptTogether(parts, alongside) {
      const read = await Promise.all(
        parts.map(async ({ agentId, batch }) => {
          const origin = originOf(agentId, batch.header)
          const reading = await deps.reader.read({ origin, header: batch.header, body: batch.body })
          if (!reading.ok) throw new Fault('bad_import', reading.why)
          return { agentId, batch, origin, reading }
        }),
      )
      const taken = await deps.state.write(async (tx) => {
        const kept: { readonly agentId: AgentId; readonly taken: Taken }[] = []
        await alongside.before(tx)
        for (const { agentId, batch, origin, reading } of read) {
          const one = await keep(tx, origin, batch, reading)
          if (!one.ok) throw new Fault('bad_import', one.why)
          kept.push({ agentId, taken: one.value })
        }
        await alongside.after(tx)
        return kept
      })
      for (const { agentId, taken: one } of taken) announce(agentId, one)
      return taken.flatMap(({ taken: { kept } }) => (kept.batchId === undefined ? [] : [kept.batchId]))
    },

    async cursors(agentId) {
      const rows = await deps.state.db
        .selectFrom('streams')
        .select(['epoch', 'class', 'acked_seq', 'chain', 'stored', 'invalid'])
        .where('agent_id', '=', agentId)
        .orderBy('updated_at', 'desc')
        .limit(MAX_CURSORS)
        .execute()
      return rows.map((row) => ({
        epoch: row.epoch,
        class: row.class as EventClass,
        seq: row.acked_seq,
        ...(row.chain === null ? {} : { chain: row.chain }),
        events: row.stored + row.invalid,
      }))
    },

    fullness: () => (deps.state.healthy() ? deps.mover.backlog() / config.backlog_batches : 1),
  }

  /**
   * What follows a batch that was not read is not taken either, as long as it is on the way with it: the first batch of a stream may
   * begin anywhere, so without the one before it the second would be taken for the first, and the events of the first never come.
   */
  async function readInOrder(agentId: AgentId, batch: BatchToRead): Promise<BatchReading> {
    const others = underWay.get(agentId) ?? { batches: 0, broken: false }
    underWay.set(agentId, others)
    others.batches++
    try {
      const read = await deps.reader.read(batch)
      if (others.broken) throw new Fault('reader_failed', 'a batch before it was not read')
      if (!read.ok) others.broken = true
      return read
    } catch (thrown) {
      others.broken = true
      throw thrown
    } finally {
      if (--others.batches === 0) underWay.delete(agentId)
    }
  }

  function originOf(agentId: AgentId, header: BatchHeader): BatchOrigin {
    const receivedAt = new Date(deps.clock.now()).toISOString()
    return { agentId, epoch: header.epoch, class: header.class, receivedAt }
  }

  /** It is durable: the rooms behind may have it. */
  function announce(agentId: AgentId, { fresh, kept }: Taken): void {
    deps.metrics.batches.inc({ result: fresh ? 'stored' : 'duplicate' })
    if (kept.invalid > 0) deps.metrics.invalid.inc(kept.invalid)
    if (kept.batchId === undefined) return
    deps.metrics.events.inc(kept.events)
    deps.held.put(kept.batchId, kept.text, kept.noticed)
    deps.mover.committed(kept.events)
    deps.bus.publish('batch.committed', { agentId, batchId: kept.batchId })
  }
}

interface UnderWay {
  batches: number
  broken: boolean
}

/** What of a batch was new. */
interface Kept extends Pick<BatchRead, 'text' | 'events' | 'noticed'> {
  /** `undefined` when there was no event to store. */
  readonly batchId: number | undefined
  readonly invalid: number
}
const NOTHING: Kept = { text: new Uint8Array(), events: 0, noticed: [], batchId: undefined, invalid: 0 }

interface Taken {
  readonly cursor: Cursor
  /** Some of it had not been taken before. */
  readonly fresh: boolean
  readonly kept: Kept
}

async function keep(
  tx: Tx,
  { agentId, receivedAt }: BatchOrigin,
  { header, body }: Pick<SealedBatch, 'header' | 'body'>,
  read: BatchRead,
): Promise<Result<Taken, 'malformed'>> {
  const key = { agent_id: agentId, epoch: header.epoch, class: header.class }
  const stream = await tx
    .selectFrom('streams')
    .select(['acked_seq', 'stored', 'dropped', 'invalid', 'chain'])
    .where('agent_id', '=', agentId)
    .where('epoch', '=', header.epoch)
    .where('class', '=', header.class)
    .executeTakeFirst()
  // The first batch of a stream may begin anywhere: this controller may have been set back to a backup.
  const acked = stream?.acked_seq ?? header.first_seq - 1
  if (header.first_seq > acked + 1)
    return refuse('malformed', `the batch begins at ${header.first_seq}, and ${acked + 1} has not come yet`)
  // An agent looks at the checksum of the welcome before it sends: what is told here keeps events apart that it did not.
  const chain = header.chain ?? null
  const knownChain = stream?.chain ?? null
  const told =
    header.last_seq === acked ? header.chain : header.first_seq === acked + 1 ? header.chain_before : undefined
  if (knownChain !== null && told !== undefined && told !== knownChain)
    return refuse('malformed', `other events came under the numbers up to ${acked} before`)
  // Never further than this batch: an agent does not expect an ack of what it has not sent on this connection.
  const cursor = { epoch: header.epoch, class: header.class, seq: header.last_seq }
  if (header.last_seq <= acked) return ok({ cursor, fresh: false, kept: NOTHING })
  const invalid = read.invalid.filter((seq) => seq > acked)
  const gaps = gapsAfter(header, acked, invalid)
  const part = header.first_seq > acked ? { ...read, body: read.soundBody ?? body } : after(acked, header, read)
  const dropped = gaps.reduce((sum, gap) => sum + gap.to - gap.from + 1, 0)
  const counted = {
    acked_seq: header.last_seq,
    stored: (stream?.stored ?? 0) + part.events,
    dropped: (stream?.dropped ?? 0) + dropped,
    invalid: (stream?.invalid ?? 0) + invalid.length,
    updated_at: receivedAt,
    chain,
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
  const { text, events, noticed } = part
  if (events === 0) return ok({ cursor, fresh: true, kept: { ...NOTHING, invalid: invalid.length } })
  const { id } = await tx
    .insertInto('ingest_batches')
    .values({
      ...key,
      first_seq: Math.max(header.first_seq, acked + 1),
      last_seq: header.last_seq,
      count: events,
      gaps: JSON.stringify(gaps),
      body_bytes: text.length,
      received_at: receivedAt,
      // It was looked through before it was kept; without a finding there is nothing that detection could do.
      detected: noticed.length === 0 ? 1 : 0,
      block_id: null,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  await tx.insertInto('ingest_bodies').values({ batch_id: id, body: part.body }).execute()
  if (header.class === 'inventory') await takeInventory(tx, agentId, text)
  return ok({ cursor, fresh: true, kept: { batchId: id, text, events, noticed, invalid: invalid.length } })
}

/** What of a batch comes after `acked`: an agent that lost an ack sends again in other pieces. */
function after(
  acked: number,
  header: BatchHeader,
  read: BatchRead,
): Pick<BatchRead, 'text' | 'events' | 'noticed'> & { readonly body: Uint8Array } {
  const invalid = new Set(read.invalid)
  let start = 0
  let known = 0
  for (const seq of batchSequence(header)) {
    if (seq > acked) break
    if (invalid.has(seq)) continue
    start = read.text.indexOf(0x0a, start) + 1
    known++
  }
  const text = read.text.slice(start)
  const noticed = read.noticed.filter(({ seq }) => seq > acked)
  return { text, events: read.events - known, noticed, body: compress(text) }
}

async function writeGaps(
  tx: Tx,
  key: { readonly agent_id: string; readonly epoch: string; readonly class: string },
  gaps: readonly Gap[],
  at: string,
): Promise<void> {
  if (gaps.length === 0) return
  const rows = gaps.map(({ from, to, reason, first_at: firstAt, last_at: lastAt }) => ({
    ...key,
    from_seq: from,
    to_seq: to,
    reason,
    recorded_at: at,
    first_at: isoOf(firstAt),
    last_at: isoOf(lastAt),
  }))
  await tx.insertInto('gaps').values(rows).execute()
}

/** A host may say anything: a time that is none is not kept. */
function isoOf(ms: number | undefined): string | null {
  return ms === undefined || ms >= LATEST_MS ? null : new Date(ms).toISOString()
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

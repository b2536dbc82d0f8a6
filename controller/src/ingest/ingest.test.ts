import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { decodeFrame, encodeBatch, type Gap, type SealedBatch } from '@firebreak/shared/wire/frame.ts'
import { Registry } from 'prom-client'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Alarm } from '../fleet/index.ts'
import { createMemoryBus } from '../store/bus/memory-bus.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { EventLine } from '../store/telemetry/telemetry-store.ts'
import { createFeed } from './feed.ts'
import { HeldBatches } from './held-batches.ts'
import type { Ingest, IngestFeed } from './index.ts'
import { createIngest } from './ingest.ts'
import { type IngestMetrics, ingestMetrics } from './log-names.ts'
import { Mover } from './mover.ts'
import { type BatchReader, createBatchReader } from './reader/batch-reader.ts'
import { createSetAside } from './set-aside.ts'

const AGENT = 'a'.repeat(26) as AgentId
let dir: string
let reader: BatchReader
let logged: { readonly name: string }[]
let state: StateStore
let ingest: Ingest
let feed: IngestFeed
let mover: Mover
let inserted: { readonly token: string; readonly seqs: readonly number[] }[]
let telemetryFails: 'before' | 'after' | undefined
let metrics: IngestMetrics
let alarms: Alarm[]
let epoch: string

beforeAll(() => {
  reader = createBatchReader({ error: (name) => logged.push({ name }) }, 1)
})
afterAll(() => reader.stop())
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-ingest-'))
  state = await openStateStore(join(dir, 'state.db'))
  inserted = []
  telemetryFails = undefined
  metrics = ingestMetrics(new Registry())
  epoch = randomUUID()
  await state.write((tx) =>
    tx
      .insertInto('hosts')
      .values({
        agent_id: AGENT,
        public_key: 'k',
        hostname: 'h',
        facts: '{}',
        group_name: 'g',
        tags: '[]',
        protected: 0,
        criticality: 'normal',
        enrolled_at: '',
        last_seen_at: null,
        connected_session: null,
        boot_id: null,
        trust_version: 1,
        command_lease: 0,
        command_seq: 0,
        receipt_seq: 0,
        receipt_sha256: '',
        containment: '{}',
        collectors: '[]',
        revoked_at: null,
      })
      .execute(),
  )
  restart()
})
afterEach(async () => {
  await mover.stop()
  await state.close()
  rmSync(dir, { recursive: true, force: true })
})

/** As after a crash: nothing but the state is left. */
function restart(backlog = 1_000): void {
  const telemetry = {
    async insert(token: string, events: readonly EventLine[]) {
      if (telemetryFails === 'before') throw new Error('the telemetry store is away')
      inserted.push({ token, seqs: events.flatMap(({ seq, seqs }) => seqs ?? [seq]) })
      if (telemetryFails === 'after') throw new Error('the answer was lost')
    },
  }
  logged = []
  alarms = []
  const log = { error: (name: string, fields: object) => logged.push({ name, ...fields }) }
  const held = new HeldBatches({ held_bytes: 1_000_000, parsed_events: 10_000 })
  const setAside = createSetAside({
    state,
    clock: systemClock,
    log,
    metrics,
    raise: async (alarm) => {
      alarms.push(alarm)
    },
  })
  const reading = { state, held, reader, setAside }
  mover = new Mover(
    { ...reading, telemetry, clock: systemClock, log, metrics },
    { block_events: 1_000, block_wait_ms: 10 },
  )
  feed = createFeed(reading)
  const bus = createMemoryBus(() => undefined)
  const tick = () => performance.now()
  ingest = createIngest(
    { state, bus, clock: systemClock, tick, metrics, reader, held, mover },
    { backlog_batches: backlog },
  )
}

const eventLine = (n: number) =>
  Buffer.from(
    JSON.stringify({
      '@timestamp': '2026-01-01T00:00:00Z',
      event: { category: ['process'], type: ['start'], action: 'a' },
      message: `n ${n}`,
    }),
  )

function batch(
  first: number,
  last: number,
  gaps: Gap[] = [],
  chain: { readonly chain_before?: number; readonly chain?: number } = {},
): SealedBatch {
  const lines: Buffer[] = []
  for (let seq = first; seq <= last; seq++)
    if (!gaps.some((gap) => seq >= gap.from && seq <= gap.to)) lines.push(eventLine(seq))
  const body_bytes = lines.reduce((sum, line) => sum + line.length + 1, 0)
  const header = {
    epoch,
    class: 'process' as const,
    first_seq: first,
    last_seq: last,
    count: lines.length,
    body_bytes,
    gaps,
    ...chain,
  }
  const frame = decodeFrame(encodeBatch(header, lines, 'ab'.repeat(32), () => new Uint8Array(64)))
  if (!frame.ok || frame.value.kind !== 'batch') throw new Error('not a batch')
  return frame.value.batch
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
const stream = () => state.db.selectFrom('streams').selectAll().executeTakeFirstOrThrow()
const rows = () => state.db.selectFrom('ingest_batches').select(['id', 'detected', 'stored']).execute()
const fed = async () =>
  (await feed.takeUndetected(100)).flatMap(({ events }) => events.map(({ seq, event }) => [seq, event.message]))

describe('taking batches in', () => {
  it('stores each event once, however the batches overlap when they are sent again', async () => {
    expect(await ingest.accept(AGENT, batch(1, 6))).toMatchObject({ ok: true, value: { seq: 6 } })
    expect(await ingest.accept(AGENT, batch(1, 6))).toMatchObject({ ok: true, value: { seq: 6 } })
    expect(await ingest.accept(AGENT, batch(1, 10, [{ from: 5, to: 8, reason: 'spool_full' }]))).toMatchObject({
      ok: true,
      value: { seq: 10 },
    })
    expect(await ingest.accept(AGENT, batch(2, 3))).toMatchObject({ ok: true, value: { seq: 3 } })
    expect(await stream()).toMatchObject({ acked_seq: 10, stored: 8, dropped: 2, invalid: 0 })
    expect((await fed()).map(([seq]) => seq)).toEqual([1, 2, 3, 4, 5, 6, 9, 10])
    expect(await state.db.selectFrom('gaps').select(['from_seq', 'to_seq']).execute()).toEqual([
      { from_seq: 7, to_seq: 8 },
    ])
  })

  it('refuses a batch that leaves out numbers, and changes nothing', async () => {
    await ingest.accept(AGENT, batch(1, 3))
    expect(await ingest.accept(AGENT, batch(5, 6))).toMatchObject({ ok: false, code: 'malformed' })
    expect(await stream()).toMatchObject({ acked_seq: 3, stored: 3 })
  })

  it('does not take the second batch of a new stream when the first could not be read', async () => {
    const bad = { ...batch(1, 3), body: Buffer.from('28b52ffd0000', 'hex') }
    const [first, second] = await Promise.allSettled([
      ingest.accept(AGENT, bad),
      ingest.accept(AGENT, batch(4, 6)),
    ] as const)
    expect(first).toMatchObject({ status: 'fulfilled', value: { ok: false } })
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'reader_failed' } })
    await ingest.accept(AGENT, batch(1, 6))
    expect(await stream()).toMatchObject({ acked_seq: 6, stored: 6 })
  })

  it('keeps a batch of nothing but gaps as gaps', async () => {
    expect(await ingest.accept(AGENT, batch(1, 4, [{ from: 1, to: 4, reason: 'kernel_overflow' }]))).toMatchObject({
      ok: true,
    })
    expect(await stream()).toMatchObject({ acked_seq: 4, stored: 0, dropped: 4 })
    expect(await rows()).toEqual([])
  })

  it('keeps of a gap when what is missing happened, and no time that is none', async () => {
    const at = Date.UTC(2026, 0, 2)
    await ingest.accept(
      AGENT,
      batch(1, 4, [
        { from: 1, to: 2, reason: 'spool_aged', first_at: at, last_at: at + 60_000 },
        { from: 3, to: 4, reason: 'kernel_overflow', first_at: Number.MAX_SAFE_INTEGER },
      ]),
    )
    expect(
      await state.db.selectFrom('gaps').select(['reason', 'first_at', 'last_at']).orderBy('from_seq').execute(),
    ).toEqual([
      { reason: 'spool_aged', first_at: '2026-01-02T00:00:00.000Z', last_at: '2026-01-02T00:01:00.000Z' },
      { reason: 'kernel_overflow', first_at: null, last_at: null },
    ])
  })

  it('hands the checksum of a stream back, and stores nothing over what came under the same numbers from another machine', async () => {
    await ingest.accept(AGENT, batch(1, 3, [], { chain_before: 0, chain: 33 }))
    expect(await ingest.cursors(AGENT)).toEqual([{ epoch, class: 'process', seq: 3, chain: 33, events: 3 }])
    // The same again, and what goes on from there, are taken.
    expect(await ingest.accept(AGENT, batch(1, 3, [], { chain_before: 0, chain: 33 }))).toMatchObject({ ok: true })
    expect(await ingest.accept(AGENT, batch(4, 5, [], { chain_before: 33, chain: 55 }))).toMatchObject({ ok: true })
    // A copy of that machine says other events under the numbers up to 5, and would lose them with the ack.
    expect(await ingest.accept(AGENT, batch(4, 5, [], { chain_before: 34, chain: 56 }))).toMatchObject({
      ok: false,
      code: 'malformed',
    })
    expect(await ingest.accept(AGENT, batch(6, 7, [], { chain_before: 56, chain: 77 }))).toMatchObject({
      ok: false,
      code: 'malformed',
    })
    expect(await stream()).toMatchObject({ acked_seq: 5, stored: 5, chain: 55 })
  })

  it('acks nothing when the state cannot be written', async () => {
    await state.close()
    await expect(ingest.accept(AGENT, batch(1, 1))).rejects.toMatchObject({ code: 'state_closed' })
    state = await openStateStore(join(dir, 'state.db'))
  })

  it('gives detection the same events again until it has marked them, from memory and after a restart', async () => {
    await ingest.accept(AGENT, batch(1, 3))
    const before = await feed.takeUndetected(10)
    restart()
    const after = await feed.takeUndetected(10)
    expect(after).toEqual(before)
    expect(after[0]?.events[0]?.event).toMatchObject({
      host: { id: AGENT },
      event: { id: `${AGENT}:${epoch}:process:1`, ingested: expect.any(String) as string },
    })
    const failed = state.write(async (tx) => {
      await feed.markDetected(tx, before[0]?.batchId ?? 0)
      throw new Error('the signals could not be stored')
    })
    await expect(failed).rejects.toThrow('signals')
    expect(await feed.takeUndetected(10)).toEqual(before)
    await state.write((tx) => feed.markDetected(tx, before[0]?.batchId ?? 0))
    expect(await feed.takeUndetected(10)).toEqual([])
  })
})

describe('moving batches to the telemetry store', () => {
  it('lets a row go only when it is both moved and detected upon, whichever comes last', async () => {
    await ingest.accept(AGENT, batch(1, 2))
    await mover.start()
    await expect.poll(rows).toMatchObject([{ detected: 0, stored: 1 }])
    const [first] = await feed.takeUndetected(1)
    await state.write((tx) => feed.markDetected(tx, first?.batchId ?? 0))
    expect(await rows()).toEqual([])
    await mover.stop()
    restart()
    await ingest.accept(AGENT, batch(3, 4))
    const [second] = await feed.takeUndetected(1)
    await state.write((tx) => feed.markDetected(tx, second?.batchId ?? 0))
    expect(await rows()).toMatchObject([{ detected: 1, stored: 0 }])
    await mover.start()
    await expect.poll(rows).toEqual([])
    expect(inserted.flatMap(({ seqs }) => seqs)).toEqual([1, 2, 3, 4])
  })

  it('inserts the same block under the same name when it does not know whether it went in', async () => {
    await ingest.accept(AGENT, batch(1, 2))
    await ingest.accept(AGENT, batch(3, 4))
    telemetryFails = 'after'
    await mover.start()
    await expect.poll(() => inserted.length).toBe(1)
    await mover.stop()
    telemetryFails = undefined
    await ingest.accept(AGENT, batch(5, 6))
    restart()
    await mover.start()
    await expect.poll(async () => (await rows()).every(({ stored }) => stored === 1)).toBe(true)
    expect(inserted[1]).toEqual(inserted[0])
    expect(inserted[2]?.seqs).toEqual([5, 6])
    expect(inserted[2]?.token).not.toBe(inserted[0]?.token)
  })

  it('lets agents keep their events when too much waits, and goes on by itself when the store is back', async () => {
    restart(3)
    telemetryFails = 'before'
    await mover.start()
    for (let i = 1; i <= 3; i++) await ingest.accept(AGENT, batch(i, i))
    expect(ingest.fullness()).toBe(1)
    for (const { batchId } of await feed.takeUndetected(10)) await state.write((tx) => feed.markDetected(tx, batchId))
    telemetryFails = undefined
    await expect.poll(() => ingest.fullness(), { timeout: 5_000 }).toBe(0)
    await expect.poll(() => inserted.flatMap(({ seqs }) => seqs)).toEqual([1, 2, 3])
  })
})

describe('a batch that was acked and cannot be read again', () => {
  const damages: readonly [string, (id: number) => Promise<unknown>][] = [
    ['body is not what it was', (id) => setBody(id, Buffer.from('28b52ffd0000', 'hex'))],
    ['body is of another batch', async (id) => setBody(id, batch(1, 1).body)],
    ['body is gone', (id) => state.write((tx) => tx.deleteFrom('ingest_bodies').where('batch_id', '=', id).execute())],
    [
      'gaps cannot be read',
      (id) => state.write((tx) => tx.updateTable('ingest_batches').set({ gaps: '[{' }).where('id', '=', id).execute()),
    ],
  ]
  const setBody = (id: number, body: Uint8Array) =>
    state.write((tx) => tx.updateTable('ingest_bodies').set({ body }).where('batch_id', '=', id).execute())

  it.each(damages)(
    'is set aside and counted as a gap, when its %s, and what is behind it goes on',
    async (_, damage) => {
      for (let i = 0; i < 3; i++) await ingest.accept(AGENT, batch(i * 10 + 1, i * 10 + 10))
      const [, second] = await rows()
      await damage(second?.id ?? 0)
      restart()
      await mover.start()
      await expect.poll(() => inserted.flatMap(({ seqs }) => seqs)).toHaveLength(20)
      expect((await fed()).map(([seq]) => seq)).toEqual([...range(1, 10), ...range(21, 30)])
      expect(await stream()).toMatchObject({ acked_seq: 30, stored: 20, dropped: 10 })
      expect(await state.db.selectFrom('gaps').selectAll().execute()).toMatchObject([
        { agent_id: AGENT, epoch, class: 'process', from_seq: 11, to_seq: 20, reason: 'controller_damaged' },
      ])
      expect(await state.db.selectFrom('ingest_damaged').selectAll().execute()).toMatchObject([
        { batch_id: second?.id, agent_id: AGENT, first_seq: 11, last_seq: 20, stored: 0 },
      ])
      expect(logged).toMatchObject([{ name: 'ingest.batch.set_aside', 'host.id': AGENT, events_lost: 10 }])
      expect(alarms).toMatchObject(
        [
          {
            kind: 'events_damaged',
            agentId: AGENT,
            key: `${epoch}:process:11-20`,
            message: /^10 acknowledged .*are lost/,
          },
        ].map((alarm) => ({ ...alarm, message: expect.stringMatching(alarm.message) as string })),
      )
      await mover.stop()
      await ingest.accept(AGENT, batch(31, 32))
      expect(await stream()).toMatchObject({ acked_seq: 32, stored: 22, dropped: 10 })
    },
  )

  it('is no loss when the telemetry store has it already', async () => {
    await ingest.accept(AGENT, batch(1, 10))
    await mover.start()
    await expect.poll(rows).toMatchObject([{ detected: 0, stored: 1 }])
    await mover.stop()
    await setBody((await rows())[0]?.id ?? 0, Buffer.from('x'))
    restart()
    expect(await fed()).toEqual([])
    expect(await rows()).toEqual([])
    expect(await stream()).toMatchObject({ stored: 10, dropped: 0 })
    expect(logged).toMatchObject([{ name: 'ingest.batch.set_aside', events_lost: 0 }])
    // But whoever relies on rules has to know that none has seen them.
    expect(alarms.map(({ message }) => message)).toEqual([expect.stringContaining('no rule has seen them')])
  })
})

/** Real threads, ended from outside in the middle of their work. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { systemClock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { decodeFrame, encodeBatch, type SealedBatch } from '@firebreak/shared/wire/frame.ts'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createMemoryBus } from '../../store/bus/memory-bus.ts'
import { openStateStore } from '../../store/state/sqlite-store.ts'
import type { StateStore } from '../../store/state/state-store.ts'
import type { EventLine } from '../../store/telemetry/telemetry-store.ts'
import { HeldBatches } from '../held-batches.ts'
import { createIngest } from '../ingest.ts'
import { ingestMetrics } from '../log-names.ts'
import { Mover } from '../mover.ts'
import { createSetAside } from '../set-aside.ts'
import { type BatchReader, createBatchReader } from './batch-reader.ts'

const AGENTS = ['a', 'b', 'c'].map((letter) => letter.repeat(26) as AgentId)
const EPOCH = randomUUID()
const BATCHES = 40
const EVENTS = 50

let dir: string
let state: StateStore
let reader: BatchReader
let threads: Worker[]
let logged: { readonly name: string; readonly waiting?: number }[]
const started = (thread: Worker) => threads.push(thread)

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-reader-'))
  state = await openStateStore(join(dir, 'state.db'))
  logged = []
  threads = []
  process.on('worker', started)
  reader = createBatchReader({ error: (name, fields) => logged.push({ name, ...fields }) }, 2)
})
afterEach(async () => {
  process.off('worker', started)
  await reader.stop()
  await state.close()
  rmSync(dir, { recursive: true, force: true })
})

function batch(first: number): SealedBatch {
  const lines = Array.from({ length: EVENTS }, (_, i) =>
    Buffer.from(
      JSON.stringify({
        '@timestamp': '2026-01-01T00:00:00Z',
        event: { category: ['process'], type: ['start'], action: 'a' },
        message: `n ${first + i}`,
      }),
    ),
  )
  const header = {
    epoch: EPOCH,
    class: 'process' as const,
    first_seq: first,
    last_seq: first + EVENTS - 1,
    count: EVENTS,
    body_bytes: lines.reduce((sum, line) => sum + line.length + 1, 0),
    gaps: [],
  }
  const frame = decodeFrame(encodeBatch(header, lines, 'ab'.repeat(32), () => new Uint8Array(64)))
  if (!frame.ok || frame.value.kind !== 'batch') throw new Error('not a batch')
  return frame.value.batch
}

async function addHosts(): Promise<void> {
  for (const agent of AGENTS)
    await state.write((tx) =>
      tx
        .insertInto('hosts')
        .values({
          agent_id: agent,
          public_key: agent,
          hostname: agent,
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
}

it('a reader thread that dies under load is noticed and replaced, and what hosts send again is stored once', async () => {
  await addHosts()
  const stored: string[] = []
  const telemetry = {
    insert: async (_: string, events: readonly EventLine[]) => {
      for (const { agentId, seq, seqs = [seq] } of events) stored.push(...seqs.map((each) => `${agentId} ${each}`))
    },
  }
  const log = { error: (name: string, fields: object) => logged.push({ name, ...fields }) }
  const metrics = ingestMetrics(new Registry())
  const held = new HeldBatches({ held_bytes: 1_000_000, parsed_events: 10_000 })
  const setAside = createSetAside({
    state,
    clock: systemClock,
    log,
    metrics,
    raise: async (alarm) => expect.unreachable(alarm.message),
  })
  const mover = new Mover(
    { state, held, reader, setAside, telemetry, clock: systemClock, log, metrics },
    { block_events: 1_000, block_wait_ms: 10 },
  )
  const tick = () => performance.now()
  const bus = createMemoryBus(() => undefined)
  const ingest = createIngest(
    { state, bus, clock: systemClock, tick, metrics, reader, held, mover },
    { backlog_batches: 10_000 },
  )
  await mover.start()
  let refused = 0
  // As a host does: the next batches are on the way while one is read, and what was not acked is sent again.
  const send = async (agent: AgentId) => {
    for (let first = 1; first <= BATCHES * EVENTS; ) {
      const underWay = [0, 1, 2, 3].map((n) => first + n * EVENTS).filter((seq) => seq <= BATCHES * EVENTS)
      const answers = await Promise.allSettled(underWay.map((seq) => ingest.accept(agent, batch(seq))))
      for (const answer of answers) {
        if (answer.status === 'rejected') {
          expect(answer.reason).toMatchObject({ code: 'reader_failed' })
          refused++
          break
        }
        if (!answer.value.ok) break
        first = answer.value.value.seq + 1
      }
    }
  }
  try {
    const sending = Promise.all(AGENTS.map(send))
    for (let i = 0; i < 6; i++) {
      // The moment at which a thread certainly has something to read: right after a batch was asked for.
      await expect.poll(() => threads.length, { interval: 1 }).toBeGreaterThan(i)
      await threads[threads.length - 1]?.terminate()
    }
    await sending
    await expect.poll(() => stored.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(AGENTS.length * BATCHES * EVENTS)
  } finally {
    await mover.stop()
  }
  expect([stored.length, new Set(stored).size]).toEqual(Array(2).fill(AGENTS.length * BATCHES * EVENTS))
  expect(logged.filter(({ name }) => name === 'ingest.reader.replaced')).toHaveLength(6)
  expect(refused).toBeGreaterThan(0)
  const streams = await state.db.selectFrom('streams').select(['acked_seq', 'stored', 'dropped']).execute()
  expect(streams).toEqual(AGENTS.map(() => ({ acked_seq: BATCHES * EVENTS, stored: BATCHES * EVENTS, dropped: 0 })))
}, 60_000)

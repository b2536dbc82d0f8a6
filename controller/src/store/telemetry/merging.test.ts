/** A real merge of real parts, and blocks that come in meanwhile. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drainPending, Session } from 'chdb'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openTelemetryStore } from './chdb-store.ts'
import { EVENTS } from './event-table.ts'
import type { TelemetryStore } from './telemetry-store.ts'

const AGENT = 'abcdefghijklmnopqrstuvwxyz'
const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'
const PARTS = 4
const EVENTS_OF_A_PART = 30_000
const BLOCK = 200

let dir: string
let store: TelemetryStore
let session: Session

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-merging-'))
  store = await openTelemetryStore(dir)
  session = new Session(dir)
  await session.queryAsync(`system stop merges ${EVENTS}`)
  for (let part = 0; part < PARTS; part++)
    await session.queryAsync(`insert into ${EVENTS} (agent_id, epoch, class, seq, ingested, raw)
      select '${AGENT}', '${EPOCH}', 'process', ${part * EVENTS_OF_A_PART} + number, toDateTime64('2026-03-01 10:00:00', 3, 'UTC'),
        concat('{"@timestamp":"2026-03-01T10:00:00Z","event":{"category":["process"],"type":["start"]},"process":{"entity_id":"',
          hex(sipHash64(number, ${part})), '","name":"p', toString(number % 50), '","command_line":"run --job ', toString(sipHash64(number)), '"}}')
      from numbers(${EVENTS_OF_A_PART})`)
}, 120_000)
afterAll(async () => {
  session.close()
  await store.close()
  await drainPending()
  rmSync(dir, { recursive: true, force: true })
})

let inserted = 0
/** ms of one block, of the same day and class as what is merged. */
async function insertOne(): Promise<number> {
  const started = performance.now()
  await store.insert(
    `block-${inserted++}`,
    Array.from({ length: BLOCK }, (_, i) => ({
      agentId: AGENT,
      epoch: EPOCH,
      class: 'process',
      seq: 1_000_000 + inserted * BLOCK + i,
      ingestedAt: '2026-03-01T10:00:00.000Z',
      json: Buffer.from('{"@timestamp":"2026-03-01T10:00:01Z","event":{"category":["process"],"type":["start"]}}'),
    })),
  )
  return performance.now() - started
}

const median = (ms: readonly number[]) => ms.toSorted((one, other) => one - other)[Math.floor(ms.length / 2)] ?? 0

it('takes events in all the while large parts are merged, and keeps each', async () => {
  const alone: number[] = []
  for (let i = 0; i < 12; i++) alone.push(await insertOne())
  await session.queryAsync(`system start merges ${EVENTS}`)
  const merge = { running: true }
  const started = performance.now()
  const merged = session.queryAsync(`optimize table ${EVENTS} final`).then(() => {
    merge.running = false
    return performance.now() - started
  })
  const beside: number[] = []
  while (merge.running) beside.push(await insertOne())
  const mergeMs = await merged
  // It was a real one, which took much longer than a block.
  expect(mergeMs).toBeGreaterThan(10 * median(alone))
  expect(beside.length).toBeGreaterThan(5)
  // Two cores share the work, so a block takes longer; it waits for nothing.
  expect(Math.max(...beside)).toBeLessThan(mergeMs / 2)
  expect(median(beside)).toBeLessThan(6 * median(alone))
  expect(await store.count()).toBe(PARTS * EVENTS_OF_A_PART + inserted * BLOCK)
}, 120_000)

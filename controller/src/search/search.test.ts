import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTelemetryStore } from '../store/telemetry/chdb-store.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { FIELDS } from './fields.ts'
import { createSearch } from './search.ts'
import { SearchConfig } from './search-config.ts'
import { Turns } from './turns.ts'

const CONFIG = Value.Default(SearchConfig, {}) as SearchConfig
const AGENT = 'aaaabbbbccccddddeeeeffff22'
/** More than one piece of the engine's answer. */
const COUNT = 70_000
let dir: string
let store: TelemetryStore

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-search-'))
  store = await openTelemetryStore(join(dir, 'telemetry'))
  await insert('many', 0, COUNT)
}, 60_000)
afterAll(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})

async function insert(token: string, from: number, count: number) {
  await store.insert(
    token,
    Array.from({ length: count }, (_, i) => ({
      agentId: AGENT,
      epoch: '01a20d6d-5b90-7c9b-8378-2e328fd2af15',
      class: 'process',
      seq: from + i,
      ingestedAt: '2026-11-24T12:00:00.000Z',
      json: Buffer.from(
        `{"@timestamp":"2026-11-24T11:00:00Z","event":{"category":["process"],"type":["start"],"action":"x"},"process":{"pid":${i},"args":["a${i}"]}}`,
      ),
    })),
  )
}

const asked = { query: '', nowMs: 0, user: 'anna' } as const
/** Reads the text of every event for each of the fields that have no column. */
const HEAVY = [...FIELDS.values()]
  .filter(({ fast, type }) => !fast && type === 'keyword')
  .slice(0, 150)
  .map(({ name }) => `${name}:*a*b*`)
  .join(' or ')

describe('a search', () => {
  it('that is too heavy ends with a reason, and events go on coming in meanwhile', async () => {
    const search = createSearch(store, { ...CONFIG, timeout_s: 1 })
    let ended = false
    const heavy = search.events({ ...asked, query: HEAVY, order: 'newest', limit: 10 }).finally(() => {
      ended = true
    })
    await insert('meanwhile', COUNT, 1)
    expect(ended).toBe(false)
    expect(await heavy).toMatchObject({ ok: false, code: 'too_long' })
  })

  it('that nobody waits for any more is not begun', async () => {
    const search = createSearch(store, { ...CONFIG, running: 1, timeout_s: 1 })
    const heavy = search.events({ ...asked, query: HEAVY, order: 'newest', limit: 10 })
    const gone = new AbortController()
    const waiting = search.events({ ...asked, order: 'newest', limit: 10, signal: gone.signal })
    gone.abort()
    expect(await waiting).toMatchObject({ ok: false, code: 'cancelled' })
    await heavy
  })
})

describe('an export', () => {
  it('of more than the engine gives at once is one Parquet file, and leaves nothing behind', async () => {
    const started = await createSearch(store, CONFIG).export({
      ...asked,
      query: `process.pid < ${COUNT}`,
      format: 'parquet',
    })
    if (!started.ok) throw new Error(started.why)
    const pieces: Uint8Array[] = []
    for await (const piece of started.value.bytes) pieces.push(piece)
    expect(pieces.length).toBeGreaterThan(1)
    const file = join(dir, 'out.parquet')
    writeFileSync(file, Buffer.concat(pieces))
    const rows = await store.select<{ events: number; ids: number }>({
      sql: "select toFloat64(count()) as events, toFloat64(uniqExact(`event.id`)) as ids from file({file:String}, 'Parquet')",
      params: { file },
    })
    expect(rows).toEqual({ ok: true, value: [{ events: started.value.events, ids: started.value.events }] })
    expect(readdirSync(join(dir, 'telemetry.exports'))).toEqual([])
  })

  it('has its turn alone, and gives it back also when its reader leaves in the middle', async () => {
    const search = createSearch(store, CONFIG)
    const one = await search.export({ ...asked, format: 'ndjson', limit: 30_000 })
    if (!one.ok) throw new Error(one.why)
    for await (const piece of one.value.bytes) {
      expect(piece.length).toBeGreaterThan(0)
      expect(await search.export({ ...asked, format: 'ndjson', limit: 1 })).toMatchObject({ code: 'too_many_searches' })
      break
    }
    expect(await search.export({ ...asked, format: 'ndjson', limit: 1 })).toMatchObject({
      ok: true,
      value: { more: true },
    })
  })
})

describe('turns', () => {
  it('run so many at once, and the one who has fewest running comes next', async () => {
    const turns = new Turns({ running: 2, waitingPerUser: 10, waiting: 10 })
    const order: string[] = []
    let most = 0
    let now = 0
    const work = (name: string) => async () => {
      most = Math.max(most, ++now)
      order.push(name)
      await sleep(5)
      now--
    }
    await Promise.all([
      ...['a1', 'a2', 'a3', 'a4'].map(async (name) => await turns.take('anna', undefined, work(name))),
      turns.take('ben', undefined, work('b1')),
    ])
    expect(most).toBe(2)
    expect(order.indexOf('b1')).toBe(2)
    expect(await turns.take('anna', undefined, async () => 7)).toEqual({ ok: true, value: 7 })
  })

  it('come to an end: so many of one user, so many in all', async () => {
    const turns = new Turns({ running: 1, waitingPerUser: 2, waiting: 3 })
    const slow = async () => await sleep(5)
    const asking = ['anna', 'anna', 'anna', 'ben', 'cleo'].map(
      async (user) => (await turns.take(user, undefined, slow)).ok,
    )
    expect(await Promise.all(asking)).toEqual([true, true, false, true, false])
    await expect(turns.take('anna', undefined, async () => await Promise.reject(new Error('broken')))).rejects.toThrow(
      'broken',
    )
    expect((await turns.take('anna', undefined, slow)).ok).toBe(true)
  })
})

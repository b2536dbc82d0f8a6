import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Event } from '@firebreak/shared/events/event.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTelemetryStore } from '../store/telemetry/chdb-store.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { AGENT, type ApiUnderTest, fitsItsSchema, OTHER_AGENT, startApi } from './api.fixture.ts'

let dir: string
let telemetry: TelemetryStore
let door: ApiUnderTest
const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'
const COUNT = 60

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-events-'))
  telemetry = await openTelemetryStore(dir)
  door = await startApi({ telemetry })
  await telemetry.insert(
    'block',
    Array.from({ length: COUNT }, (_, i) => ({
      agentId: i % 4 === 0 ? OTHER_AGENT : AGENT,
      epoch: EPOCH,
      class: 'process',
      seq: i + 1,
      ingestedAt: '2026-11-24T12:00:00.000Z',
      json: Buffer.from(
        JSON.stringify({
          // Many share one millisecond, though their hosts wrote more digits.
          '@timestamp': `2026-11-24T11:00:0${Math.floor(i / 20)}.000${i % 10}Z`,
          event: { category: ['process'], type: ['start'], action: 'process-started' },
          process: { pid: 100 + i, name: i % 3 === 0 ? 'curl' : 'sh', command_line: `run "${i}" <b>` },
        }),
      ),
    })),
  )
})
afterAll(async () => {
  await door.stop()
  await telemetry.close()
  rmSync(dir, { recursive: true, force: true })
})

async function search(query: string) {
  const answer = await door.ask('viewer', { url: `/api/v1/events?${query}` })
  return { status: answer.statusCode, ...answer.json<{ items: Event[]; next: string | null; code?: string }>() }
}

describe('a search of events', () => {
  it('pages through events of the same millisecond without losing or repeating one', async () => {
    for (const limit of [7, 20, 59]) {
      const seen: string[] = []
      let cursor: string | null = ''
      while (cursor !== null) {
        const page = await search(`limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`)
        expect(page.status).toBe(200)
        seen.push(...page.items.map((event) => event.event.id ?? ''))
        cursor = page.next
      }
      expect(seen.length, `limit ${limit}`).toBe(COUNT)
      expect(new Set(seen).size).toBe(COUNT)
    }
  })

  it('narrows by host, field, text and time, all at once', async () => {
    const page = await search(
      `host=${AGENT}&field=process.name%3Dcurl&text=RUN%20%22&since=2026-11-24T11:00:01Z&until=2026-11-24T11:00:01.999Z&class=process`,
    )
    expect(page.items.length).toBeGreaterThan(0)
    for (const { host, process, ...event } of page.items) {
      expect(host?.id).toBe(AGENT)
      expect(process?.name).toBe('curl')
      expect(event['@timestamp']).toMatch(/^2026-11-24T11:00:01/)
    }
    expect(fitsItsSchema(door.api, 'GET', '/api/v1/events', 200, { items: page.items, next: page.next })).toEqual([])
  })

  it.each([
    ['field=process.secret%3Dx', 'a field that is not searched by'],
    ['field=nonsense', 'a condition without a value'],
    ['field=process.name%3Da&field=process.name%3Db', 'the same field twice'],
    ['since=2026-13-45T99:00:00Z', 'a time that does not exist'],
    ['class=nothing', 'a class that there is not'],
    ['limit=501', 'too large a page'],
    ['cursor=AAAA', 'a cursor of another list'],
    [`text=${'x'.repeat(2_000)}`, 'too long a text'],
  ])('refuses %s (%s) as the caller’s mistake', async (query) => {
    const { status, code } = await search(query)
    expect([status, code]).toEqual([400, expect.stringMatching(/^bad_(request|cursor)$/)])
  })

  it('treats what looks like SQL as text', async () => {
    const { status, items } = await search(`text=${encodeURIComponent("') or 1=1 --")}`)
    expect([status, items]).toEqual([200, []])
    expect((await search(`field=${encodeURIComponent("process.name=curl' or '1'='1")}`)).items).toEqual([])
    expect(await telemetry.count()).toBe(COUNT)
  })

  it('says how common something is', async () => {
    const answer = await door.ask('viewer', { url: '/api/v1/events/prevalence?field=process.name&value=curl' })
    expect(answer.json()).toEqual({ events: 20, hosts: 2 })
    const unknown = await door.ask('viewer', { url: '/api/v1/events/prevalence?field=process.secret&value=x' })
    expect(unknown.json()).toMatchObject({ code: 'bad_request' })
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Event } from '@firebreak/shared/events/event.ts'
import { Value } from 'typebox/value'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SearchConfig } from '../search/search-config.ts'
import { createSearch } from '../search/search.ts'
import { openTelemetryStore } from '../store/telemetry/chdb-store.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { AGENT, type ApiUnderTest, fitsItsSchema, OTHER_AGENT, startApi } from './api.fixture.ts'
import type { EventSighting } from './event-sightings.ts'
import type { NotKept } from './event-query.ts'
import type { EventTree } from './event-tree.ts'

let dir: string
let telemetry: TelemetryStore
let door: ApiUnderTest
const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'
const COUNT = 60
const SHA = 'cd'.repeat(32)

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-events-'))
  telemetry = await openTelemetryStore(dir)
  const config = { ...(Value.Default(SearchConfig, {}) as SearchConfig), export_events: COUNT, timeout_s: 20 }
  door = await startApi({ telemetry, deps: { search: createSearch(telemetry, config) } })
  await door.addHost(AGENT, 'web-1')
  await door.addHost(OTHER_AGENT, 'db-1')
  await store(
    'block',
    Array.from({ length: COUNT }, (_, i) => [
      i % 4 === 0 ? OTHER_AGENT : AGENT,
      {
        // Many share one millisecond, though their hosts wrote more digits.
        '@timestamp': `2026-11-24T11:00:0${Math.floor(i / 20)}.000${i % 10}Z`,
        process: { pid: 100 + i, name: i % 3 === 0 ? 'curl' : 'sh', command_line: `run "${i}" <b>` },
      },
    ]),
  )
}, 60_000)
afterAll(async () => {
  await door.stop()
  await telemetry.close()
  rmSync(dir, { recursive: true, force: true })
}, 30_000)

let seq = 0
async function store(token: string, events: readonly (readonly [string, Record<string, unknown>])[]) {
  await telemetry.insert(
    token,
    events.map(([agentId, event]) => ({
      agentId,
      epoch: EPOCH,
      class: 'process',
      seq: ++seq,
      ingestedAt: '2026-11-24T12:00:00.000Z',
      json: Buffer.from(
        JSON.stringify({
          event: { category: ['process'], type: ['start'], action: 'process-started' },
          ...event,
        }),
      ),
    })),
  )
}

async function search(query: string) {
  const answer = await door.ask('viewer', { url: `/api/v1/events?${query}` })
  return {
    status: answer.statusCode,
    ...answer.json<{ items: Event[]; next: string | null; not_kept: NotKept[]; code?: string }>(),
  }
}

describe('a search of events', () => {
  it.each(['newest', 'oldest'])(
    'pages through events of the same millisecond, %s first, without losing or repeating one while others come in',
    async (sort) => {
      for (const limit of [7, 20, 59]) {
        const seen: Event[] = []
        let cursor: string | null = ''
        while (cursor !== null) {
          const page = await search(
            `sort=${sort}&limit=${limit}&since=2h&until=2026-11-24T11:00:02.9Z${cursor === '' ? '' : `&cursor=${cursor}`}`,
          )
          expect(page.status).toBe(200)
          seen.push(...page.items)
          // A newcomer of the last millisecond, and one long before all.
          if (sort === 'newest')
            await store(`${sort}-${limit}-${seen.length}`, [
              [AGENT, { '@timestamp': '2026-11-24T11:00:03.000Z', process: { name: 'late' } }],
              [AGENT, { '@timestamp': '2026-11-24T09:00:00.000Z', process: { name: 'old' } }],
            ])
          cursor = page.next
        }
        const ids = new Set(seen.map((event) => event.event.id))
        expect([seen.length, ids.size], `limit ${limit}`).toEqual([COUNT, COUNT])
        const times = seen.map((event) => event['@timestamp'].slice(0, 19))
        expect(times).toEqual(sort === 'newest' ? times.toSorted().toReversed() : times.toSorted())
      }
    },
  )

  it('narrows by query, host and time, all at once, and times say their zone', async () => {
    const query = encodeURIComponent('process.name:CURL and process.command_line:run and not process.pid:103')
    const page = await search(
      `host=${AGENT}&query=${query}&since=2026-11-24T12:00:00.0%2B01:00&until=2026-11-24T11:00:00`,
    )
    expect(page.items.length).toBeGreaterThan(0)
    for (const { host, process, ...event } of page.items) {
      expect(host?.id).toBe(AGENT)
      expect(process?.name).toBe('curl')
      expect(process?.pid).not.toBe(103)
      expect(event['@timestamp']).toMatch(/^2026-11-24T11:00:00/)
    }
    expect(
      fitsItsSchema(door.api, 'GET', '/api/v1/events', 200, {
        items: page.items,
        next: page.next,
        not_kept: page.not_kept,
      }),
    ).toEqual([])
  })

  it('says which classes are not kept as far back as was asked, and nothing where all is', async () => {
    const gone = [{ class: 'process', kept_since: '2026-11-24' }]
    expect((await search('since=90d')).not_kept).toEqual(gone)
    expect((await search('since=2026-11-23T23:59:59Z&sort=oldest')).not_kept).toEqual(gone)
    expect((await search('since=2026-11-24')).not_kept).toEqual([])
    expect((await search('query=process.name:curl')).not_kept).toEqual([])
    const exported = await door.ask('analyst', { url: '/api/v1/events/export?since=90d&limit=1' })
    expect(exported.headers['x-firebreak-not-kept']).toBe('process=2026-11-24')
  })

  it.each([
    ['query=process.secret%3Ax', 'bad_query', 'a field that there is not'],
    ['query=process.pid%3A', 'bad_query', 'half a query'],
    ['since=2026-13-45', 'bad_request', 'a time that does not exist'],
    ['until=tomorrow', 'bad_request', 'a time that is none'],
    ['sort=random', 'bad_request', 'another order'],
    ['limit=501', 'bad_request', 'too large a page'],
    ['cursor=AAAA', 'bad_cursor', 'a cursor of another list'],
    [
      `cursor=${Buffer.from(JSON.stringify([1, 'events', '[1,"newest","x"]'])).toString('base64url')}`,
      'bad_cursor',
      'a forged cursor',
    ],
    ['text=x', 'bad_request', 'an option that is no more'],
    [`query=${'x'.repeat(9_000)}`, 'bad_query', 'too long a query'],
  ])('refuses %s as the caller’s mistake', async (query, code) => {
    const answer = await search(query)
    expect([answer.status, answer.code]).toEqual([400, code])
  })

  it('points at the place in the query that is wrong', async () => {
    const answer = await door.ask('viewer', {
      url: `/api/v1/events?query=${encodeURIComponent('process.pid:1 and process.nam:x')}`,
    })
    expect(answer.json()).toMatchObject({
      code: 'bad_query',
      errors: [
        { field: 'query.query', column: 19, length: 11, why: expect.stringContaining('did you mean process.name?') },
      ],
    })
  })

  it('treats what looks like SQL as text', async () => {
    for (const text of ["') or 1=1 --", "curl' or '1'='1", '\\', '\u0000'])
      expect(await search(`query=${encodeURIComponent(`process.name:${JSON.stringify(text)}`)}`)).toMatchObject({
        status: 200,
        items: [],
      })
  })

  it('lists the fields that can be searched by', async () => {
    const answer = await door.ask('viewer', { url: '/api/v1/events/fields' })
    const { items } = answer.json<{ items: unknown[] }>()
    expect(items).toContainEqual({
      name: 'process.pid',
      type: 'number',
      description: 'Process id as the agent sees it.',
      fast: true,
    })
    expect(fitsItsSchema(door.api, 'GET', '/api/v1/events/fields', 200, answer.json())).toEqual([])
  })

  it('says how common something is', async () => {
    const answer = await door.ask('viewer', { url: '/api/v1/events/prevalence?field=process.name&value=curl' })
    expect(answer.json()).toEqual({ events: 20, hosts: 2, fleet_hosts: 2 })
    const unknown = await door.ask('viewer', { url: '/api/v1/events/prevalence?field=process.nam&value=x' })
    expect(unknown.json()).toMatchObject({
      code: 'bad_request',
      detail: expect.stringContaining('did you mean process.name?'),
    })
  })

  it('stops a search that takes too long, and one user’s searches do not keep out another’s', async () => {
    const impatient = createSearch(telemetry, {
      ...(Value.Default(SearchConfig, {}) as SearchConfig),
      running: 1,
      waiting_per_user: 2,
    })
    const never = { query: '', order: 'newest', limit: 10, nowMs: 0 } as const
    const [one, two, three, other] = await Promise.all([
      impatient.events({ ...never, user: 'anna' }),
      impatient.events({ ...never, user: 'anna' }),
      impatient.events({ ...never, user: 'anna' }),
      impatient.events({ ...never, user: 'ben' }),
    ])
    expect([one.ok, two.ok, other.ok]).toEqual([true, true, true])
    expect(three).toMatchObject({ ok: false, code: 'too_many_searches' })
    const gone = AbortSignal.abort()
    expect(await impatient.events({ ...never, user: 'anna', signal: gone })).toMatchObject({ code: 'cancelled' })
  })
})

describe('a value', () => {
  it('was first and last seen on these hosts, whatever form it is given in', async () => {
    const network = { category: ['network'], type: ['connection'], action: 'connection-opened' }
    await store('seen', [
      [AGENT, { '@timestamp': '2026-11-20T10:00:00Z', process: { name: 'evil', hash: { sha256: SHA } } }],
      [
        OTHER_AGENT,
        {
          '@timestamp': '2026-11-22T10:00:00Z',
          event: { category: ['file'], type: ['creation'], action: 'file-created' },
          file: { path: '/tmp/evil', hash: { sha256: SHA } },
        },
      ],
      [
        AGENT,
        {
          '@timestamp': '2026-11-21T10:00:00Z',
          event: network,
          destination: { ip: '2001:db8::7', port: 443, domain: 'c2.example.net' },
        },
      ],
    ])
    const seen = async (value: string) =>
      (
        await door.ask('viewer', { url: `/api/v1/events/seen?value=${encodeURIComponent(value)}` })
      ).json<EventSighting>()
    const hash = await seen(SHA.toUpperCase())
    expect(hash).toMatchObject({
      kind: 'hash',
      first_seen: '2026-11-20T10:00:00.000Z',
      last_seen: '2026-11-22T10:00:00.000Z',
      events: 2,
      host_count: 2,
      fleet_hosts: 2,
      hosts: [
        { hostname: 'db-1', events: 1 },
        { hostname: 'web-1', first_seen: '2026-11-20T10:00:00.000Z' },
      ],
      fields: [
        { field: 'process.hash.sha256', events: 1 },
        { field: 'file.hash.sha256', events: 1 },
      ],
    })
    expect(fitsItsSchema(door.api, 'GET', '/api/v1/events/seen', 200, hash)).toEqual([])
    expect(await seen('2001:0db8::0007')).toMatchObject({ kind: 'address', value: '2001:db8::7', host_count: 1 })
    expect(await seen('C2.example.net.')).toMatchObject({
      kind: 'domain',
      events: 1,
      fields: [{ field: 'destination.domain' }],
    })
    expect(await seen('198.51.100.200')).toMatchObject({ first_seen: null, events: 0, hosts: [] })
    expect(await seen('not a value')).toMatchObject({ code: 'bad_request' })
  })
})

describe('a process', () => {
  const entity = (n: number) => `boot:${n}`
  const started = (n: number, parent: number, name: string, at: string, more: Record<string, unknown> = {}) => ({
    '@timestamp': `2026-11-24T08:${at}Z`,
    process: {
      pid: n % 1000,
      entity_id: entity(n),
      name,
      executable: `/usr/bin/${name}`,
      command_line: `${name} --as ${n}`,
      user: { name: 'www-data' },
      parent: { pid: parent % 1000, entity_id: entity(parent), name: `parent-${parent}` },
      ...more,
    },
  })
  const ask = async (query: string) => await door.ask('viewer', { url: `/api/v1/events/tree?host=${AGENT}&${query}` })

  beforeAll(async () => {
    const by = (n: number) => ({ pid: n % 1000, entity_id: entity(n), name: 'x' })
    await store('tree', [
      [AGENT, started(10, 1, 'nginx', '00:00', { ancestors: [{ pid: 0, entity_id: entity(0), name: 'kernel' }] })],
      [AGENT, started(20, 10, 'bash', '00:01')],
      [AGENT, started(30, 20, 'curl', '00:02')],
      [AGENT, started(31, 20, 'python3', '00:03')],
      // bash becomes another program: the same process.
      [AGENT, { ...started(20, 10, 'dash', '00:04') }],
      // The pid of curl again, under another parent.
      [AGENT, started(1030, 1, 'cron', '30:00')],
      // Another host's process with the same ids.
      [OTHER_AGENT, started(20, 10, 'innocent', '00:01')],
      [
        AGENT,
        {
          '@timestamp': '2026-11-24T08:00:05Z',
          event: { category: ['process'], type: ['end'], action: 'process-ended' },
          process: { ...by(30), name: 'curl', exit_code: 137 },
        },
      ],
      [
        AGENT,
        {
          '@timestamp': '2026-11-24T08:00:02.5Z',
          event: { category: ['network'], type: ['connection'], action: 'connection-opened' },
          process: by(30),
          destination: { ip: '203.0.113.9', port: 4444, domain: 'c2.example.org' },
        },
      ],
      [
        AGENT,
        {
          '@timestamp': '2026-11-24T08:00:02.6Z',
          event: { category: ['network'], type: ['connection'], action: 'connection-opened' },
          process: by(30),
          network: { direction: 'ingress' },
          source: { ip: '2001:db8::1', port: 99 },
          destination: { ip: '::1', port: 80 },
        },
      ],
      [
        AGENT,
        {
          '@timestamp': '2026-11-24T08:00:03.5Z',
          event: { category: ['file'], type: ['creation'], action: 'file-created' },
          process: by(31),
          file: { path: '/tmp/dropped' },
        },
      ],
      // A host that claims a circle.
      [AGENT, started(50, 51, 'ouro', '10:00')],
      [AGENT, started(51, 50, 'boros', '10:01')],
    ])
  })

  it('is told with all that it came from, all that came of it, and what each did', async () => {
    const answer = await ask(`entity_id=${entity(20)}`)
    const tree = answer.json<EventTree>()
    expect(fitsItsSchema(door.api, 'GET', '/api/v1/events/tree', 200, tree)).toEqual([])
    const shape = tree.processes.map((one) => [
      one.relation,
      one.entity_id,
      one.parent_entity_id,
      one.name,
      one.observed,
    ])
    expect(shape).toEqual(
      [
        ['ancestor', entity(1), null, 'parent-1', false],
        ['ancestor', entity(10), entity(1), 'nginx', true],
        ['self', entity(20), entity(10), 'dash', true],
        ['descendant', entity(30), entity(20), 'x', true],
        ['descendant', entity(31), entity(20), 'x', true],
      ].map((row) => row.map((cell) => (cell === 'x' ? expect.any(String) : cell))),
    )
    const [, , self, curl, python] = tree.processes
    expect(self).toMatchObject({
      command_line: 'dash --as 20',
      user: 'www-data',
      execs: 1,
      started_at: '2026-11-24T08:00:01.000Z',
      exit_code: null,
    })
    expect(curl).toMatchObject({
      exit_code: 137,
      ended_at: '2026-11-24T08:00:05.000Z',
      peers: { count: 2, examples: ['203.0.113.9:4444', '[2001:db8::1]:99'] },
      domains: { count: 1, examples: ['c2.example.org'] },
    })
    expect(python).toMatchObject({ files: { count: 1, examples: ['/tmp/dropped'] }, peers: { count: 0 } })
  })

  it('is asked for by its time or entity id when its pid was used again', async () => {
    const several = await ask('pid=30')
    expect([several.statusCode, several.json()]).toMatchObject([
      409,
      {
        code: 'several_processes',
        errors: [
          { why: expect.stringMatching(/^2026-11-24T08:30.*boot:1030 {2}cron/) },
          { why: expect.stringContaining('curl --as 30') },
        ],
      },
    ])
    expect((await ask('pid=30&at=2026-11-24T08:10:00Z')).json<EventTree>().entity_id).toBe(entity(30))
    expect((await ask('pid=30&at=2026-11-24')).json<EventTree>().entity_id).toBe(entity(1030))
    expect((await ask('pid=10')).json<EventTree>().entity_id).toBe(entity(10))
    expect((await ask('pid=30&at=2026-11-24T07:00:00Z')).statusCode).toBe(404)
    expect((await ask('pid=999')).json()).toMatchObject({ code: 'not_found' })
    for (const bad of ['', 'pid=1&entity_id=x', 'entity_id=x&at=2026', 'pid=30&at=never', 'pid=-1'])
      expect((await ask(bad)).statusCode, bad).toBe(400)
  })

  it('that nobody saw start is known by its children, and a circle stays a tree', async () => {
    const tree = (await ask(`entity_id=${entity(1)}`)).json<EventTree>()
    expect(tree.processes[0]).toMatchObject({ relation: 'self', observed: false, name: 'parent-1' })
    expect(tree.processes.length).toBe(6)
    const circle = (await ask(`entity_id=${entity(50)}`)).json<EventTree>()
    expect(circle.processes.map((one) => one.entity_id).toSorted()).toEqual([entity(50), entity(51)].toSorted())
  })
})

describe('an export of events', () => {
  const url = (query: string) => `/api/v1/events/export?${query}`

  it('gives every event that matches, in both formats, and both can be read again', async () => {
    const query = 'query=process.command_line%3Arun'
    const ndjson = await door.ask('analyst', { url: url(query) })
    expect([ndjson.statusCode, ndjson.headers['x-firebreak-events'], ndjson.headers['content-type']]).toEqual([
      200,
      String(COUNT),
      'application/x-ndjson; charset=utf-8',
    ])
    const events = ndjson.body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Event)
    expect([events.length, new Set(events.map((event) => event.event.id)).size]).toEqual([COUNT, COUNT])
    expect(events[0]?.host?.id).toMatch(/^[a-z2-7]{26}$/)

    const parquet = await door.ask('analyst', { url: url(`${query}&format=parquet`) })
    const file = join(dir, 'out.parquet')
    writeFileSync(file, parquet.rawPayload)
    const rows = await telemetry.select<{ events: number; ids: number; curls: number; first: string }>({
      sql: `select toFloat64(count()) as events, toFloat64(uniqExact(\`event.id\`)) as ids, toFloat64(countIf(\`process.name\` = 'curl')) as curls,
        toString(min(\`@timestamp\`)) as first from file({file:String}, 'Parquet')`,
      params: { file },
    })
    expect(rows).toEqual({
      ok: true,
      value: [{ events: COUNT, ids: COUNT, curls: 20, first: '2026-11-24 11:00:00.000' }],
    })
  })

  it('is for analysts, and is in the audit log with who took what', async () => {
    expect((await door.ask('viewer', { url: url('query=sh') })).json()).toMatchObject({ code: 'forbidden' })
    const answer = await door.ask('analyst', { url: url('query=process.name%3Acurl&since=2026-11-24&limit=5') })
    expect([answer.headers['x-firebreak-events'], answer.headers['x-firebreak-more']]).toEqual(['5', 'true'])
    await expect
      .poll(async () =>
        (
          await door.state.db
            .selectFrom('audit')
            .select(['actor', 'action', 'detail'])
            .where('action', 'like', 'search.export.%')
            .execute()
        ).slice(-2),
      )
      .toMatchObject([
        {
          actor: 'user:analyst-1',
          action: 'search.export.started',
          detail: expect.stringContaining('"query":"process.name:curl"'),
        },
        { action: 'search.export.ended', detail: expect.stringContaining('"outcome":"whole"') },
      ])
  })

  it('refuses what is more than an export may hold, instead of cutting it', async () => {
    const all = await door.ask('analyst', { url: url('') })
    expect([all.statusCode, all.json()]).toMatchObject([422, { code: 'search_too_much' }])
    expect((await door.ask('analyst', { url: url('query=process.pi%3A1') })).json()).toMatchObject({
      code: 'bad_query',
    })
    expect((await door.ask('analyst', { url: url('format=csv') })).statusCode).toBe(400)
    const none = await door.ask('analyst', { url: url('query=process.name%3Anothing') })
    expect([none.statusCode, none.body, none.headers['x-firebreak-events']]).toEqual([200, '', '0'])
  })
})

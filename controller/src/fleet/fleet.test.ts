import { randomUUID } from 'node:crypto'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { SourceStatus } from '@firebreak/shared/events/coverage.ts'
import type { AgentRun, Renewal, StreamCount } from '@firebreak/shared/wire/messages.ts'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createCoverage } from '../coverage/coverage.ts'
import { CoverageConfig } from '../coverage/coverage-config.ts'
import type { Coverage } from '../coverage/index.ts'
import { Rig, Site } from '../deciding.fixture.ts'
import { accountingSignal, UNACCOUNTED_RULE } from '../detect/accounting-signals.ts'
import { createFleet, type Fleet, type Hello } from './fleet.ts'
import { fleetMetrics } from './log-names.ts'

const SINCE = '2025-01-01T00:00:00.000Z'
const CONFIG = Value.Default(CoverageConfig, {}) as CoverageConfig
const NONE = { spooled: 0, dropped: 0 }

let site: Site
let rig: Rig
let clock: FakeClock
let fleet: Fleet
let coverage: Coverage
let host: AgentId
let epoch: string

beforeEach(async () => {
  clock = new FakeClock(Date.UTC(2026, 10, 24, 12))
  site = new Site()
  rig = await Rig.open(site, clock)
  await rig.start()
  const log = { info: () => undefined, error: () => undefined }
  const { store: state, bus, audit, metrics, detect, triage } = rig
  coverage = createCoverage({ state, clock, log, metrics }, CONFIG)
  fleet = createFleet({
    state,
    audit,
    bus,
    clock,
    log,
    metrics: fleetMetrics(metrics),
    raise: (alarm) => detect.raise(accountingSignal(alarm)),
    coverage,
    explained: (agentId, why) => triage.explain(agentId, UNACCOUNTED_RULE, why),
  })
  host = await rig.host('web-1')
  epoch = randomUUID()
})

afterEach(async () => {
  await rig.stop()
  site.forget()
})

function counted(counts: Partial<StreamCount>): StreamCount {
  return { epoch, class: 'process', produced: 0, ...NONE, ...counts }
}

function hello(run: Partial<AgentRun> = {}, streams: readonly StreamCount[] = []): Hello {
  const now = clock.now()
  return {
    t: 'hello',
    v: 1,
    agent_id: host,
    nonce: '',
    boot_id: 'b0',
    trust_version: 1,
    facts: { hostname: 'web-1', os: 'linux', architecture: 'x64', addresses: [], agent_version: '1' },
    command: { lease: 0, seq: 0 },
    receipt_seq: 0,
    streams: [...streams],
    run: { id: randomUUID(), started_ms: now, booted_ms: now - 3_600_000, ...run },
  }
}

interface Said {
  readonly streams?: readonly StreamCount[]
  readonly sources?: readonly SourceStatus[]
  readonly renewals?: readonly Renewal[]
  readonly at_ms?: number
}

async function says({ streams = [], sources, renewals, at_ms = clock.now() }: Said): Promise<void> {
  await fleet.report(host, {
    t: 'status',
    streams: [...streams],
    collectors: [],
    containment: { phase: 'none', drift_count: 0 },
    ceiling_sha256: '0'.repeat(64),
    at_ms,
    ...(sources === undefined ? {} : { sources: [...sources] }),
    ...(renewals === undefined ? {} : { renewals: [...renewals] }),
  })
}

/** As ingest leaves it behind. */
async function taken(of: { acked_seq: number; stored: number; dropped?: number; class?: string }): Promise<void> {
  const { class: name = 'process', dropped = 0, ...row } = of
  await rig.store.write(async (tx) => {
    const key = { agent_id: host, epoch, class: name }
    await tx
      .deleteFrom('streams')
      .where('agent_id', '=', host)
      .where('epoch', '=', epoch)
      .where('class', '=', name)
      .execute()
    await tx
      .insertInto('streams')
      .values({ ...key, ...row, dropped, invalid: 0, produced: 0, spooled: 0, reported_dropped: 0, updated_at: '' })
      .execute()
  })
}

async function gap(
  reason: string,
  from: number,
  to: number,
  times: { first_at?: string; last_at?: string } = {},
): Promise<void> {
  const row = {
    agent_id: host,
    epoch,
    class: 'process',
    from_seq: from,
    to_seq: to,
    reason,
    recorded_at: iso(0),
    ...times,
  }
  await rig.store.write((tx) => tx.insertInto('gaps').values(row).execute())
}

const iso = (minutes: number) => new Date(clock.now() + minutes * 60_000).toISOString()
const alerts = () =>
  rig.store.db.selectFrom('alerts').select(['title', 'status', 'verdict']).orderBy('created_at').execute()
const windows = async () =>
  (await coverage.ofHost(host, SINCE, 100)).map(({ class: name, reason, from, to, events, quality }) => ({
    class: name,
    reason,
    quality,
    from,
    to,
    events,
  }))
const openEvents = async () =>
  Number(/^firebreak_fleet_unaccounted_events\{kind="missing"\} (\d+)/m.exec(await rig.metrics.metrics())?.[1])

describe('the sum of every stream', () => {
  it('raises an alarm with the numbers when events are missing, and takes it back when they are explained', async () => {
    await fleet.connected(host, 's', hello())
    await taken({ acked_seq: 90, stored: 90 })
    await says({ streams: [counted({ produced: 110, spooled: 10, acked: 90 })] })
    expect(await alerts()).toMatchObject([{ title: expect.stringContaining('missing'), status: 'open', verdict: null }])
    expect(await openEvents()).toBe(10)
    const signal = await rig.store.db.selectFrom('signals').select(['event', 'rule_id']).executeTakeFirstOrThrow()
    expect(signal.rule_id).toBe('accounting.unaccounted_events')
    expect(signal.event).toContain('produced 110 = stored 90 + spooled 10 + dropped 0 leaves out 10')
    // The same again is the same alarm.
    await says({ streams: [counted({ produced: 110, spooled: 10, acked: 90 })] })
    expect(await alerts()).toHaveLength(1)
    await taken({ acked_seq: 100, stored: 100 })
    await says({ streams: [counted({ produced: 110, spooled: 10, acked: 100 })] })
    expect(await alerts()).toMatchObject([{ status: 'closed', verdict: 'benign' }])
    expect(await openEvents()).toBe(0)
    const row = await rig.store.db.selectFrom('accounting_differences').selectAll().executeTakeFirstOrThrow()
    expect(row).toMatchObject({ kind: 'missing', events: 10, closed_why: 'the next count adds up' })
  })

  it('stays silent through any order in which acks and words of the agent pass each other', async () => {
    await fleet.connected(host, 's', hello())
    for (let acked = 0; acked < 200; acked += 7) {
      await taken({ acked_seq: acked, stored: acked })
      for (const late of [0, 5, 60]) {
        const known = Math.max(0, acked - late)
        await says({ streams: [counted({ produced: 300, spooled: 300 - known, acked: known })] })
      }
    }
    expect(await alerts()).toEqual([])
  })

  it('does not take what this controller could not read again for missing on the host', async () => {
    await fleet.connected(host, 's', hello())
    await taken({ acked_seq: 50, stored: 30, dropped: 20 })
    await gap('controller_damaged', 11, 30)
    await says({ streams: [counted({ produced: 50, acked: 50 })] })
    expect(await alerts()).toEqual([])
  })

  it('goes on being known after a restart of the controller', async () => {
    await fleet.connected(host, 's', hello())
    await taken({ acked_seq: 10, stored: 5 })
    await says({ streams: [counted({ produced: 10, acked: 10 })] })
    await rig.stop()
    rig = await Rig.open(site, clock)
    await rig.start()
    const metrics = fleetMetrics(rig.metrics)
    const log = { info: () => undefined, error: () => undefined }
    const { store: state, bus, audit } = rig
    coverage = createCoverage({ state, clock, log, metrics: rig.metrics }, CONFIG)
    const explained: string[] = []
    const again = createFleet({
      state,
      audit,
      bus,
      clock,
      log,
      metrics,
      coverage,
      raise: async () => undefined,
      explained: async (_, why) => void explained.push(why),
    })
    await again.forgetSessions()
    expect(await openEvents()).toBe(5)
    fleet = again
    await taken({ acked_seq: 10, stored: 10 })
    await says({ streams: [counted({ produced: 10, acked: 10 })] })
    expect(explained).toEqual(['every event is accounted for again'])
    expect(await openEvents()).toBe(0)
  })

  it('closes an epoch that has ended with what went on in a later one', async () => {
    await fleet.connected(host, 's', hello())
    await taken({ acked_seq: 80, stored: 75, dropped: 5 })
    await says({ streams: [counted({ produced: 100, dropped: 8, moved: 17, acked: 80 })] })
    expect(await alerts()).toEqual([])
    await says({ streams: [counted({ produced: 100, dropped: 8, moved: 10, acked: 80 })] })
    expect(await alerts()).toHaveLength(1)
  })
})

describe('a host whose disk went back in time', () => {
  it('is an alarm that says what is lost, a window in which its rules were blind, and no missing events', async () => {
    const run = { id: randomUUID(), last_alive_ms: clock.now() - 5_000 }
    await fleet.connected(host, 's', hello(run))
    await taken({ acked_seq: 90, stored: 90 })
    await says({ streams: [counted({ produced: 100, spooled: 10, acked: 90 })] })
    const before = iso(0)
    await clock.advance(3_600_000)
    // A snapshot from before: its last sign of life is older than what it said since.
    const back = hello({ last_alive_ms: clock.now() - 2 * 3_600_000 }, [counted({ produced: 60, acked: 60 })])
    await fleet.connected(host, 't', back)
    const into = randomUUID()
    const renewals: Renewal[] = [{ from: epoch, into, why: 'ahead', at_ms: clock.now() }]
    await says({ renewals })
    await says({ renewals })
    const signals = await rig.store.db.selectFrom('signals').select(['rule_id', 'event']).execute()
    expect(signals.map((signal) => signal.rule_id)).toEqual(['host.reverted'])
    expect(signals[0]?.event).toContain('10 events that it had not sent are lost')
    expect(await windows()).toContainEqual({
      class: 'process',
      reason: 'epoch_lost',
      quality: 'blind',
      from: before,
      to: iso(0),
      events: 10,
    })
  })

  it('is none after a power cut, which leaves the disk some seconds behind', async () => {
    await fleet.connected(host, 's', hello({ last_alive_ms: clock.now() - 60_000 }))
    await taken({ acked_seq: 90, stored: 90 })
    await says({ streams: [counted({ produced: 90, acked: 90 })] })
    const cutAt = clock.now()
    await clock.advance(120_000)
    const booted = clock.now() - 20_000
    await fleet.connected(
      host,
      't',
      hello({ last_alive_ms: cutAt - 9_000, booted_ms: booted }, [counted({ produced: 88, acked: 80 })]),
    )
    await says({ renewals: [{ from: epoch, into: randomUUID(), why: 'ahead', at_ms: clock.now() }] })
    expect(await rig.store.db.selectFrom('signals').selectAll().execute()).toEqual([])
    expect((await windows()).map(({ reason, from }) => [reason, from])).toEqual([
      ['agent_stopped', new Date(booted).toISOString()],
      ['host_down', new Date(cutAt - 9_000).toISOString()],
      ['agent_stopped', expect.any(String)],
    ])
  })

  it('is told to be a copy instead when two machines were there at once, once for each pair', async () => {
    const [a, b] = [hello(), hello()]
    await fleet.connected(host, 's', a)
    await taken({ acked_seq: 90, stored: 90 })
    await says({ streams: [counted({ produced: 90, acked: 90 })] })
    await fleet.cloned(host, { hello: a, address: '192.0.2.1' }, { hello: b, address: '192.0.2.2' })
    await fleet.cloned(host, { hello: b, address: '192.0.2.2' }, { hello: a, address: '192.0.2.1' })
    await fleet.connected(host, 't', hello({ last_alive_ms: 1 }))
    await says({ renewals: [{ from: epoch, into: randomUUID(), why: 'forked', at_ms: clock.now() }] })
    const signals = await rig.store.db.selectFrom('signals').select(['rule_id', 'event']).execute()
    expect(signals.map((signal) => signal.rule_id)).toEqual(['host.cloned'])
    expect(signals[0]?.event).toContain('reset-identity')
    expect(signals[0]?.event).toContain('192.0.2.2')
  })
})

describe('what a host could see', () => {
  const source = (quality: SourceStatus['quality'], more: Partial<SourceStatus> = {}): SourceStatus => ({
    class: 'process',
    source: 'sensor',
    quality,
    since_ms: clock.now(),
    ...more,
  })

  it('follows its sources: each change ends one window and begins the next', async () => {
    const [t0, t1, t2] = [iso(0), iso(10), iso(20)]
    await says({ sources: [source('full')] })
    await says({ sources: [source('full')] })
    await clock.advance(600_000)
    await says({ sources: [source('partial', { source: 'polling', reason: 'degraded_to_polling', why: 'no BTF' })] })
    await clock.advance(600_000)
    await says({ sources: [source('full')] })
    expect(await windows()).toEqual([
      { class: 'process', reason: null, quality: 'full', from: t2, to: null, events: 0 },
      { class: 'process', reason: 'degraded_to_polling', quality: 'partial', from: t1, to: t2, events: 0 },
      { class: 'process', reason: null, quality: 'full', from: t0, to: t1, events: 0 },
    ])
    const [worse] = await coverage.ofClasses(['process'], SINCE, 10)
    expect(worse).toMatchObject({ source: 'polling', reason: 'degraded_to_polling', why: 'no BTF' })
    expect(await coverage.ofClasses(['file'], SINCE, 10)).toEqual([])
  })

  it('makes windows of gap records, joins what belongs together, and counts the events', async () => {
    await says({ sources: [source('full')] })
    await gap('kernel_overflow', 1, 1_000, { first_at: iso(-60), last_at: iso(-50) })
    await gap('kernel_overflow', 2_001, 2_204, { first_at: iso(-49.5), last_at: iso(-45) })
    await gap('kernel_overflow', 3_001, 3_002, { first_at: iso(-10), last_at: iso(-9) })
    await gap('too_large', 4_000, 4_000)
    // A time that cannot be is not believed.
    await gap('spool_full', 5_000, 5_009, { first_at: '1999-01-01T00:00:00.000Z', last_at: '2222-01-01T00:00:00.000Z' })
    const lost = (await windows()).filter(({ reason }) => reason !== null)
    const gaps = { class: 'process', reason: 'kernel_overflow', quality: 'blind' }
    expect(lost).toHaveLength(4)
    expect(lost).toEqual(
      expect.arrayContaining([
        { ...gaps, from: iso(-60), to: iso(-45), events: 1_204 },
        { ...gaps, from: iso(-10), to: iso(-9), events: 2 },
        { ...gaps, reason: 'too_large', quality: 'partial', from: iso(0), to: iso(0), events: 1 },
        { ...gaps, reason: 'spool_full', from: iso(0), to: iso(0), events: 10 },
      ]),
    )
    expect((await coverage.ofClasses(['process'], SINCE, 10))[0]?.source).toBe('sensor')
    // Looked at again, nothing is counted twice.
    expect((await windows()).filter(({ reason }) => reason !== null)).toEqual(lost)
    expect(await coverage.ofClasses(['process'], iso(-5), 10)).toHaveLength(2)
  })

  it('knows that nobody watched between two lives of the agent, and that a reconnect is none', async () => {
    const first = { id: randomUUID(), last_alive_ms: clock.now() - 600_000 }
    await fleet.connected(host, 's', hello(first))
    await fleet.connected(host, 't', hello(first))
    expect(await windows()).toEqual([
      { class: '*', reason: 'agent_stopped', quality: 'blind', from: iso(-10), to: iso(0), events: 0 },
    ])
    // A stop of less than a second is no window.
    await fleet.connected(host, 'u', hello({ last_alive_ms: clock.now() - 900 }))
    expect(await windows()).toHaveLength(1)
  })

  it('knows while the clock of the host is off', async () => {
    await says({ at_ms: clock.now() + 3_600_000 })
    await says({ at_ms: clock.now() + 3_600_000 })
    expect(await windows()).toMatchObject([{ class: '*', reason: 'clock', quality: 'partial', to: null }])
    await clock.advance(60_000)
    await says({ at_ms: clock.now() })
    expect(await windows()).toMatchObject([{ reason: 'clock', to: iso(0) }])
  })

  it('keeps so many windows of a host and no more, the latest', async () => {
    const { store: state } = rig
    const few = createCoverage(
      {
        state,
        clock,
        log: { info: () => undefined, error: () => undefined },
        metrics: new Registry(),
      },
      { keep_days: 90, max_windows_per_host: 100 },
    )
    for (let i = 0; i < 150; i++)
      await gap('spool_full', i + 1, i + 1, { first_at: iso(-10 * i - 20), last_at: iso(-10 * i - 20) })
    const kept = await few.ofHost(host, SINCE, 1_000)
    expect(kept).toHaveLength(100)
    expect(kept[0]?.from).toBe(iso(-20))
  })
})

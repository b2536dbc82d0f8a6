import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { AgentId, EventId } from '@firebreak/shared/ids.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { Registry } from 'prom-client'
import { Value } from 'typebox/value'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createAuditLog } from '../audit/audit-log.ts'
import { createMemoryBus } from '../store/bus/memory-bus.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { Severity, Signal, Triage, Verdict } from './index.ts'
import { createTriage } from './triage.ts'
import { TriageConfig } from './triage-config.ts'

let dir: string
let store: StateStore
let clock: FakeClock
let triage: Triage
let changed: string[]
let count = 0

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-triage-'))
  store = await openStateStore(join(dir, 'state.db'))
  clock = new FakeClock()
  changed = []
  const bus = createMemoryBus((topic, why) => {
    throw new Error(`${topic}: ${why}`)
  })
  bus.subscribe('incident.changed', ({ incidentId }) => void changed.push(incidentId))
  const log = { info: () => undefined, warn: () => undefined }
  const audit = createAuditLog(store, clock, signingKeyOf(generateSeed()))
  const telemetry = { prevalence: async () => ({ events: 0, hosts: 0 }) }
  triage = createTriage(
    { store, telemetry, bus, audit, clock, log, metrics: new Registry() },
    { ...(Value.Default(TriageConfig, {}) as TriageConfig), max_alerts_per_rule_and_host: 5 },
  )
})
afterEach(async () => {
  await store.close()
  rmSync(dir, { recursive: true, force: true })
})

interface Seen {
  readonly host?: string
  readonly rule?: string
  readonly level?: Severity
  readonly program?: string
  readonly lineage?: readonly string[]
  readonly user?: string
  readonly address?: string
  readonly hash?: string
  readonly tactics?: readonly string[]
}

function seen({ host = 'a', rule = 'r1', level = 'medium', program = '/tmp/x', lineage = [], ...more }: Seen): Signal {
  const at = new Date(clock.now()).toISOString()
  const [own, ...above] = lineage
  return {
    agentId: host as AgentId,
    detector: 'sigma',
    ruleId: rule,
    ruleTitle: `Rule ${rule}`,
    ruleSha256: '',
    level,
    ruleStatus: 'stable',
    techniques: ['T1059'],
    tactics: more.tactics ?? [],
    eventId: `e${count++}` as EventId,
    eventTime: at,
    event: {
      '@timestamp': at,
      process: {
        pid: 99,
        executable: program,
        ...(own === undefined ? {} : { entity_id: own }),
        ...(more.hash === undefined ? {} : { hash: { sha256: more.hash } }),
        ancestors: above.map((entity_id) => ({ pid: 98, entity_id, name: 'sh' })),
      },
      ...(more.user === undefined ? {} : { user: { name: more.user } }),
      ...(more.address === undefined ? {} : { destination: { ip: more.address } }),
    },
  }
}

async function take(...signals: readonly Signal[]) {
  const findings = await triage.prepare(signals)
  const outcome = await store.write((tx) => triage.take(tx, signals, findings))
  triage.announce(outcome)
  return outcome
}
const alerts = () => store.db.selectFrom('alerts').selectAll().orderBy('id').execute()
const open = () => store.db.selectFrom('incidents').selectAll().where('status', '!=', 'closed').orderBy('id').execute()
const HOUR = 3_600_000

describe('alerts', () => {
  it('count the same thing again within ten minutes and begin anew after', async () => {
    await take(seen({}))
    await clock.advance(9 * 60_000)
    await take(seen({}), seen({}))
    expect(await alerts()).toMatchObject([{ signal_count: 3, first_seen: '2026-01-01T00:00:00.000Z' }])
    await clock.advance(11 * 60_000)
    await take(seen({}))
    expect((await alerts()).map((alert) => alert.signal_count)).toEqual([3, 1])
  })

  it('take the same signal twice as once', async () => {
    const signal = seen({})
    await take(signal, signal)
    const again = await take(signal)
    expect(again).toMatchObject({ signals: 0, alerts: [], incidents: [] })
    expect(await alerts()).toMatchObject([{ signal_count: 1 }])
  })

  it('of one rule that floods a host with different programs end in one that takes the rest', async () => {
    for (let i = 0; i < 40; i++) await take(seen({ program: `/tmp/${i}` }))
    const all = await alerts()
    expect(all).toHaveLength(6)
    expect(Math.max(...all.map((alert) => alert.signal_count))).toBe(35)
  })

  it('that a person called false stay quiet for the window, and come back as new when they were called true', async () => {
    const [first] = (await take(seen({}))).alerts
    expect(
      await triage.setVerdict({ kind: 'alert', id: first as string }, 'false_positive', 'user:ann', 'backup job'),
    ).toMatchObject({ ok: true })
    await take(seen({}))
    expect(await alerts()).toMatchObject([{ signal_count: 2, status: 'closed', verdict: 'false_positive' }])

    const [second] = (await take(seen({ rule: 'r2' }))).alerts
    await triage.setVerdict({ kind: 'alert', id: second as string }, 'true_positive', 'user:ann', 'seen')
    await take(seen({ rule: 'r2' }))
    expect((await alerts()).filter((alert) => alert.dedup_key.includes('r2'))).toHaveLength(2)
  })
})

describe('incidents', () => {
  it('take in what one host tells within an hour, and not what it tells a day later', async () => {
    await take(seen({ rule: 'r1' }))
    await clock.advance(0.5 * HOUR)
    await take(seen({ rule: 'r2' }))
    expect(await open()).toHaveLength(1)
    await clock.advance(2 * HOUR)
    await take(seen({ rule: 'r3' }))
    expect(await open()).toHaveLength(2)
  })

  it.each<[string, Seen, Seen, number]>([
    ['a line of processes after the hour', { lineage: ['p2', 'p1'] }, { lineage: ['p3', 'p1'] }, 5],
    ['an account of one host after the hour', { user: 'mallory' }, { user: 'mallory' }, 3],
    ['an address on two hosts', { address: '203.0.113.9' }, { host: 'b', address: '203.0.113.9' }, 2],
    ['a file on two hosts', { hash: 'f00' }, { host: 'b', hash: 'f00' }, 2],
  ])('hold together by %s', async (_tie, first, second, hours) => {
    await take(seen({ rule: 'r1', ...first }))
    await clock.advance(hours * HOUR)
    await take(seen({ rule: 'r2', ...second }))
    expect(await open()).toHaveLength(1)
  })

  it.each<[string, Seen, Seen]>([
    ['root on two hosts', { user: 'root' }, { host: 'b', user: 'root' }],
    ['loopback on two hosts', { address: '127.0.0.1' }, { host: 'b', address: '127.0.0.1' }],
    [
      'a program of the distribution',
      { program: '/usr/bin/bash', hash: 'f00' },
      { host: 'b', program: '/usr/bin/bash', hash: 'f00' },
    ],
    ['process ids that two hosts happen to share', { lineage: ['p1'] }, { host: 'b', lineage: ['p1'] }],
  ])('are not tied by %s', async (_tie, first, second) => {
    await take(seen({ rule: 'r1', ...first }))
    await take(seen({ rule: 'r2', ...second }))
    expect(await open()).toHaveLength(2)
  })

  it('merge when an alert ties them, and the merged one points on with its history', async () => {
    await take(seen({ host: 'a', address: '203.0.113.1' }))
    await clock.advance(1000)
    await take(seen({ host: 'b', address: '203.0.113.2' }))
    const [first, second] = await open()
    await take(seen({ host: 'a', rule: 'r9', address: '203.0.113.2' }))
    expect(await open()).toMatchObject([{ id: first?.id, hosts: '["a","b"]' }])
    const merged = await store.db
      .selectFrom('incidents')
      .selectAll()
      .where('id', '=', String(second?.id))
      .executeTakeFirst()
    expect(merged).toMatchObject({ status: 'closed', merged_into: first?.id, first_seen: second?.first_seen })
    expect((await alerts()).every((alert) => alert.incident_id === first?.id)).toBe(true)
    expect(
      await triage.setVerdict({ kind: 'incident', id: String(second?.id) }, 'benign', 'user:ann', 'x'),
    ).toMatchObject({
      ok: false,
      code: 'merged',
    })
    const told = await store.db
      .selectFrom('audit')
      .select('action')
      .where('object_id', '=', String(second?.id))
      .execute()
    expect(told.map((line) => line.action)).toEqual(['triage.incident.opened', 'triage.incident.merged'])
  })

  it('stay with a person once they were handed over, however sure the machine becomes', async () => {
    const [id] = (await take(seen({}))).incidents
    await store.write((tx) =>
      tx
        .updateTable('incidents')
        .set({ escalated_why: 'the host is protected' })
        .where('id', '=', id as string)
        .execute(),
    )
    await take(seen({ rule: 'r2', level: 'critical' }))
    expect(await open()).toMatchObject([{ decision: 'act', route: 'ask' }])
  })

  it('that were contained are open again when another host is drawn in', async () => {
    const [id] = (await take(seen({ address: '203.0.113.9' }))).incidents
    await store.write((tx) =>
      tx
        .updateTable('incidents')
        .set({ status: 'contained' })
        .where('id', '=', id as string)
        .execute(),
    )
    await take(seen({ rule: 'r2' }))
    expect(await open()).toMatchObject([{ status: 'contained' }])
    await take(seen({ host: 'b', address: '203.0.113.9' }))
    expect(await open()).toMatchObject([{ status: 'open', hosts: '["a","b"]' }])
  })

  it('tell the other rooms only after the commit, and each once', async () => {
    const { incidents } = await take(seen({}), seen({ rule: 'r2' }))
    await new Promise((resolve) => setImmediate(resolve))
    expect(changed).toEqual(incidents)
  })
})

describe('a verdict', () => {
  it('on an incident closes it and its alerts, with a line in the audit log', async () => {
    const [id] = (await take(seen({}), seen({ rule: 'r2' }))).incidents
    const verdict: Verdict = 'true_positive'
    expect(await triage.setVerdict({ kind: 'incident', id: id as string }, verdict, 'user:ann', 'it was them')).toEqual(
      { ok: true, value: undefined },
    )
    expect(await open()).toEqual([])
    expect(await alerts()).toMatchObject([
      { status: 'closed', verdict },
      { status: 'closed', verdict },
    ])
    const [line] = await store.db.selectFrom('audit').selectAll().where('action', '=', 'triage.verdict.set').execute()
    expect(line).toMatchObject({ actor: 'user:ann', object_id: id })
  })

  it('of false on one alert lowers the incident; on the last one it closes it', async () => {
    const { alerts: ids } = await take(seen({ level: 'critical' }), seen({ rule: 'r2', level: 'medium' }))
    expect(await open()).toMatchObject([{ route: 'act', severity: 'critical' }])
    const critical = (await alerts()).find((alert) => alert.severity === 'critical')
    await triage.setVerdict({ kind: 'alert', id: String(critical?.id) }, 'false_positive', 'user:ann', 'a test')
    expect(await open()).toMatchObject([{ route: 'ask', severity: 'medium' }])
    for (const id of ids) await triage.setVerdict({ kind: 'alert', id }, 'false_positive', 'user:ann', 'a test')
    expect(await open()).toEqual([])
  })

  it('of benign on every alert closes the incident as benign', async () => {
    const { alerts: ids } = await take(seen({}), seen({ rule: 'r2' }))
    await triage.setVerdict({ kind: 'alert', id: String(ids[0]) }, 'benign', 'user:ann', 'planned')
    expect(await open()).toHaveLength(1)
    await triage.setVerdict({ kind: 'alert', id: String(ids[1]) }, 'false_positive', 'user:ann', 'noise')
    expect(await open()).toEqual([])
    expect(await store.db.selectFrom('incidents').select('verdict').execute()).toEqual([{ verdict: 'benign' }])
  })

  it('on what is not there is refused with a code', async () => {
    for (const kind of ['alert', 'incident'] as const) {
      expect(await triage.setVerdict({ kind, id: 'x' }, 'benign', 'user:ann', '')).toMatchObject({
        ok: false,
        code: 'not_found',
      })
    }
  })
})

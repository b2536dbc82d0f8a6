/** Correlations on the stream, over a real state store: what is raised, and that a restart neither loses nor doubles an event. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DISCOVERY, processEvent, Rig, type RigOptions, Site } from '../deciding.fixture.ts'
import type { StateStore } from '../store/state/state-store.ts'

const correlation = (condition: string, more = '') => `title: Many Discoveries
id: many
level: high
tags: [attack.discovery, attack.t1087]
correlation:
  type: event_count
  rules: [5d1ff1c2-5d9b-4a7e-bb1a-e0b7b0f6a1c4]
  group-by: [User]
  timespan: 10m
  condition: ${condition}
${more}`
/** Holds only at exactly three: one lost or one doubled and it is silent or comes at another event. */
const EXACTLY_THREE = correlation('{ eq: 3 }')

let site: Site
let clock: FakeClock
let open: Rig[]

beforeEach(() => {
  site = new Site()
  clock = new FakeClock()
  open = []
})
afterEach(async () => {
  for (const rig of open) await rig.stop()
  site.forget()
})
async function started(options: RigOptions = {}): Promise<Rig> {
  const rig = await Rig.open(site, clock, { rules: [DISCOVERY, EXACTLY_THREE], ...options })
  open.push(rig)
  await rig.start()
  return rig
}
/** Ends it as a stop does; another one may work on the same place. */
async function end(rig: Rig): Promise<void> {
  open = open.filter((other) => other !== rig)
  await rig.stop()
}
const discovery = (user = 'ann') => processEvent(clock, 'cat /etc/passwd', { user: { id: '1', name: user } })
async function see(rig: Rig, host: AgentId, user = 'ann'): Promise<void> {
  await rig.commit(host, [discovery(user)])
  await rig.settle()
}
const signals = async (rig: Rig) => {
  const rows = await rig.store.db.selectFrom('signals').selectAll().orderBy('event_time').execute()
  return rows.map((row) => ({
    rule: row.rule_id,
    eventId: row.event_id,
    event: JSON.parse(row.event ?? '{}') as { message?: string; firebreak?: { correlation?: Record<string, unknown> } },
  }))
}
const journalled = async (rig: Rig) => await rig.store.db.selectFrom('correlation_journal').selectAll().execute()

describe('a correlation on the stream', () => {
  it('raises one signal with its events and its group in words; the rule under it raises none', async () => {
    const rig = await started()
    const [one, two] = [await rig.host('web-1'), await rig.host('web-2')]
    await see(rig, one)
    await see(rig, two)
    await see(rig, two, 'bob')
    expect(await signals(rig)).toEqual([])
    await see(rig, one)
    expect(await signals(rig)).toEqual([
      {
        rule: 'many',
        eventId: `${one}:e:process:4`,
        event: expect.objectContaining({
          message: '3 events in 0 ms (User ann)',
          firebreak: {
            correlation: expect.objectContaining({
              group: { User: 'ann' },
              events: 3,
              event_ids: [`${one}:e:process:1`, `${two}:e:process:2`, `${one}:e:process:4`],
            }),
          },
        }),
      },
    ])
    expect(await rig.store.db.selectFrom('alerts').select(['title', 'techniques']).execute()).toEqual([
      { title: 'Many Discoveries', techniques: '["T1087"]' },
    ])
  })

  it('with generate leaves the rule under it its own signals', async () => {
    const rig = await started({ rules: [DISCOVERY, correlation('{ eq: 3 }', '  generate: true\n')] })
    const host = await rig.host('web-1')
    for (let n = 0; n < 3; n++) await see(rig, host)
    expect((await signals(rig)).map(({ rule }) => rule).sort()).toEqual([
      ...Array<string>(3).fill('5d1ff1c2-5d9b-4a7e-bb1a-e0b7b0f6a1c4'),
      'many',
    ])
  })

  it('stands in the list of rules with what it remembers, and in the metrics', async () => {
    const rig = await started()
    await see(rig, await rig.host('web-1'))
    expect(rig.detect.ruleList()).toMatchObject([
      { title: 'Account Discovery', matches: 1, correlation: null },
      {
        id: 'many',
        title: 'Many Discoveries',
        state: 'live',
        classes: ['process'],
        correlation: { windows: 1, events: 1 },
      },
    ])
    const metrics = await rig.metrics.metrics()
    expect(metrics).toContain('firebreak_detect_correlation_windows 1')
    expect(metrics).toContain('firebreak_detect_correlation_journal_events 1')
    expect(metrics).toContain('firebreak_detect_correlation_lost_total{rule="many",what="late"} 0')
  })

  it('takes an event of a clock in 2262 at the time when it came, and leaves one of 1970 in its own time', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    const at = (time: string) => ({ ...discovery(), '@timestamp': time })
    await see(rig, host)
    await rig.commit(host, [at('2261-12-31T00:00:00Z')])
    await rig.settle()
    await rig.commit(host, [at('1970-01-01T00:00:01Z')])
    await rig.settle()
    expect(rig.detect.ruleList()[1]?.correlation).toMatchObject({ events: 2, late: 1 })
    await see(rig, host)
    expect(await signals(rig)).toHaveLength(1)
  })
})

describe('a restart in the middle of a window', () => {
  it('neither loses nor doubles an event', async () => {
    const before = await started()
    const host = await before.host('web-1')
    await see(before, host)
    await clock.advance(60_000)
    await see(before, host)
    await end(before)
    await clock.advance(60_000)
    const after = await started()
    await see(after, host)
    expect(await signals(after)).toMatchObject([{ rule: 'many', eventId: expect.stringContaining(':e:process:1') }])
    expect((await signals(after))[0]?.event.firebreak?.correlation?.['events']).toBe(3)
    // And what was raised is not raised by making the memory again.
    await end(after)
    const again = await started()
    await see(again, host, 'bob')
    expect(await signals(again)).toHaveLength(1)
  })

  it('takes up a batch that was matched and not stored, and counts it once', async () => {
    let failing = true
    const dies = (store: StateStore): StateStore => ({
      db: store.db,
      healthy: () => !failing,
      close: () => store.close(),
      write: (work) => (failing ? Promise.reject(new Error('the power is gone')) : store.write(work)),
    })
    const before = await Rig.open(site, clock, { rules: [DISCOVERY, EXACTLY_THREE], wrapStore: dies })
    failing = false
    const host = await before.host('web-1')
    await before.detect.start()
    await before.commit(host, [discovery()])
    await before.detect.idle()
    failing = true
    await before.commit(host, [discovery()])
    for (let turn = 0; turn < 50; turn++) await clock.advance(10)
    await before.detect.stop()
    await before.store.close()
    expect(before.logged.map((line) => line.name)).toContain('detect.feed.failed')
    const after = await started()
    await after.settle()
    expect(await signals(after)).toEqual([])
    await see(after, host)
    expect(await signals(after)).toHaveLength(1)
  })

  it('and a store that fails for a while count every event once', async () => {
    let failing = 0
    const rig = await started({
      wrapStore: (store): StateStore => ({
        db: store.db,
        healthy: () => failing === 0,
        close: () => store.close(),
        async write(work) {
          if (failing > 0) {
            failing--
            throw new Error('disk full')
          }
          return await store.write(work)
        },
      }),
    })
    const host = await rig.host('web-1')
    await see(rig, host)
    failing = 3
    await rig.commit(host, [discovery()])
    for (let turn = 0; turn < 50; turn++) await clock.advance(10)
    expect(failing).toBe(0)
    await rig.settle()
    expect(rig.detect.ruleList()[1]?.correlation).toMatchObject({ events: 2 })
    await see(rig, host)
    expect(await signals(rig)).toHaveLength(1)
  })

  it('goes on past a row of the journal that is damaged, and names it', async () => {
    const before = await started()
    const host = await before.host('web-1')
    await see(before, host)
    await see(before, host)
    const [first] = await journalled(before)
    await before.store.write((tx) =>
      tx
        .updateTable('correlation_journal')
        .set({ body: Buffer.from('?') })
        .where('id', '=', first?.id ?? 0)
        .execute(),
    )
    await end(before)
    const after = await started()
    await see(after, host)
    expect(after.logged.filter(({ name }) => name === 'detect.correlation.journal_damaged')).toMatchObject([
      { fields: { row: first?.id } },
    ])
    expect(after.detect.ruleList()[1]?.correlation).toMatchObject({ events: 2 })
  })
})

describe('the journal', () => {
  it('forgets what can be counted no more', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    await see(rig, host)
    // Ten minutes of the window and an hour in which a late event may come.
    await clock.advance(70 * 60_000)
    await see(rig, host)
    expect(await journalled(rig)).toHaveLength(2)
    await clock.advance(1_000)
    await see(rig, host)
    expect(await journalled(rig)).toHaveLength(2)
  })

  it('is not written for rules that no correlation builds on', async () => {
    const rig = await started({ rules: [DISCOVERY] })
    await see(rig, await rig.host('web-1'))
    expect(await journalled(rig)).toEqual([])
    expect(await signals(rig)).toHaveLength(1)
  })
})

describe('rules that are read anew', () => {
  it('leave correlations where they were', async () => {
    const dir = site.rules([DISCOVERY, EXACTLY_THREE])
    const rig = await started({ ruleDirs: [dir] })
    const host = await rig.host('web-1')
    await see(rig, host)
    await see(rig, host)
    expect(await rig.detect.reloadRules()).toMatchObject({ live: 2 })
    await see(rig, host)
    expect(await signals(rig)).toHaveLength(1)
  })

  it('keep a correlation that is refused now in its last good version, and name one that never ran', async () => {
    const dir = site.rules([DISCOVERY, EXACTLY_THREE])
    const rig = await started({ ruleDirs: [dir] })
    writeFileSync(join(dir, '1.yml'), EXACTLY_THREE.replace('10m', 'ten minutes'))
    writeFileSync(join(dir, '2.yml'), EXACTLY_THREE.replace('id: many', 'id: self').replace('[5d1f', '[self, 5d1f'))
    expect(await rig.detect.reloadRules()).toMatchObject({ ready: true, live: 2, refused: 2, kept: 1 })
    expect(rig.detect.ruleList()).toMatchObject([
      { title: 'Account Discovery', state: 'live' },
      { id: 'many', state: 'live', why: expect.stringContaining('its last good version runs') },
      { id: 'self', state: 'refused', why: expect.stringContaining('it builds on itself: self → self') },
    ])
    rmSync(join(dir, '1.yml'))
    expect(await rig.detect.reloadRules()).toMatchObject({ live: 1 })
  })
})

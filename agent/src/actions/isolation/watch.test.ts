import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { eventSchema } from '@firebreak/shared/events/event.ts'
import { ok, refuse } from '@firebreak/shared/result.ts'
import { afterEach, expect, it } from 'vitest'
import { silentLog } from '../../log.ts'
import type { Firewall } from '../../platform/platform.ts'
import { holdFor, leftMs } from './lease.ts'
import { IsolationWatch } from './watch.ts'

const HOUR = 3_600_000
let watching: IsolationWatch | undefined
afterEach(async () => {
  await watching?.stop()
})

function watch(onControllerLoss: 'hold' | 'release') {
  const clock = new FakeClock()
  const hold = holdFor(HOUR, clock, 'this boot')
  const host = {
    clock,
    controllerAnswers: true,
    table: 'ours',
    lapsed: [] as string[],
    events: [] as Event[],
    change: () => undefined as void,
  }
  const firewall: Firewall = {
    canRun: () => Promise.resolve(ok()),
    ruleset: () => Promise.resolve(host.table),
    table: () => Promise.resolve(host.table === '' ? undefined : host.table),
    apply: () => Promise.resolve(ok()),
    deleteTable: () => Promise.resolve(ok()),
    counters: () => Promise.resolve(new Map([['out_tcp', 7]])),
    watch(onChange) {
      host.change = onChange
      return { stop: () => Promise.resolve() }
    },
  }
  watching = new IsolationWatch({
    commandId: 'c',
    onControllerLoss,
    firewall,
    clock,
    log: silentLog,
    link: {
      controllers: () => Promise.resolve([]),
      confirm: () => Promise.resolve(host.controllerAnswers ? ok(1) : refuse('unreachable', 'nobody')),
    },
    emit: (event) => host.events.push(event),
    leftMs: () => leftMs(hold, clock, 'this boot'),
    isIntact: (table) => table === 'ours',
    reassert() {
      host.table = 'ours'
      return Promise.resolve(ok())
    },
    onIntact: () => undefined,
    lapse(why) {
      host.lapsed.push(why)
      return Promise.resolve()
    },
    lease: undefined,
  })
  watching.start()
  return host
}

it('lets the isolation lapse at the end of its hold and not before', async () => {
  const host = watch('hold')
  await host.clock.advance(HOUR - 1_000)
  expect(host.lapsed).toEqual([])
  await host.clock.advance(2_000)
  expect(host.lapsed).toEqual(['the hold is over'])
})

it('is not shortened by somebody who sets the wall clock forward', async () => {
  const host = watch('release')
  host.clock.setWall(host.clock.now() + 10 * HOUR)
  await host.clock.advance(HOUR / 2)
  expect(host.lapsed).toEqual([])
})

it('without a controller at the end: `hold` keeps the host isolated until one is back', async () => {
  const host = watch('hold')
  host.controllerAnswers = false
  await host.clock.advance(5 * HOUR)
  expect(host.lapsed).toEqual([])
  host.controllerAnswers = true
  await host.clock.advance(31_000)
  expect(host.lapsed).toEqual(['the hold is over'])
})

it('without a controller at the end: `release` frees the host', async () => {
  const host = watch('release')
  host.controllerAnswers = false
  await host.clock.advance(HOUR + 1_000)
  expect(host.lapsed).toEqual(['the hold is over and no controller answered'])
})

it('puts the rules back without waiting for a change to be announced, within a second', async () => {
  const host = watch('hold')
  await host.clock.advance(10_000)
  host.table = ''
  await host.clock.advance(1_100)
  expect(host.table).toBe('ours')
  expect(host.events).toHaveLength(1)
  expect(eventSchema.Check(host.events[0])).toBe(true)
  const containment = host.events[0]?.firebreak?.containment
  expect(containment).toMatchObject({ command_id: 'c', packets: 7 })
  expect(containment?.gap_ms).toBeLessThanOrEqual(1_100)
})

it('goes on putting them back when it is undone in a loop, and raises at most about an alert a second', async () => {
  const host = watch('hold')
  await host.clock.advance(1_000)
  for (let i = 0; i < 100; i++) {
    host.table = i % 2 === 0 ? '' : 'changed by somebody'
    host.change()
    await host.clock.advance(100)
    expect(host.table).toBe('ours')
  }
  await host.clock.advance(2_000)
  expect(host.events.length).toBeGreaterThan(5)
  expect(host.events.length).toBeLessThan(15)
  expect(watching?.drifts).toBe(100)
})

import type { Credit } from '@firebreak/shared/wire/messages.ts'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Admission, type Lane } from './admission.ts'
import { gatewayMetrics } from './log-names.ts'

const LIMITS = { queued_bytes: 1_000_000, batches_at_once: 2, events_per_agent_per_s: 1_000 }
let admission: Admission
let fullness: number
let told: string[]
/** Batches under way, in the order in which they were begun. */
let begun: { readonly of: string; done(): Promise<void> }[]

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] })
  fullness = 0
  begun = []
  told = []
  const tick = () => performance.now()
  admission = new Admission(LIMITS, { fullness: () => fullness }, gatewayMetrics(new Registry()), tick, (state) =>
    told.push(state),
  )
})
afterEach(() => {
  admission.stop()
  vi.useRealTimers()
})

interface Host {
  readonly lane: Lane
  readonly credits: Credit[]
  paused: boolean
  offer(events?: number, bytes?: number): boolean
}

function host(agentId: string): Host {
  const credits: Credit[] = []
  const made = { credits, paused: false }
  const lane = admission.join({
    agentId,
    credit: (credit) => credits.push(credit),
    pause: () => {
      made.paused = true
    },
    resume: () => {
      made.paused = false
    },
  })
  return Object.assign(made, {
    lane,
    offer(events = 10, bytes = 1_000) {
      const gate = Promise.withResolvers<void>()
      const store = () => {
        begun.push({
          of: agentId,
          async done() {
            gate.resolve()
            for (let turn = 0; turn < 5; turn++) await Promise.resolve()
          },
        })
        return gate.promise
      }
      return lane.offer({ events, bytes, store })
    },
  })
}

const order = () => begun.map(({ of }) => of).join('')
async function finish(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await begun[i]?.done()
}

it('lets agents take turns: who sends much waits behind itself', async () => {
  const [a, b, c] = [host('a'), host('b'), host('c')]
  for (let i = 0; i < 6; i++) a.offer(1_000)
  expect(order()).toBe('a')
  b.offer(1_000)
  c.offer(1_000)
  expect(order()).toBe('ab')
  await finish(1)
  expect(order()).toBe('abc')
  await finish(3)
  for (let i = 3; i < 8; i++) {
    vi.advanceTimersByTime(2_000)
    await begun[i]?.done()
  }
  expect(order()).toBe('abcaaaaa')
})

it('stores small batches of an agent beside each other, so that they share a commit, and those of others before its next full one', () => {
  const a = host('a')
  for (let i = 0; i < 12; i++) a.offer(10)
  expect(order()).toBe('a'.repeat(12))
  a.offer(1_000)
  host('b').offer(10)
  expect(order()).toBe(`${'a'.repeat(12)}b`)
})

it('stores no more of an agent a second than its rate, also when it connects anew, and others at once', async () => {
  const a = host('a')
  for (let i = 0; i < 3; i++) a.offer(600)
  await finish(1)
  await finish(2)
  expect(order()).toBe('aa')
  a.lane.leave()
  const again = host('a')
  again.offer(600)
  host('b').offer(600)
  expect(order()).toBe('aab')
  vi.advanceTimersByTime(150)
  expect(order()).toBe('aab')
  vi.advanceTimersByTime(100)
  expect(order()).toBe('aaba')
})

it('counts a batch with hardly an event as some, so that many small ones are no way around the rate', async () => {
  const a = host('a')
  for (let i = 0; i < 16; i++) a.offer(1)
  for (let i = 0; i < 16; i++) await begun[i]?.done()
  for (let i = 0; i < 16; i++) a.offer(1)
  for (let i = 16; i < 32; i++) await begun[i]?.done()
  expect(order()).toHaveLength(20)
})

it('refuses what no credit ever allowed', () => {
  const a = host('a')
  fullness = 1
  for (let i = 0; i < 16; i++) expect(a.offer()).toBe(true)
  expect(a.offer()).toBe(false)
})

it('gives less credit as the store falls behind, takes nothing when it is full, and goes on by itself', async () => {
  const a = host('a')
  expect(a.lane.credit.events).toBe(8_000)
  fullness = 0.75
  vi.advanceTimersByTime(50)
  expect(a.credits.at(-1)?.events).toBe(4_000)
  fullness = 1
  vi.advanceTimersByTime(50)
  expect(a.credits.at(-1)?.events).toBe(1)
  a.offer()
  expect(order()).toBe('')
  fullness = 0.2
  vi.advanceTimersByTime(50)
  expect(order()).toBe('a')
  expect(a.credits.at(-1)?.events).toBe(8_000)
  expect(told).toEqual(['stopped', 'resumed'])
})

it('gives less credit while storing is slow', async () => {
  const a = host('a')
  for (let i = 0; i < 10; i++) {
    a.offer()
    vi.advanceTimersByTime(5_000)
    await begun[i]?.done()
  }
  vi.advanceTimersByTime(50)
  expect(a.credits.at(-1)?.events).toBeLessThan(1_500)
  vi.advanceTimersByTime(2_000)
  expect(a.credits.at(-1)?.events).toBeGreaterThan(6_000)
})

it('shares its memory among the agents, and reads from nobody while more waits than it has', async () => {
  const [a, b] = [host('a'), host('b')]
  expect(b.lane.credit.bytes).toBe(500_000)
  fullness = 1
  for (let i = 0; i < 3; i++) a.offer(10, 300_000)
  expect([a.paused, b.paused]).toEqual([false, false])
  b.offer(10, 300_000)
  expect([a.paused, b.paused, host('c').paused]).toEqual([true, true, true])
  expect(admission.queuedBytes()).toBe(1_200_000)
  a.lane.leave()
  expect(admission.queuedBytes()).toBe(300_000)
  vi.advanceTimersByTime(50)
  expect(b.paused).toBe(false)
})

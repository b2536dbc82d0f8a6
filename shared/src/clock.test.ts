import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { bootTime, systemClock } from './clock.ts'

/** A machine that can be put to sleep and whose wall clock can be set. */
function machine() {
  const state = { awake: 5_000, asleep: 0, wallOffset: 1_000_000, looks: 0 }
  const clock = bootTime({
    monotonicMs: () => state.awake,
    uptimeMs() {
      state.looks++
      return Math.floor((state.awake + state.asleep) / 10) * 10
    },
    wallMs: () => state.wallOffset + state.awake + state.asleep,
  })
  return { state, clock }
}

it('counts the time that the machine slept, at the first look after it', () => {
  const { state, clock } = machine()
  const before = clock()
  state.asleep += 3_600_000
  state.awake += 1
  expect(clock() - before).toBeGreaterThanOrEqual(3_600_000 - 10)
})

it('counts it within a second when the wall clock was set back by as much', () => {
  const { state, clock } = machine()
  const before = clock()
  state.asleep += 60_000
  state.wallOffset -= 60_000
  state.awake += 1_000
  expect(clock() - before).toBeGreaterThanOrEqual(61_000 - 10)
})

it('looks the time since boot up once a second, however often it is asked', () => {
  const { state, clock } = machine()
  for (let i = 0; i < 10_000; i++) {
    state.awake += 0.3
    clock()
  }
  expect(state.looks).toBeLessThanOrEqual(4)
})

it('never goes back, and never runs ahead of the time since boot', () => {
  const { state, clock } = machine()
  let last = clock()
  for (let i = 0; i < 5_000; i++) {
    state.awake += (i * 7) % 40
    if (i % 97 === 0) state.asleep += 1_003
    if (i % 31 === 0) state.wallOffset += i % 2 === 0 ? 5_000 : -5_000
    const now = clock()
    expect(now).toBeGreaterThanOrEqual(last)
    expect(now).toBeLessThanOrEqual(state.awake + state.asleep)
    last = now
  }
})

it.skipIf(process.platform !== 'linux')(
  'on Linux it is the time since boot, also for another process of the same boot',
  () => {
    const uptime = Number.parseFloat(readFileSync('/proc/uptime', 'latin1')) * 1000
    expect(Math.abs(systemClock.monotonic() - uptime)).toBeLessThan(100)
  },
)

import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { classOf } from '@firebreak/shared/events/classes.ts'
import { type Event, eventSchema } from '@firebreak/shared/events/event.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TrustStore } from './identity/trust-store.ts'
import type { LogFields } from './log.ts'
import { silentLog } from './log.ts'
import { AGENT_LOG } from './log-names.ts'
import { type TrustExpiry, watchTrustExpiry } from './trust-expiry.ts'

const HOUR_MS = 3_600_000
const clock = new FakeClock(Date.UTC(2026, 0, 1))
let expiresAt = 0
let told: Event[] = []
let logged: [string, LogFields | undefined][] = []
let expiry: TrustExpiry

/** A trust file of which only the end of its life matters here. */
const trust = {
  current: () => ({
    file: { version: 7, expires_at: new Date(expiresAt).toISOString() },
    expired: (nowMs: number) => nowMs >= expiresAt,
  }),
} as unknown as TrustStore

beforeEach(() => {
  told = []
  logged = []
  expiresAt = clock.now() + HOUR_MS
  expiry = watchTrustExpiry({
    trust,
    clock,
    log: { ...silentLog, error: (name, fields) => logged.push([name, fields]) },
    emit: (event) => told.push(event),
  })
})
afterEach(() => expiry.stop())

describe('an expired trust file', () => {
  it('is an alert within a minute, and none while it is valid', async () => {
    await clock.advance(HOUR_MS - 60_000)
    expect(told).toEqual([])
    await clock.advance(120_000)
    expect(told).toHaveLength(1)
    expect(eventSchema.Check(told[0])).toBe(true)
    expect(classOf(told[0] as Event)).toBe('alert')
    expect(told[0]?.message).toContain(new Date(expiresAt).toISOString())
    expect(logged).toEqual([[AGENT_LOG.trustExpired, { version: 7, expires_at: new Date(expiresAt).toISOString() }]])
  })

  it('is told once a day while it lasts', async () => {
    await clock.advance(HOUR_MS + 60_000)
    await clock.advance(23 * HOUR_MS)
    expect(told).toHaveLength(1)
    await clock.advance(2 * HOUR_MS)
    expect(told).toHaveLength(2)
  })

  it('is told at once when it happens again after a newer file', async () => {
    await clock.advance(HOUR_MS + 60_000)
    expiresAt = clock.now() + HOUR_MS
    expiry.look()
    await clock.advance(HOUR_MS + 60_000)
    expect(told).toHaveLength(2)
  })

  it('is not looked for any more once the agent stops', async () => {
    expiry.stop()
    await clock.advance(2 * HOUR_MS)
    expect(told).toEqual([])
  })
})

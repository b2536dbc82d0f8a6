import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { Keeper } from './keeper.ts'
import { telemetryMetrics } from './log-names.ts'
import { expired } from './retention.ts'
import type { ClassStats, RetentionPolicy, TelemetryStats } from './telemetry-store.ts'

function holding(days: ClassStats[]) {
  const stats = (): TelemetryStats => ({
    events: days.reduce((sum, { events }) => sum + events, 0),
    bytes: days.reduce((sum, { bytes }) => sum + bytes, 0),
    parts: days.length,
    days,
    retainedSince: {},
  })
  return {
    stats: async () => stats(),
    retain: async (policy: RetentionPolicy, nowMs: number) => {
      const gone = expired(stats(), policy, nowMs)
      days = days.filter((part) => !gone.some(({ day, class: name }) => day === part.day && name === part.class))
      return gone
    },
  }
}

const part = (day: string, name: string, bytes = 100): ClassStats => ({ day, class: name, events: 10, bytes, parts: 3 })
const KEEP = { alert: 365, process: 90, authentication: 180, network: 60, file: 30, inventory: 180 }

describe('keeping events', () => {
  it('tells in the log and in a figure what it let go, and why, time after time', async () => {
    const clock = new FakeClock(Date.parse('2026-03-01T00:00:00Z'))
    const telemetry = holding([
      part('2026-01-01', 'file'),
      part('2026-02-20', 'file'),
      part('2026-02-20', 'alert'),
      part('2026-03-01', 'process'),
    ])
    const lines: string[] = []
    const note = (level: string) => (name: string, fields: Readonly<Record<string, unknown>>) =>
      lines.push(`${level} ${name} ${String(fields['day'])} ${String(fields['class'])} ${String(fields['why'])}`)
    const registry = new Registry()
    const log = { info: note('info'), warn: note('warn'), error: note('error') }
    const keeper = new Keeper(
      { telemetry, clock, log, metrics: telemetryMetrics(registry) },
      { keep_days: KEEP, max_bytes: 250, check_every_s: 60 },
    )
    await keeper.start()
    await expect
      .poll(() => lines)
      .toEqual(['info telemetry.day.expired 2026-01-01 file age', 'warn telemetry.day.expired 2026-02-20 file size'])
    await expect.poll(async () => await registry.metrics()).toContain('firebreak_telemetry_events{class="process"} 10')
    expect(await registry.metrics()).toContain('firebreak_telemetry_events_expired_total{class="file",why="size"} 10')
    expect(await registry.metrics()).not.toContain('firebreak_telemetry_events{class="file"}')
    await keeper.stop()
  })
})

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it, vi } from 'vitest'
import { buildStorm } from '../../../sensor/testing/build-storm.ts'
import { noSensor } from './sensor.fixture.ts'
import { WatchedHost } from './watched-host.fixture.ts'

const why = noSensor()

describe.skipIf(why)(`a burst of processes over the sensor${why ? ` (skipped: ${why})` : ''}`, () => {
  it('loses none of 8,000 short processes without counting it, and goes on', { timeout: 180_000 }, async () => {
    const events = { started: 0, ended: 0 }
    let storm: ChildProcess | undefined
    await using burst = await new WatchedHost({
      take: ({ event, process }) => {
        if (process?.parent?.pid !== storm?.pid || storm?.pid === undefined) return
        if (event.action === 'process-started' || event.action === 'fork') events.started += 1
        if (event.action === 'process-ended') events.ended += 1
      },
    }).start()
    const count = 8_000
    storm = spawn(buildStorm(), ['processes', String(count), '0'], { stdio: 'ignore' })
    await once(storm, 'exit')
    await vi.waitFor(
      () => {
        expect(events.started + burst.lost('process')).toBeGreaterThanOrEqual(count)
        expect(events.ended + burst.lost('process')).toBeGreaterThanOrEqual(count)
      },
      { timeout: 30_000, interval: 100 },
    )
    if (burst.lost('process') === 0) expect(events).toEqual({ started: count, ended: count })
    expect(burst.source('process')).toMatchObject({ source: 'sensor' })
  })
})

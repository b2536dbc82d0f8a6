import { describe, expect, it } from 'vitest'
import { burstOfProcesses } from './process-burst.fixture.ts'
import { noSensor } from './sensor.fixture.ts'

const why = noSensor()

// The long form, 100,000 of them: `npm run bench -- sensor-burst`.
describe.skipIf(why)(`a burst of processes over the sensor${why ? ` (skipped: ${why})` : ''}`, () => {
  it('loses none of 8,000 short processes without counting it, and goes on', { timeout: 180_000 }, async () => {
    const count = 8_000
    const burst = await burstOfProcesses(count, 30_000)
    expect(burst.started + burst.lost).toBeGreaterThanOrEqual(count)
    expect(burst.ended + burst.lost).toBeGreaterThanOrEqual(count)
    expect(Math.max(burst.started, burst.ended)).toBeLessThanOrEqual(count)
    if (burst.lost === 0) expect(burst).toMatchObject({ started: count, ended: count })
    expect(burst.source).toMatchObject({ source: 'sensor' })
  })
})

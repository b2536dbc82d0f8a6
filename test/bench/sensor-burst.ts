/** The long form of the burst test: 100,000 short processes as fast as they start, each told or counted as lost. */
import { burstOfProcesses } from '@firebreak/agent/src/collectors/kernel/process-burst.fixture.ts'
import { noSensor } from '@firebreak/agent/src/collectors/kernel/sensor.fixture.ts'
import type { Bench } from './bench.ts'

export const sensorBurstBench: Bench = {
  name: 'sensor-burst',
  describe: 'a burst of 100,000 short processes through all collectors: nothing lost uncounted',
  async run({ short, say }) {
    const why = noSensor()
    if (why) throw new Error(`no kernel sensor here: ${why}`)
    const count = short ? 10_000 : 100_000
    const { started, ended, lost, perSecond, behindMs, source } = await burstOfProcesses(count, 120_000)
    for (const [name, told] of [
      ['starts', started],
      ['ends', ended],
    ] as const) {
      say(`${told} ${name} told, ${lost} counted as lost, of ${count}`)
      if (told > count) throw new Error(`${told - count} ${name} were told twice`)
      if (told + lost < count) throw new Error(`${count - told - lost} ${name} are lost and not counted`)
    }
    if (source?.source !== 'sensor') throw new Error(`afterwards processes come from ${source?.source ?? 'nowhere'}`)
    return {
      metrics: {
        processes: count,
        per_s: perSecond,
        starts_told: started,
        ends_told: ended,
        lost_counted: lost,
        behind_ms: behindMs,
      },
      ratios: { told_or_counted: Math.min(1, (Math.min(started, ended) + lost) / count) },
    }
  },
}

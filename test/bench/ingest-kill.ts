/** The long form of the kill test: every acked event stored once over 500 deaths of the controller. */
import { killRepeatedly } from '../fault/kill-cycles.ts'
import type { Bench } from './bench.ts'

export const ingestKillBench: Bench = {
  name: 'ingest-kill',
  describe: 'kill -9 of the controller during ingest, 500 times: every acked event stored once',
  async run({ short, say }) {
    const began = performance.now()
    const report = await killRepeatedly(short ? 20 : 500, 20, say)
    for (const line of report.wrong) say(`wrong: ${line}`)
    if (report.wrong.length > 0) throw new Error(`after ${report.kills} kills: ${report.wrong[0]}`)
    return {
      metrics: {
        kills: report.kills,
        events_produced: report.produced,
        events_stored: report.stored.events,
        events_distinct: report.stored.distinct,
        seconds: (performance.now() - began) / 1_000,
      },
      ratios: { stored_to_produced: report.stored.events / report.produced },
    }
  },
}

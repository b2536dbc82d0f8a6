/**
 * Correlations with as many groups as an attacker makes up: what an event costs and what they take of memory, with 1 %, 10 % and all of
 * a million keys, where 100,000 windows may be open, and where all may. A `value_count` over two grouping fields, one core.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Bench, BenchOptions, BenchResult } from './bench.ts'
import type { CorrelationFigures, CorrelationRun } from './correlation-run.ts'

const run = promisify(execFile)
const KEYS = 1_000_000

export const correlationBench: Bench = {
  name: 'correlation',
  describe: 'Correlations over a million keys with 100,000 and 1,000,000 windows: cost an event, memory.',
  run: measure,
}

async function measure({ short, say }: BenchOptions): Promise<BenchResult> {
  const events = short ? 250_000 : 1_000_000
  const bounded = { windows: 100_000, events, lateOneIn: 0 }
  const figures = async (asked: CorrelationRun): Promise<CorrelationFigures> => {
    const file = join(import.meta.dirname, 'correlation-run.ts')
    const { stdout } = await run(process.execPath, ['--expose-gc', file, JSON.stringify(asked)])
    say(`${JSON.stringify(asked)} ${stdout.trim()}`)
    return JSON.parse(stdout) as CorrelationFigures
  }
  const one = await figures({ ...bounded, keys: KEYS / 100 })
  const ten = await figures({ ...bounded, keys: KEYS / 10 })
  const all = await figures({ ...bounded, keys: KEYS })
  const late = await figures({ ...bounded, keys: KEYS / 10, lateOneIn: 10 })
  const open = await figures({ windows: KEYS, events, lateOneIn: 0, keys: KEYS })
  return {
    metrics: {
      keys_1_percent_ns_per_event: one.ns_per_event,
      keys_10_percent_ns_per_event: ten.ns_per_event,
      keys_all_ns_per_event: all.ns_per_event,
      a_tenth_late_ns_per_event: late.ns_per_event,
      keys_all_windows: all.windows,
      keys_all_evicted_windows: all.evicted_windows,
      keys_1_percent_rss_bytes: one.rss_bytes,
      keys_10_percent_rss_bytes: ten.rss_bytes,
      keys_all_rss_bytes: all.rss_bytes,
      windows_1000000_ns_per_event: open.ns_per_event,
      windows_1000000_rss_bytes: open.rss_bytes,
      windows_1000000_bytes_per_window: (open.rss_bytes - open.rss_before_bytes) / open.windows,
      windows_1000000_held_events: open.held_events,
    },
    ratios: {
      cost_10_percent_against_1_percent_of_keys: ten.ns_per_event / one.ns_per_event,
      cost_all_against_1_percent_of_keys: all.ns_per_event / one.ns_per_event,
      cost_all_against_10_percent_of_keys: all.ns_per_event / ten.ns_per_event,
      rss_all_against_10_percent_of_keys: all.rss_bytes / ten.rss_bytes,
      cost_1000000_against_100000_windows: open.ns_per_event / all.ns_per_event,
      cost_late_against_in_order: late.ns_per_event / ten.ns_per_event,
    },
  }
}

/** One measurement of the correlation bench in a process of its own, so that its memory is its own: arguments as JSON, figures on standard output. */
import { Correlator } from '@firebreak/shared/sigma/correlate/correlator.ts'
import { CORRELATION_LIMITS } from '@firebreak/shared/sigma/correlate/limits.ts'
import { parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan } from '@firebreak/shared/sigma/plan.ts'

export interface CorrelationRun {
  /** Groups that come, evenly and in no order. */
  readonly keys: number
  /** Groups that may be remembered. */
  readonly windows: number
  readonly events: number
  /** One event in so many comes a minute late; 0: none. */
  readonly lateOneIn: number
}

export interface CorrelationFigures {
  readonly ns_per_event: number
  readonly rss_bytes: number
  readonly rss_before_bytes: number
  readonly windows: number
  readonly held_events: number
  readonly evicted_windows: number
  readonly firings: number
}

const RULES = `title: Failed
id: failed
detection:
  s: { outcome: failure }
  condition: s
---
title: Many
id: many
correlation:
  type: value_count
  rules: [failed]
  group-by: [source.ip, user.name]
  timespan: 1h
  condition: { field: host.name, gte: 40 }
`

const asked = process.argv[2]
if (asked !== undefined) console.log(JSON.stringify(measure(JSON.parse(asked) as CorrelationRun)))

function measure({ keys, windows, events, lateOneIn }: CorrelationRun): CorrelationFigures {
  const { rules, correlations } = parseRules([{ file: 'bench.yml', text: RULES }])
  const plan = compilePlan(rules, { correlations })
  const [rule] = plan.rules
  if (rule === undefined) throw new Error('the rule of the bench is refused')
  const correlator = new Correlator(plan.correlations, { ...CORRELATION_LIMITS, windows, windowsPerRule: windows })
  const rssBefore = process.memoryUsage.rss()
  let firings = 0
  const feed = (from: number, to: number) => {
    for (let n = from; n < to; n++) {
      // A multiplicative walk: every key as often as any other, none near the one before.
      const key = (n * 2_654_435_761) % keys
      const late = lateOneIn > 0 && n % lateOneIn === 0 ? 60_000 : 0
      const fields = new Map([
        ['source.ip', `10.${key & 255}.${(key >> 8) & 255}.${key >> 16}`],
        ['user.name', `user-${key}`],
        ['host.name', `host-${n % 50}`],
      ])
      const timeMs = 1_700_000_000_000 + n - late
      const observed = { timeMs, receivedMs: 1_700_000_000_000 + n, refs: `agent:epoch:authentication:${n}`, fields }
      firings += correlator.take(rule, observed).length
    }
  }
  // Every window is open before anything is measured.
  feed(0, Math.max(keys, 200_000))
  const start = Math.max(keys, 200_000)
  // The least disturbed of several rounds.
  let best = Number.POSITIVE_INFINITY
  const part = Math.ceil(events / 5)
  for (let round = 0; round < 5; round++) {
    const began = process.cpuUsage()
    feed(start + round * part, start + (round + 1) * part)
    const { user, system } = process.cpuUsage(began)
    best = Math.min(best, ((user + system) * 1_000) / part)
  }
  globalThis.gc?.()
  const figures = [...correlator.figures().values()][0]
  return {
    ns_per_event: best,
    rss_bytes: process.memoryUsage.rss(),
    rss_before_bytes: rssBefore,
    windows: correlator.held.windows,
    held_events: correlator.held.events,
    evicted_windows: figures?.evictedWindows ?? 0,
    firings,
  }
}

/** Log names and metrics of this room. */
import { Counter, Gauge, type Registry } from 'prom-client'

export type IndicatorsLogName =
  | 'indicators.set.loaded'
  | 'indicators.import.completed'
  | 'indicators.warning_list.refused'
  | 'indicators.hunt.ended'
  | 'indicators.hunt.failed'
  | 'indicators.feed.failed'
  | 'indicators.feed.fetched'

type Fields = Readonly<Record<string, unknown>>
export interface IndicatorsLog {
  info(name: IndicatorsLogName, fields: Fields): void
  warn(name: IndicatorsLogName, fields: Fields): void
  error(name: IndicatorsLogName, fields: Fields): void
}

export interface IndicatorsMetrics {
  readonly inForce: Gauge
  readonly memory: Gauge
  readonly hits: Counter<'warned'>
  readonly huntHits: Counter
  readonly huntFailures: Counter
  readonly feedFailures: Counter<'feed'>
}

export function indicatorsMetrics(registry: Registry): IndicatorsMetrics {
  const registers = [registry]
  return {
    inForce: new Gauge({ name: 'firebreak_indicators', help: 'Values that are matched on.', registers }),
    memory: new Gauge({ name: 'firebreak_indicators_bytes', help: 'Memory of the values.', registers }),
    hits: new Counter({
      name: 'firebreak_indicators_hits_total',
      help: 'Values of events that an indicator names; warned: of those on a warning list.',
      labelNames: ['warned'],
      registers,
    }),
    huntHits: new Counter({
      name: 'firebreak_indicators_hunt_hits_total',
      help: 'Stored events that a new indicator names.',
      registers,
    }),
    huntFailures: new Counter({
      name: 'firebreak_indicators_hunt_failures_total',
      help: 'Times that a look-up of new indicators in stored events failed; it is tried again.',
      registers,
    }),
    feedFailures: new Counter({
      name: 'firebreak_indicators_feed_failures_total',
      help: 'Fetches of a feed that failed; what it said before stays in force.',
      labelNames: ['feed'],
      registers,
    }),
  }
}

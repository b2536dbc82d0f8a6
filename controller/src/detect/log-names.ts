/** Log names and metrics of this room. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type DetectLogName =
  | 'detect.rules.loaded'
  | 'detect.rules.kept'
  | 'detect.rule.refused'
  | 'detect.rule.kept'
  | 'detect.rule.failed'
  | 'detect.rule.switched_off'
  | 'detect.correlation.restored'
  | 'detect.correlation.journal_damaged'
  | 'detect.event.overmatched'
  | 'detect.batch.failed'
  | 'detect.signal.failed'
  | 'detect.feed.failed'

type Fields = Readonly<Record<string, unknown>>
export interface DetectLog {
  info(name: DetectLogName, fields: Fields): void
  warn(name: DetectLogName, fields: Fields): void
  error(name: DetectLogName, fields: Fields): void
}

export interface DetectMetrics {
  readonly events: Counter
  readonly signals: Counter<'level' | 'detector'>
  readonly rulesLive: Gauge
  readonly rulesRefused: Gauge<'code'>
  readonly ruleFailures: Counter
  readonly overmatched: Counter
  readonly batchFailures: Counter
  readonly signalFailures: Counter
  readonly correlationWindows: Gauge
  readonly correlationEvents: Gauge
  readonly correlationLost: Counter<'rule' | 'what'>
  readonly correlationJournal: Gauge
  readonly correlationJournalEvicted: Counter
  readonly correlationJournalDamaged: Counter
  /** Called before the figures of correlations are read. */
  onScrape(measure: () => void): void
  readonly matchSeconds: Histogram
  readonly lagSeconds: Histogram
}

export function detectMetrics(registry: Registry): DetectMetrics {
  const registers = [registry]
  let measure = () => {}
  return {
    events: new Counter({
      name: 'firebreak_detect_events_total',
      help: 'Events matched against the rules.',
      registers,
    }),
    signals: new Counter({
      name: 'firebreak_detect_signals_total',
      help: 'Signals found.',
      labelNames: ['level', 'detector'],
      registers,
    }),
    rulesLive: new Gauge({ name: 'firebreak_detect_rules', help: 'Rules that run.', registers }),
    rulesRefused: new Gauge({
      name: 'firebreak_detect_rules_refused',
      help: 'Rules that could not be taken, by reason; the log names each.',
      labelNames: ['code'],
      registers,
    }),
    ruleFailures: new Counter({
      name: 'firebreak_detect_rule_failures_total',
      help: 'Times that a rule failed on an event; the other rules went on.',
      registers,
    }),
    overmatched: new Counter({
      name: 'firebreak_detect_matches_dropped_total',
      help: 'Matches past the limit of one event.',
      registers,
    }),
    batchFailures: new Counter({
      name: 'firebreak_detect_batch_failures_total',
      help: 'Batches whose signals could not be stored at the first try.',
      registers,
    }),
    signalFailures: new Counter({
      name: 'firebreak_detect_signal_failures_total',
      help: 'Signals that could not be made into an alert; each is named in the log with its event.',
      registers,
    }),
    correlationWindows: new Gauge({
      name: 'firebreak_detect_correlation_windows',
      help: 'Groups that correlations remember.',
      registers,
      collect: () => measure(),
    }),
    correlationEvents: new Gauge({
      name: 'firebreak_detect_correlation_events',
      help: 'Events that correlations remember.',
      registers,
    }),
    correlationLost: new Counter({
      name: 'firebreak_detect_correlation_lost_total',
      help: 'What a correlation could not count: forgotten for want of room, too late, or without the value.',
      labelNames: ['rule', 'what'],
      registers,
    }),
    correlationJournal: new Gauge({
      name: 'firebreak_detect_correlation_journal_events',
      help: 'Events in the journal that correlations are made again from after a restart.',
      registers,
    }),
    correlationJournalEvicted: new Counter({
      name: 'firebreak_detect_correlation_journal_evicted_total',
      help: 'Events that left the journal for want of room; after a restart they are not counted.',
      registers,
    }),
    correlationJournalDamaged: new Counter({
      name: 'firebreak_detect_correlation_journal_damaged_total',
      help: 'Rows of the journal that could not be read; each is named in the log.',
      registers,
    }),
    onScrape: (called) => {
      measure = called
    },
    matchSeconds: new Histogram({
      name: 'firebreak_detect_batch_seconds',
      help: 'Time to match one batch.',
      buckets: [0.0005, 0.001, 0.005, 0.02, 0.1, 0.5, 2],
      registers,
    }),
    lagSeconds: new Histogram({
      name: 'firebreak_detect_lag_seconds',
      help: 'From the arrival of an event that matched to its stored signal.',
      buckets: [0.005, 0.02, 0.1, 0.5, 1, 5, 30, 300],
      registers,
    }),
  }
}

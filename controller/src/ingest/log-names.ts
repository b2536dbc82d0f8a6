/** Log names and figures of this room. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type IngestLogName = 'ingest.block.failed' | 'ingest.batch.set_aside' | 'ingest.reader.replaced'

export interface IngestLog {
  error(name: IngestLogName, fields: Readonly<Record<string, unknown>>): void
}

export interface IngestMetrics {
  readonly events: Counter
  readonly batches: Counter<'result'>
  readonly invalid: Counter
  readonly damaged: Counter
  readonly ackSeconds: Histogram
  readonly moved: Counter
  readonly moveFailures: Counter
  readonly blockSeconds: Histogram
  readonly backlog: Gauge
}

export function ingestMetrics(registry: Registry): IngestMetrics {
  const registers = [registry]
  return {
    events: new Counter({ name: 'firebreak_ingest_events_total', help: 'Events made durable.', registers }),
    batches: new Counter({
      name: 'firebreak_ingest_batches_total',
      help: 'Batches taken; duplicate: they had been taken before.',
      labelNames: ['result'],
      registers,
    }),
    invalid: new Counter({
      name: 'firebreak_ingest_events_invalid_total',
      help: 'Events that did not fit the schema; each has a gap record.',
      registers,
    }),
    damaged: new Counter({
      name: 'firebreak_ingest_events_damaged_total',
      help: 'Events that were acked and could not be read again; each has a gap record.',
      registers,
    }),
    ackSeconds: new Histogram({
      name: 'firebreak_ingest_ack_seconds',
      help: 'From a batch to its commit.',
      buckets: [0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 2, 10],
      registers,
    }),
    moved: new Counter({
      name: 'firebreak_ingest_events_moved_total',
      help: 'Events handed to the telemetry store.',
      registers,
    }),
    moveFailures: new Counter({
      name: 'firebreak_ingest_block_failures_total',
      help: 'Blocks that the telemetry store did not take at the first try.',
      registers,
    }),
    blockSeconds: new Histogram({
      name: 'firebreak_ingest_block_seconds',
      help: 'Time to store one block.',
      buckets: [0.02, 0.1, 0.5, 2, 10],
      registers,
    }),
    backlog: new Gauge({
      name: 'firebreak_ingest_backlog_batches',
      help: 'Batches that wait for detection or the telemetry store.',
      registers,
    }),
  }
}

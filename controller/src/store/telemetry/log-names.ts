/** Log names and figures of the telemetry store. */
import { Counter, Gauge, type Registry } from 'prom-client'

export type TelemetryLogName = 'telemetry.day.expired' | 'telemetry.check.failed' | 'telemetry.store.overfull'

export interface TelemetryLog {
  info(name: TelemetryLogName, fields: Readonly<Record<string, unknown>>): void
  warn(name: TelemetryLogName, fields: Readonly<Record<string, unknown>>): void
  error(name: TelemetryLogName, fields: Readonly<Record<string, unknown>>): void
}

export interface TelemetryMetrics {
  readonly events: Gauge<'class'>
  readonly bytes: Gauge<'class'>
  readonly parts: Gauge
  readonly expired: Counter<'class' | 'why'>
}

export function telemetryMetrics(registry: Registry): TelemetryMetrics {
  const registers = [registry]
  return {
    events: new Gauge({
      name: 'firebreak_telemetry_events',
      help: 'Events that are kept.',
      labelNames: ['class'],
      registers,
    }),
    bytes: new Gauge({
      name: 'firebreak_telemetry_bytes',
      help: 'Their size on disk.',
      labelNames: ['class'],
      registers,
    }),
    parts: new Gauge({
      name: 'firebreak_telemetry_fullest_partition_parts',
      help: 'Parts of the fullest partition; inserts are slowed down from 1000.',
      registers,
    }),
    expired: new Counter({
      name: 'firebreak_telemetry_events_expired_total',
      help: 'Events that were let go; why: age, or the size of the whole store. They were stored once and stay counted as stored.',
      labelNames: ['class', 'why'],
      registers,
    }),
  }
}

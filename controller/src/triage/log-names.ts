/** Log names and metrics of this room. */
import { Counter, type Registry } from 'prom-client'

export type TriageLogName =
  | 'triage.incident.opened'
  | 'triage.incident.merged'
  | 'triage.incident.routed'
  | 'triage.prevalence.unknown'
  | 'triage.verdict.set'

type Fields = Readonly<Record<string, unknown>>
export interface TriageLog {
  info(name: TriageLogName, fields: Fields): void
  warn(name: TriageLogName, fields: Fields): void
}

export interface TriageMetrics {
  readonly alerts: Counter<'severity'>
  readonly incidents: Counter<'route'>
  readonly suppressed: Counter
  readonly prevalenceUnknown: Counter
}

export function triageMetrics(registry: Registry): TriageMetrics {
  const registers = [registry]
  return {
    alerts: new Counter({
      name: 'firebreak_triage_alerts_total',
      help: 'Alerts opened.',
      labelNames: ['severity'],
      registers,
    }),
    incidents: new Counter({
      name: 'firebreak_triage_incidents_total',
      help: 'Incidents opened, by the way they took first.',
      labelNames: ['route'],
      registers,
    }),
    suppressed: new Counter({
      name: 'firebreak_triage_signals_suppressed_total',
      help: 'Signals that counted on an alert that was there already.',
      registers,
    }),
    prevalenceUnknown: new Counter({
      name: 'firebreak_triage_prevalence_unknown_total',
      help: 'Lookups that the telemetry store did not answer in time; the confidence says so.',
      registers,
    }),
  }
}

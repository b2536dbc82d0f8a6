/** Log names and figures of this room. */
import { Counter, type Registry } from 'prom-client'

export type FleetLogName = 'fleet.events.unaccounted'

export interface FleetLog {
  error(name: FleetLogName, fields: Readonly<Record<string, unknown>>): void
}

export interface FleetMetrics {
  readonly unaccounted: Counter<'kind'>
}

export function fleetMetrics(registry: Registry): FleetMetrics {
  return {
    unaccounted: new Counter({
      name: 'firebreak_fleet_unaccounted_events_total',
      help: 'Events that produced = stored + spooled + dropped does not account for.',
      labelNames: ['kind'],
      registers: [registry],
    }),
  }
}

/** Log names and figures of this room. */
import { Counter, Gauge, type Registry } from 'prom-client'

export type FleetLogName =
  | 'fleet.events.unaccounted'
  | 'fleet.events.accounted'
  | 'fleet.host.cloned'
  | 'fleet.host.reverted'

export interface FleetLog {
  error(name: FleetLogName, fields: Readonly<Record<string, unknown>>): void
  info(name: FleetLogName, fields: Readonly<Record<string, unknown>>): void
}

export interface FleetMetrics {
  readonly unaccounted: Counter<'kind'>
  readonly unaccountedOpen: Gauge<'kind'>
  readonly strange: Counter<'kind'>
}

export function fleetMetrics(registry: Registry): FleetMetrics {
  const registers = [registry]
  return {
    unaccounted: new Counter({
      name: 'firebreak_fleet_unaccounted_events_total',
      help: 'Events that produced = stored + spooled + dropped did not account for when it was looked at.',
      labelNames: ['kind'],
      registers,
    }),
    unaccountedOpen: new Gauge({
      name: 'firebreak_fleet_unaccounted_events',
      help: 'Events that produced = stored + spooled + dropped does not account for now.',
      labelNames: ['kind'],
      registers,
    }),
    strange: new Counter({
      name: 'firebreak_fleet_strange_hosts_total',
      help: 'Hosts whose disk went back in time (reverted), and keys that two machines use (cloned).',
      labelNames: ['kind'],
      registers,
    }),
  }
}

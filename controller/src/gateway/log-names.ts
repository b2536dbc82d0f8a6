/** Log names and figures of this room. */
import { Counter, Gauge, type Registry } from 'prom-client'

export type GatewayLogName =
  | 'gateway.server.started'
  | 'gateway.server.failed'
  | 'gateway.agent.enrolled'
  | 'gateway.agent.connected'
  | 'gateway.agent.disconnected'
  | 'gateway.agent.replaced'
  | 'gateway.entry.refused'
  | 'gateway.entry.failed'
  | 'gateway.frame.refused'
  | 'gateway.session.failed'
  | 'gateway.intake.stopped'
  | 'gateway.intake.resumed'

type Fields = Readonly<Record<string, unknown>>
export interface GatewayLog {
  info(name: GatewayLogName, fields: Fields): void
  warn(name: GatewayLogName, fields: Fields): void
  error(name: GatewayLogName, fields: Fields): void
}

export interface GatewayMetrics {
  readonly agents: Gauge
  readonly waiting: Gauge
  readonly entries: Counter<'kind' | 'result'>
  readonly turnedAway: Counter<'why'>
  readonly refusedFrames: Counter<'code'>
  readonly bytes: Counter
  readonly paused: Counter
  readonly queuedBytes: Gauge
  readonly intakeStopped: Gauge
}

export function gatewayMetrics(registry: Registry): GatewayMetrics {
  const registers = [registry]
  return {
    agents: new Gauge({ name: 'firebreak_gateway_agents', help: 'Agents connected.', registers }),
    waiting: new Gauge({
      name: 'firebreak_gateway_unproved_connections',
      help: 'Connections that have not shown who they are yet.',
      registers,
    }),
    entries: new Counter({
      name: 'firebreak_gateway_entries_total',
      help: 'Enrolments and sessions, by how they went.',
      labelNames: ['kind', 'result'],
      registers,
    }),
    turnedAway: new Counter({
      name: 'firebreak_gateway_turned_away_total',
      help: 'Connections that were closed before a word was said.',
      labelNames: ['why'],
      registers,
    }),
    refusedFrames: new Counter({
      name: 'firebreak_gateway_frames_refused_total',
      help: 'Frames that closed their connection.',
      labelNames: ['code'],
      registers,
    }),
    bytes: new Counter({
      name: 'firebreak_gateway_received_bytes_total',
      help: 'Bytes of frames received.',
      registers,
    }),
    paused: new Counter({
      name: 'firebreak_gateway_pauses_total',
      help: 'Times that agents were not read from because too much was waiting.',
      registers,
    }),
    intakeStopped: new Gauge({
      name: 'firebreak_gateway_intake_stopped',
      help: '1 while no batch is taken because the stores do not take what waits.',
      registers,
    }),
    queuedBytes: new Gauge({
      name: 'firebreak_gateway_queued_bytes',
      help: 'Bytes of batches that wait to be stored.',
      registers,
    }),
  }
}

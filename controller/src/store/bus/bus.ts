import type { AgentId, AlertId, CommandId, IncidentId, RunId } from '@firebreak/shared/ids.ts'

/** What rooms tell each other. A message says that something changed; the truth is in the state store, so a lost message loses nothing. */
export interface BusMessages {
  'host.changed': { readonly agentId: AgentId }
  'host.connected': { readonly agentId: AgentId; readonly session: string }
  'host.disconnected': { readonly agentId: AgentId; readonly session: string }
  'batch.committed': { readonly agentId: AgentId; readonly batchId: number }
  'alert.changed': { readonly alertId: AlertId }
  'incident.changed': { readonly incidentId: IncidentId }
  'command.changed': { readonly commandId: CommandId; readonly agentId: AgentId }
  'run.changed': { readonly runId: RunId }
}
export type Topic = keyof BusMessages

/** Carries messages between rooms; in memory here, NATS JetStream beyond one machine. Handlers that throw are logged, never the publisher's trouble. */
export interface Bus {
  publish<T extends Topic>(topic: T, message: BusMessages[T]): void
  /** Returns the way to end the subscription. */
  subscribe<T extends Topic>(topic: T, handler: (message: BusMessages[T]) => void | Promise<void>): () => void
}

import type { AgentId, CommandId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import type { Orders } from './orders.ts'

export type { Actor, CommandView, Intent, OrderRefusal, Orders, Role } from './orders.ts'

/** One live, authenticated connection, as far as orders need it. */
export interface AgentLink {
  readonly session: string
  /** ms on the monotonic clock since the handshake of this connection. */
  sinceHandshakeMs(): number
  sendCommand(envelope: Uint8Array): void
}

export interface ReleaseCodes {
  /** One-time code that frees the host locally while no controller reaches it. Each reading is in the log. */
  read(commandId: CommandId, by: string): Promise<Result<string, 'not_found'>>
}

/** What the gateway tells. */
export interface OrdersDoor {
  connected(agentId: AgentId, link: AgentLink, known: { readonly lease: number; readonly seq: number }): Promise<void>
  disconnected(agentId: AgentId, session: string): void
  /** Returns the number to ack: everything up to it is durable. `malformed`: it was not even a receipt of this host. */
  receipt(agentId: AgentId, envelope: Envelope): Promise<Result<number, 'malformed'>>
}

export interface OrdersRoom extends Orders, OrdersDoor {
  readonly releaseCodes: ReleaseCodes
  start(): Promise<void>
  stop(): Promise<void>
}

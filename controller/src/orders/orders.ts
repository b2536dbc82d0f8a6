import type { CommandArgs, CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { CommandState } from '@firebreak/shared/commands/command.ts'
import type { AgentId, CommandId, IncidentId, RunId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'

/** Who wants it: the right is checked here, once, for every door. */
export type Actor =
  | { readonly kind: 'user'; readonly name: string; readonly role: Role }
  | { readonly kind: 'playbook'; readonly id: string }
export const ROLES = ['viewer', 'analyst', 'responder', 'engineer', 'admin'] as const
export type Role = (typeof ROLES)[number]

/** An approved wish; it becomes a signed command only when the host is connected. */
export interface Intent<T extends CommandType = CommandType> {
  readonly agentId: AgentId
  readonly type: T
  readonly args: CommandArgs<T>
  readonly reason: string
  readonly incidentId?: IncidentId
  readonly runId?: RunId
  readonly playbook?: string
  /** The same key by the same actor gives the same command again. */
  readonly idempotencyKey?: string
  /** How long it may wait for the host, s. */
  readonly expiresInS?: number
}

export const ORDER_REFUSALS = [
  'forbidden',
  'unknown_host',
  'revoked_host',
  'imported_host',
  'bad_args',
  'protected_host',
  'conflicting_key',
  'not_cancellable',
  'not_found',
] as const
export type OrderRefusal = (typeof ORDER_REFUSALS)[number]

export interface CommandView {
  readonly id: CommandId
  readonly agentId: AgentId
  readonly type: CommandType
  readonly state: CommandState
  readonly code: string | null
  readonly why: string | null
}

export interface Orders {
  propose(intent: Intent, actor: Actor): Promise<Result<CommandView, OrderRefusal>>
  /** Truthful: only what no host has taken can be cancelled. */
  cancel(id: CommandId, actor: Actor, reason: string): Promise<Result<CommandView, OrderRefusal>>
  /** Resolves when the command has come to a final state; `signal` ends the waiting, not the command. */
  settled(id: CommandId, signal?: AbortSignal): Promise<CommandView>
  /** What would be done and hit, without doing it. */
  preview(
    intent: Intent,
    actor: Actor,
  ): Promise<
    Result<{ readonly hostname: string; readonly connected: boolean; readonly protected: boolean }, OrderRefusal>
  >
}

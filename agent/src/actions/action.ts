import type { CommandArgs, CommandEvidence, CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { Failure, Refusal } from '@firebreak/shared/commands/command.ts'
import type { Result } from '@firebreak/shared/result.ts'

/** What an action is told about the order it carries out. */
export interface Order<T extends CommandType = CommandType> {
  readonly cmdId: string
  readonly type: T
  readonly args: CommandArgs<T>
  /** Names each durable step for the fault tests; does nothing in production. */
  readonly step: (name: string) => void
}

/** What happened to the world: `applied` is what the host did, `verified` is what a probe saw. */
export type Effect<T extends CommandType> =
  | { readonly state: 'verified' | 'applied'; readonly evidence: CommandEvidence<T> }
  | {
      readonly state: 'refuted' | 'failed' | 'reverted'
      readonly code: Failure
      readonly why: string
      readonly evidence: CommandEvidence<T> | undefined
    }

/** What reality says about an order that was interrupted. */
export type Reconciled<T extends CommandType> =
  | { readonly found: 'done'; readonly effect: Effect<T> }
  | { readonly found: 'not_done' | 'indeterminate'; readonly why: string }

/**
 * One command type, carried out. The inbox has checked signatures, sequence, life, ceiling and the argument schema before.
 * - `check`: can this host do it and may it be done now? Changes nothing.
 * - `apply`: does it; every step is durable and can be interrupted by a power cut. `applied` is reported at once through `report`, the result is the last word.
 * - `reconcile`: after a restart, for an order that was started and has no end: reads reality, finishes or takes back what was half done; never runs it blindly again.
 * - `resume`: once at every start: puts what must be in force back in force and goes on watching it.
 * - `stop`: stops watching, leaves effects as they are.
 * Undoing is a command type of its own (`undoneBy` of the card).
 */
export interface Action<T extends CommandType> {
  readonly type: T
  check(order: Order<T>): Promise<Result<void, Refusal>>
  apply(order: Order<T>, report: (effect: Effect<T>) => Promise<void>): Promise<Effect<T>>
  /** Probes the world again for an effect that is in force. */
  verify(order: Order<T>): Promise<Effect<T>>
  reconcile(order: Order<T>): Promise<Reconciled<T>>
  resume(): Promise<void>
  stop(): Promise<void>
}

/** The table of all actions; the compiler names a missing one. */
export type Actions = { readonly [T in CommandType]: Action<T> }

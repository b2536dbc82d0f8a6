/**
 * What a step kind is: its shape in a playbook, a pure `next` that decides from what has happened what happens next, and its one
 * effect. An effect is either a `write`, done in the transaction that journals its outcome, so it happens exactly once; or a `call`,
 * which leaves the store and may happen again after a crash, so it must give the same for the same run and step.
 */
import type { CommandState } from '@firebreak/shared/commands/command.ts'
import type { AgentId, CommandId, IncidentId, RunId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'
import { type Static, type TObject, type TProperties, Type } from 'typebox'
import type { Audit } from '../../audit/audit.ts'
import type { Orders } from '../../orders/orders.ts'
import type { Tx } from '../../store/state/state-store.ts'
import type { Facts } from '../facts.ts'

export const STEP_ID_PATTERN = '^[a-z][a-z0-9-]{0,63}$'

/** What every step has. */
export function stepSchema<T extends string, P extends TProperties>(type: T, properties: P, description: string) {
  return Type.Object(
    {
      id: Type.String({ pattern: STEP_ID_PATTERN, description: 'Unique in the playbook.' }),
      type: Type.Literal(type),
      if: Type.Optional(
        Type.String({ minLength: 1, maxLength: 2048, description: 'CEL; when it does not hold the step is skipped.' }),
      ),
      ...properties,
    },
    { additionalProperties: false, description },
  )
}

export interface StepInput<S> {
  readonly step: S
  readonly facts: Facts
  readonly run: {
    readonly id: RunId
    readonly playbookId: string
    readonly playbookTitle: string
    readonly incidentId: IncidentId
    readonly agentId: AgentId
  }
  /** The step that failed or refused, while `on_failure` runs. */
  readonly failure: { readonly stepId: string; readonly why: string } | null
  /** Actions an hour for all playbooks together. */
  readonly budgets: Readonly<Record<string, number>>
  /** A condition that was checked when the playbook was read. */
  readonly holds: (condition: string) => Result<boolean, 'condition_failed'>
}

/** What a step needs to know of a command. */
export interface CommandFact {
  readonly id: CommandId
  readonly state: CommandState
  readonly code: string | null
  readonly why: string | null
}

export type StepEvent =
  /** It is its turn. Also after a crash, when nothing tells whether the effect took place. */
  | { readonly kind: 'begun' }
  | { readonly kind: 'wrote'; readonly result: Readonly<Record<string, unknown>> }
  | { readonly kind: 'command'; readonly command: CommandFact }
  | { readonly kind: 'refused'; readonly code: string; readonly why: string }
  | { readonly kind: 'timed_out' }

export type StepEnd = 'succeeded' | 'failed' | 'refused' | 'skipped'
export type Move =
  | { readonly kind: 'effect' }
  | { readonly kind: 'wait'; readonly commandId: CommandId }
  | {
      readonly kind: 'done'
      readonly state: StepEnd
      readonly why: string
      readonly outputs: Readonly<Record<string, unknown>>
    }

export interface WriteDeps {
  readonly tx: Tx
  readonly audit: Audit
  readonly nowMs: number
}
export interface CallDeps {
  readonly orders: Pick<Orders, 'propose'>
}

export interface StepKind<Schema extends TObject = TObject> {
  readonly type: string
  readonly schema: Schema
  /** CACAO 2.0 step type that it compiles to; an extension where CACAO has no word. */
  readonly cacao: 'action' | 'if-condition' | 'extension'
  /** Conditions of the step, to be compiled when the playbook is read. */
  conditions(step: Static<Schema>): readonly string[]
  /** What else must hold before it may run; texts for the author. */
  problems(step: Static<Schema>): readonly string[]
  /** Pure. */
  next(input: StepInput<Static<Schema>>, event: StepEvent): Move
  readonly write?: (input: StepInput<Static<Schema>>, deps: WriteDeps) => Promise<Readonly<Record<string, unknown>>>
  readonly call?: (input: StepInput<Static<Schema>>, deps: CallDeps) => Promise<StepEvent>
  /** Longest time that a `wait` may last, s. */
  readonly patience?: (step: Static<Schema>) => number
}

export function done(state: StepEnd, why: string, outputs: Readonly<Record<string, unknown>> = {}): Move {
  return { kind: 'done', state, why, outputs }
}

/** An event that this kind of step cannot have caused: a bug, not a state of the world. */
export function unexpected(type: string, event: StepEvent): never {
  throw new Error(`a ${type} step cannot be told ${event.kind}`)
}

import type { Static } from 'typebox'
import { action } from './action.ts'
import { budget } from './budget.ts'
import { escalate } from './escalate.ts'
import { guard } from './guard.ts'
import { markIncident } from './mark-incident.ts'
import type { StepKind } from './step.ts'

/** Every step kind there is. */
export const STEP_KINDS = {
  guard,
  budget,
  action,
  'mark-incident': markIncident,
  escalate,
} as const

export type StepType = keyof typeof STEP_KINDS
export const STEP_TYPES = Object.keys(STEP_KINDS) as readonly StepType[]
export type Step = { [T in StepType]: Static<(typeof STEP_KINDS)[T]['schema']> }[StepType]

/** The kind of a step, for those who treat all alike: a kind is only ever given steps of its own type. */
export function kindOf(step: Pick<Step, 'type'>): StepKind {
  return STEP_KINDS[step.type] as unknown as StepKind
}

export function isStepType(text: unknown): text is StepType {
  return typeof text === 'string' && Object.hasOwn(STEP_KINDS, text)
}

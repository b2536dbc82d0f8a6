/** What comes next in a run, from its playbook and what is journaled. Pure, so that a run after a crash is the run before it. */
import type { Playbook } from './playbook.ts'
import type { Step } from './steps/steps.ts'

export interface JournaledStep {
  readonly stepId: string
  readonly state: 'running' | 'succeeded' | 'failed' | 'refused' | 'skipped'
  readonly why: string | null
}

export type RunEnd = 'succeeded' | 'failed' | 'refused'
export type Next =
  | { readonly kind: 'step'; readonly step: Step; readonly resumed: boolean; readonly failure: Failure | null }
  | { readonly kind: 'end'; readonly state: RunEnd; readonly why: string | null }

export interface Failure {
  readonly stepId: string
  readonly why: string
}

export function nextOf(playbook: Pick<Playbook, 'steps' | 'onFailure'>, journal: readonly JournaledStep[]): Next {
  const byId = new Map(journal.map((entry) => [entry.stepId, entry]))
  for (const step of playbook.steps) {
    const entry = byId.get(step.id)
    if (entry === undefined || entry.state === 'running') {
      return { kind: 'step', step, resumed: entry !== undefined, failure: null }
    }
    if (entry.state === 'failed' || entry.state === 'refused') {
      const failure = { stepId: step.id, why: entry.why ?? `the step ${step.id} ${entry.state}` }
      return afterFailure(playbook.onFailure, byId, failure, entry.state)
    }
  }
  return { kind: 'end', state: 'succeeded', why: null }
}

/** Handing over to a person must not depend on the step before it, so these go on past a failure. */
function afterFailure(
  steps: readonly Step[],
  byId: ReadonlyMap<string, JournaledStep>,
  failure: Failure,
  state: RunEnd,
): Next {
  for (const step of steps) {
    const entry = byId.get(step.id)
    if (entry === undefined || entry.state === 'running') {
      return { kind: 'step', step, resumed: entry !== undefined, failure }
    }
  }
  return { kind: 'end', state, why: `${failure.stepId}: ${failure.why}` }
}

import { describe, expect, it } from 'vitest'
import { type JournaledStep, nextOf } from './run-machine.ts'
import type { Step } from './steps/steps.ts'

const step = (id: string) => ({ id, type: 'escalate' }) as Step
const playbook = { steps: [step('a'), step('b')], onFailure: [step('x'), step('y')] }
const entry = (stepId: string, state: JournaledStep['state'], why: string | null = null) => ({ stepId, state, why })

describe('a run', () => {
  it('goes through its steps in order and succeeds at the end', () => {
    expect(nextOf(playbook, [])).toMatchObject({ kind: 'step', step: { id: 'a' }, resumed: false })
    expect(nextOf(playbook, [entry('a', 'succeeded')])).toMatchObject({ step: { id: 'b' } })
    expect(nextOf(playbook, [entry('a', 'skipped'), entry('b', 'succeeded')])).toEqual({
      kind: 'end',
      state: 'succeeded',
      why: null,
    })
  })

  it('resumes the step that was running', () => {
    expect(nextOf(playbook, [entry('a', 'succeeded'), entry('b', 'running')])).toMatchObject({
      step: { id: 'b' },
      resumed: true,
    })
  })

  it('hands a failure to every step of on_failure, past a failure of theirs, and ends as it failed', () => {
    const failed = entry('a', 'refused', 'protected')
    expect(nextOf(playbook, [failed])).toMatchObject({ step: { id: 'x' }, failure: { stepId: 'a', why: 'protected' } })
    expect(nextOf(playbook, [failed, entry('x', 'failed')])).toMatchObject({ step: { id: 'y' } })
    expect(nextOf(playbook, [failed, entry('x', 'failed'), entry('y', 'succeeded')])).toEqual({
      kind: 'end',
      state: 'refused',
      why: 'a: protected',
    })
  })
})

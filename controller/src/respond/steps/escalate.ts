/** Hands the incident to a person and says why. */
import type { IncidentId } from '@firebreak/shared/ids.ts'
import { Type } from 'typebox'
import { escalateIncident } from '../escalation.ts'
import { done, type StepKind, stepSchema, unexpected } from './step.ts'

const schema = stepSchema(
  'escalate',
  {
    why: Type.Optional(
      Type.String({ minLength: 1, maxLength: 512, description: 'Put before the reason of the failure.' }),
    ),
  },
  'Puts the incident into the queue of the analysts.',
)

export const escalate = {
  type: 'escalate',
  schema,
  cacao: 'extension',
  conditions: () => [],
  problems: () => [],
  next(_input, event) {
    if (event.kind === 'begun') return { kind: 'effect' }
    if (event.kind !== 'wrote') return unexpected('escalate', event)
    return done('succeeded', String(event.result['why']), event.result)
  },
  async write({ step, run, facts, failure }, { tx, audit, nowMs }) {
    const reason = [step.why, failure === null ? undefined : `${facts.host.hostname}: ${failure.why}`]
      .filter((text) => text !== undefined)
      .join('; ')
    const why = reason === '' ? `playbook ${run.playbookId} asks for a person` : reason
    await escalateIncident(tx, audit, {
      incidentId: facts.incident.id as IncidentId,
      why,
      actor: `playbook:${run.playbookId}`,
      nowMs,
    })
    return { why }
  },
} satisfies StepKind<typeof schema>

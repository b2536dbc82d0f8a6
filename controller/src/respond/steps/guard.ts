import { Type } from 'typebox'
import { done, type StepKind, stepSchema, unexpected } from './step.ts'

const schema = stepSchema(
  'guard',
  {
    when: Type.String({ minLength: 1, maxLength: 2048, description: 'CEL; when it does not hold the run is refused.' }),
    why: Type.String({ minLength: 1, maxLength: 512, description: 'What a person reads when it is refused.' }),
  },
  'Goes on only while a condition holds.',
)

export const guard = {
  type: 'guard',
  schema,
  cacao: 'if-condition',
  conditions: (step) => [step.when],
  problems: () => [],
  next({ step, holds }, event) {
    if (event.kind !== 'begun') return unexpected('guard', event)
    const held = holds(step.when)
    if (!held.ok) return done('failed', held.why)
    return held.value ? done('succeeded', step.when) : done('refused', step.why)
  },
} satisfies StepKind<typeof schema>

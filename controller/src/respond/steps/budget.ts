/** A cap on automatic actions, so that a wrong rule cannot cut off a fleet. Taking from it is journaled like any step, and counted from there. */
import { COMMAND_TYPES } from '@firebreak/shared/commands/catalogue.ts'
import { Type } from 'typebox'
import { done, type StepKind, stepSchema, unexpected } from './step.ts'

const WINDOW_MS = 3_600_000

const schema = stepSchema(
  'budget',
  {
    command: Type.Enum([...COMMAND_TYPES], { description: 'Whose budget.' }),
    most_per_hour: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 100_000,
        description: 'Lower than the budget of the configuration; the smaller of the two counts.',
      }),
    ),
  },
  'Takes one from the budget of a command type; refused when it is used up.',
)

export const budget = {
  type: 'budget',
  schema,
  cacao: 'extension',
  conditions: () => [],
  problems: () => [],
  next({ step }, event) {
    if (event.kind === 'begun') return { kind: 'effect' }
    if (event.kind !== 'wrote') return unexpected('budget', event)
    const { granted, used, most } = event.result
    const outputs = { budget: step.command, used, most }
    return granted === true
      ? done('succeeded', `${String(used)} of ${String(most)} within an hour`, outputs)
      : done(
          'refused',
          `${String(used)} of ${String(most)} automatic ${step.command} within an hour are used up`,
          outputs,
        )
  },
  async write({ step, budgets }, { tx, nowMs }) {
    const configured = budgets[step.command] ?? 0
    const most = Math.min(configured, step.most_per_hour ?? configured)
    const taken = await tx
      .selectFrom('run_steps')
      .select((row) => row.fn.countAll().as('count'))
      .where('type', '=', 'budget')
      .where('state', '=', 'succeeded')
      .where('ended_at', '>=', new Date(nowMs - WINDOW_MS).toISOString())
      .where('outputs', 'like', `{"budget":${JSON.stringify(step.command)},%`)
      .executeTakeFirstOrThrow()
    const used = Number(taken.count)
    return used < most ? { granted: true, used: used + 1, most } : { granted: false, used, most }
  },
} satisfies StepKind<typeof schema>

/** Orders one command for the host of the run and waits for its proof. The key of the order is made of run and step, so asking again gives the same command. */
import { COMMAND_CARDS, COMMAND_TYPES } from '@firebreak/shared/commands/catalogue.ts'
import { COMMAND_STATES, FINAL_STATES } from '@firebreak/shared/commands/command.ts'
import type { Intent } from '../../orders/orders.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { type CommandFact, done, type Move, type StepKind, stepSchema, unexpected } from './step.ts'

const MAX_REASON = 1_024
/** Beyond the time for the host to come and the command's own deadline: then orders has lost it. */
const GRACE_S = 120

const schema = stepSchema(
  'action',
  {
    command: Type.Enum([...COMMAND_TYPES], { description: 'Command type.' }),
    args: Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), {
      description: 'As the command type takes them.',
    }),
    verify: Type.Object(
      {
        state: Type.Enum([...COMMAND_STATES], { description: 'State of the command that counts as success.' }),
      },
      { additionalProperties: false, description: 'What must be proved.' },
    ),
    wait_for_host_s: Type.Integer({
      minimum: 1,
      maximum: 604_800,
      description: 'How long the order waits for a host that is not connected, s.',
    }),
  },
  'Orders a command and waits until its effect is proved.',
)
type Action = Type.Static<typeof schema>

const argsSchemas = Object.fromEntries(COMMAND_TYPES.map((type) => [type, Compile(COMMAND_CARDS[type].args)]))

export const action = {
  type: 'action',
  schema,
  cacao: 'action',
  conditions: () => [],
  problems(step) {
    const problems: string[] = []
    for (const error of argsSchemas[step.command]?.Errors(step.args) ?? []) {
      problems.push(`args${error.instancePath.replaceAll('/', '.')}: ${error.message}`)
    }
    if (!FINAL_STATES.has(step.verify.state))
      problems.push(`verify.state: a command does not end in ${step.verify.state}`)
    return problems
  },
  next({ step }, event) {
    switch (event.kind) {
      case 'begun':
        return { kind: 'effect' }
      case 'command':
        return afterCommand(step, event.command)
      case 'refused':
        return done('failed', `${step.command} was not ordered: ${event.why}`, { code: event.code })
      case 'timed_out':
        return done('failed', `${step.command} came to no end in time; whether it took effect is unknown`, {
          code: 'unknown',
        })
      case 'wrote':
        return unexpected('action', event)
      default:
        throw new Error(`unhandled event ${JSON.stringify(event satisfies never)}`)
    }
  },
  async call({ step, run, facts }, { orders }) {
    const intent: Intent = {
      agentId: run.agentId,
      type: step.command,
      args: step.args,
      reason: `${run.playbookTitle}: ${facts.incident.title}`.slice(0, MAX_REASON),
      incidentId: run.incidentId,
      runId: run.id,
      playbook: run.playbookId,
      idempotencyKey: `${run.id}:${step.id}`,
      expiresInS: step.wait_for_host_s,
    }
    const proposed = await orders.propose(intent, { kind: 'playbook', id: run.playbookId })
    return proposed.ok
      ? { kind: 'command', command: proposed.value }
      : { kind: 'refused', code: proposed.code, why: proposed.why }
  },
  patience: (step) => step.wait_for_host_s + COMMAND_CARDS[step.command].deadline_s + GRACE_S,
} satisfies StepKind<typeof schema>

function afterCommand(step: Action, command: CommandFact): Move {
  const outputs = { command_id: command.id, state: command.state, code: command.code }
  if (command.state === step.verify.state) return done('succeeded', `${step.command} is ${command.state}`, outputs)
  if (!FINAL_STATES.has(command.state)) return { kind: 'wait', commandId: command.id }
  const why = [command.code, command.why].filter((text) => text !== null && text !== '').join(', ')
  return done('failed', `${step.command} ended ${command.state}${why === '' ? '' : ` (${why})`}`, outputs)
}

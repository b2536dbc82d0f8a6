/** Signed orders: proposed here, decided upon in `orders`, carried out and proved by the host. */
import { COMMAND_CARDS, COMMAND_TYPES, type CommandType } from '@firebreak/shared/commands/catalogue.ts'
import { COMMAND_STATES } from '@firebreak/shared/commands/command.ts'
import { RISKS } from '@firebreak/shared/commands/command-type.ts'
import { type CommandId, type IncidentId, parseAgentId } from '@firebreak/shared/ids.ts'
import type { Selectable } from 'kysely'
import { Type } from 'typebox'
import { Compile, type Validator } from 'typebox/compile'
import type { Intent } from '../orders/orders.ts'
import type { Tables } from '../store/state/tables.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorOf, actorText } from './authenticate.ts'
import { recordOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { notFound, ProblemError, valueOf } from './problem.ts'
import { AgentIdText, closed, Count, Free, IdParams, IdPrefix, orNull, Uuid } from './schemas.ts'
import { fieldErrors } from './validate.ts'

export const Command = closed(
  {
    id: Uuid('Command id.'),
    agent_id: AgentIdText('Host.'),
    type: Type.String({ description: COMMAND_TYPES.join(', ') }),
    args: Free('Arguments; their schema is the card of the type.'),
    risk: Type.Enum([...RISKS]),
    state: Type.Enum([...COMMAND_STATES], {
      description: 'applied: the host did it. verified: a probe saw the effect. unknown: no answer by the deadline.',
    }),
    code: orNull(Type.String({ description: 'Why it was refused or failed, from a closed list.' })),
    why: orNull(Type.String()),
    actor: Type.String({ description: 'user:<name> or playbook:<id>.' }),
    reason: Type.String(),
    incident_id: orNull(Type.String()),
    run_id: orNull(Type.String()),
    playbook: orNull(Type.String()),
    evidence: orNull(Free('What proves the effect.')),
    created_at: Type.String(),
    expires_at: Type.String({ description: 'Not signed any more after this.' }),
    delivered_at: orNull(Type.String()),
    deadline_at: orNull(Type.String({ description: 'Without a final receipt by then it is unknown.' })),
    updated_at: Type.String(),
  },
  'A command.',
)
export type Command = Type.Static<typeof Command>

const Transition = closed(
  { n: Count('Order.'), state: Type.String(), at: Type.String(), detail: Free('What came with it.') },
  'A step of its life.',
)
const Receipt = closed(
  {
    receipt_seq: Count("Number in the host's chain."),
    state: Type.String(),
    code: orNull(Type.String()),
    valid: Type.Boolean({ description: 'false: signature or chain did not hold; kept as evidence, never believed.' }),
    payload_sha256: Type.String(),
    envelope: Free('As the host signed it (DSSE).'),
    received_at: Type.String(),
  },
  'A signed answer.',
)
export const CommandPage = Type.Object(
  { ...Command.properties, transitions: Type.Array(Transition), receipts: Type.Array(Receipt) },
  { additionalProperties: false, description: 'A command with its life and its receipts.' },
)
export type CommandPage = Type.Static<typeof CommandPage>

const cards = COMMAND_TYPES.map((type) => {
  const card = COMMAND_CARDS[type]
  const fields = Object.keys(card.args.properties).map((name) => `\`${name}\``)
  return `| \`${type}\` | ${card.summary} | ${card.risk} | ${fields.join(', ') || 'none'} |`
})

const NewCommand = Type.Object(
  {
    agent_id: AgentIdText('Host.'),
    type: Type.Enum([...COMMAND_TYPES]),
    args: Free('See the table; checked against the closed schema of the type.'),
    reason: Type.String({ minLength: 1, maxLength: 1024, description: 'For the audit log, and for the host.' }),
    incident_id: Type.Optional(Uuid('Incident it belongs to.')),
    expires_in_s: Type.Optional(
      Type.Integer({ minimum: 10, maximum: 604_800, description: 'How long it may wait for an offline host.' }),
    ),
  },
  { additionalProperties: false, description: 'The order.' },
)
const Preview = closed(
  {
    dry_run: Type.Literal(true),
    agent_id: AgentIdText('Host.'),
    hostname: Type.String(),
    connected: Type.Boolean({ description: 'false: it would wait for the host.' }),
    protected: Type.Boolean({ description: 'A playbook would be refused.' }),
    type: Type.String(),
    risk: Type.Enum([...RISKS]),
    undone_by: orNull(Type.String({ description: 'Command type that takes it back; null: nothing does.' })),
  },
  'What would be done; nothing was.',
)

const argsSchemas = Object.fromEntries(
  COMMAND_TYPES.map((type) => [type, Compile(COMMAND_CARDS[type].args)]),
) as Record<CommandType, Validator>

export function commandRoutes(
  api: Api,
  { state, orders, releaseCodes }: Pick<ApiDeps, 'state' | 'orders' | 'releaseCodes'>,
): void {
  api.get(
    '/api/v1/commands',
    {
      schema: {
        tags: ['commands'],
        summary: 'List commands',
        description: 'Newest first.',
        querystring: closed(
          {
            ...pageQuery,
            id_prefix: IdPrefix,
            host: Type.Optional(AgentIdText('Host.')),
            state: Type.Optional(Type.Enum([...COMMAND_STATES])),
            type: Type.Optional(Type.Enum([...COMMAND_TYPES])),
            incident_id: Type.Optional(Uuid('Incident.')),
          },
          'Query.',
        ),
        response: { 200: pageOf(Command) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('commands', query.cursor)
      let rows = state.db
        .selectFrom('commands')
        .selectAll()
        .orderBy('id', 'desc')
        .limit(limit + 1)
      if (after !== undefined) rows = rows.where('id', '<', after)
      if (query.id_prefix !== undefined)
        rows = rows.where('id', '>=', query.id_prefix).where('id', '<=', `${query.id_prefix}~`)
      if (query.host !== undefined) rows = rows.where('agent_id', '=', query.host)
      if (query.state !== undefined) rows = rows.where('state', '=', query.state)
      if (query.type !== undefined) rows = rows.where('type', '=', query.type)
      if (query.incident_id !== undefined) rows = rows.where('incident_id', '=', query.incident_id)
      return pageFrom('commands', await rows.execute(), limit, (row) => row.id, commandView)
    },
  )

  api.post(
    '/api/v1/commands',
    {
      schema: {
        tags: ['commands'],
        summary: 'Order something, or see what it would hit',
        description: `The order waits as an intent until the host is connected and is signed then.

| type | what it does | risk | arguments |
| --- | --- | --- | --- |
${cards.join('\n')}`,
        querystring: closed(
          { dry_run: Type.Optional(Type.Boolean({ description: 'Only say what would be done.' })) },
          'Query.',
        ),
        headers: Type.Object({
          'idempotency-key': Type.Optional(
            Type.String({
              pattern: '^[\\x21-\\x7e]{1,128}$',
              description: 'The same key of the same person gives the same command again.',
            }),
          ),
        }),
        body: NewCommand,
        response: { 200: Preview, 202: Command },
      },
    },
    async (request, reply) => {
      const intent = intentOf(request.body, request.headers['idempotency-key'])
      const actor = actorOf(request)
      if (request.query.dry_run === true) {
        const { hostname, connected, protected: isProtected } = valueOf(await orders.preview(intent, actor))
        const { risk, undoneBy } = COMMAND_CARDS[intent.type]
        return await reply.code(200).send({
          dry_run: true,
          agent_id: intent.agentId,
          hostname,
          connected,
          protected: isProtected,
          type: intent.type,
          risk,
          undone_by: undoneBy ?? null,
        })
      }
      const { id } = valueOf(await orders.propose(intent, actor))
      return await reply
        .code(202)
        .header('location', `/api/v1/commands/${id}`)
        .send(await commandOf(state, id))
    },
  )

  api.get(
    '/api/v1/commands/:id',
    {
      schema: {
        tags: ['commands'],
        summary: 'Show a command with its life and its receipts',
        params: IdParams,
        response: { 200: CommandPage },
      },
    },
    async ({ params: { id } }) => {
      const command = await commandOf(state, id)
      const transitions = await state.db
        .selectFrom('command_transitions')
        .select(['n', 'state', 'at', 'detail'])
        .where('command_id', '=', id)
        .orderBy('n')
        .execute()
      const receipts = await state.db
        .selectFrom('receipts')
        .selectAll()
        .where('cmd_id', '=', id)
        .where('agent_id', '=', command.agent_id)
        .orderBy('receipt_seq')
        .limit(100)
        .execute()
      return {
        ...command,
        transitions: transitions.map((one) => ({ ...one, detail: recordOf(one.detail) })),
        receipts: receipts.map((one) => ({
          receipt_seq: one.receipt_seq,
          state: one.state,
          code: one.code,
          valid: one.valid === 1,
          payload_sha256: one.payload_sha256,
          envelope: recordOf(one.envelope),
          received_at: one.received_at,
        })),
      }
    },
  )

  api.post(
    '/api/v1/commands/:id/cancel',
    {
      schema: {
        tags: ['commands'],
        summary: 'Cancel a command that no host has taken',
        params: IdParams,
        body: closed({ reason: Type.String({ minLength: 1, maxLength: 1024 }) }, 'Why.'),
        response: { 200: Command },
      },
    },
    async (request) => {
      const { id } = request.params
      valueOf(await orders.cancel(id as CommandId, actorOf(request), request.body.reason))
      return await commandOf(state, id)
    },
  )

  api.get(
    '/api/v1/commands/:id/release-code',
    {
      schema: {
        tags: ['commands'],
        summary: 'Read the one-time code that frees an isolated host locally',
        description:
          'For `firebreak-agent release --code` on a host that cannot reach its controller. Reading it is audited.',
        params: IdParams,
        response: { 200: closed({ command_id: Uuid('Command.'), code: Type.String() }, 'The code.') },
      },
    },
    async (request) => {
      const { id } = request.params
      return { command_id: id, code: valueOf(await releaseCodes.read(id as CommandId, actorText(request))) }
    },
  )
}

function intentOf(body: Type.Static<typeof NewCommand>, key: string | undefined): Intent {
  const schema = argsSchemas[body.type]
  if (!schema.Check(body.args)) {
    const errors = fieldErrors('body.args', schema.Errors(body.args))
    throw new ProblemError('bad_args', `the arguments do not fit ${body.type}`, errors)
  }
  return {
    agentId: parseAgentId(body.agent_id),
    type: body.type,
    args: body.args,
    reason: body.reason,
    ...(body.incident_id === undefined ? {} : { incidentId: body.incident_id as IncidentId }),
    ...(key === undefined ? {} : { idempotencyKey: key }),
    ...(body.expires_in_s === undefined ? {} : { expiresInS: body.expires_in_s }),
  }
}

async function commandOf(state: ApiDeps['state'], id: string): Promise<Command> {
  const row = await state.db.selectFrom('commands').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound('no such command')
  return commandView(row)
}

export function commandView(row: Selectable<Tables['commands']>): Command {
  return {
    id: row.id,
    agent_id: row.agent_id,
    type: row.type,
    args: recordOf(row.args),
    risk: RISKS.find((risk) => risk === row.risk) ?? 'high',
    state: COMMAND_STATES.find((state) => state === row.state) ?? 'unknown',
    code: row.code,
    why: row.why,
    actor: row.actor,
    reason: row.reason,
    incident_id: row.incident_id,
    run_id: row.run_id,
    playbook: row.playbook,
    evidence: row.evidence === null ? null : recordOf(row.evidence),
    created_at: row.created_at,
    expires_at: row.expires_at,
    delivered_at: row.delivered_at,
    deadline_at: row.deadline_at,
    updated_at: row.updated_at,
  }
}

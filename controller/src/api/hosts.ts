/** The fleet: what is known of each host, and what people say about it. */
import { CollectorStatus, CONTAINMENT_PHASES } from '@firebreak/shared/wire/messages.ts'
import { parseAgentId } from '@firebreak/shared/ids.ts'
import type { Selectable } from 'kysely'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Tables } from '../store/state/tables.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { checkIfMatch, etagOf } from './etag.ts'
import { recordOf, recordsOf, textsOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery, parseCursorKey } from './paging.ts'
import { notFound, ProblemError, valueOf } from './problem.ts'
import { Stream, streamView } from './streams.ts'
import { AgentIdText, AgentParams, closed, Count, orNull, Texts, Time } from './schemas.ts'

const MAX_STREAMS = 100
const collectorSchema = Compile(CollectorStatus)
export const GROUP_PATTERN = '^[a-z0-9][a-z0-9._-]{0,63}$'
export const CRITICALITIES = ['low', 'normal', 'high', 'critical'] as const

export const Host = closed(
  {
    agent_id: AgentIdText('Made of the public key of the agent.'),
    hostname: Type.String({ description: 'As the host says; not an identity.' }),
    os: orNull(Type.String({ description: 'Name and version of the system.' })),
    kernel: orNull(Type.String()),
    architecture: orNull(Type.String()),
    addresses: Texts('Addresses that the host has.'),
    agent_version: orNull(Type.String()),
    group: Type.String({ description: 'Group that its join token named.' }),
    tags: Texts('Set by people.'),
    protected: Type.Boolean({ description: 'A playbook never contains it.' }),
    criticality: Type.Enum([...CRITICALITIES]),
    connected: Type.Boolean({ description: 'A session is open.' }),
    enrolled_at: Time('When it joined'),
    last_seen_at: orNull(Time('When it last said something')),
    containment: closed(
      {
        phase: Type.Enum([...CONTAINMENT_PHASES]),
        command_id: orNull(Type.String()),
        expires_at: orNull(Type.String({ description: 'When it lapses by itself.' })),
        drift_count: Count('How often something else undid it and the agent set it again.'),
      },
      'As the agent said last.',
    ),
    collectors: Type.Array(CollectorStatus, { description: 'What it can see, and what it is blind to.' }),
    boot_id: orNull(Type.String()),
    trust_version: Count('Version of the trust file that it holds.'),
    revoked_at: orNull(Time('When it was shut out')),
    imported_at: orNull(Time('It has no agent: its events came out of recordings. When the first of them did')),
  },
  'A host.',
)
export type Host = Type.Static<typeof Host>
const HostWithStreams = Type.Object(
  { ...Host.properties, streams: Type.Array(Stream, { description: 'Whether every event is accounted for.' }) },
  { additionalProperties: false, description: 'A host and its streams of events.' },
)

const HostEdit = Type.Object(
  {
    tags: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$' }), {
        maxItems: 64,
        uniqueItems: true,
        description: 'All of them.',
      }),
    ),
    protected: Type.Optional(Type.Boolean()),
    criticality: Type.Optional(Type.Enum([...CRITICALITIES])),
    group: Type.Optional(Type.String({ pattern: GROUP_PATTERN })),
    reason: Type.Optional(Type.String({ maxLength: 1024, description: 'For the audit log.' })),
  },
  { additionalProperties: false, minProperties: 1, description: 'What is to change.' },
)

export function hostRoutes(
  api: Api,
  { state, audit, bus, fleet }: Pick<ApiDeps, 'state' | 'audit' | 'bus' | 'fleet'>,
): void {
  api.get(
    '/api/v1/hosts',
    {
      schema: {
        tags: ['hosts'],
        summary: 'List hosts',
        description: 'By name.',
        querystring: closed(
          {
            ...pageQuery,
            hostname: Type.Optional(Type.String({ maxLength: 255, description: 'Exactly this name, without case.' })),
            id_prefix: Type.Optional(
              Type.String({ pattern: '^[a-z2-7]{1,26}$', description: 'Agent ids that begin so.' }),
            ),
            group: Type.Optional(Type.String({ maxLength: 128 })),
            connected: Type.Optional(Type.Boolean()),
          },
          'Query.',
        ),
        response: { 200: pageOf(Host) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('hosts', query.cursor)
      let rows = state.db
        .selectFrom('hosts')
        .selectAll()
        .orderBy('hostname')
        .orderBy('agent_id')
        .limit(limit + 1)
      if (after !== undefined) {
        const [hostname, agentId] = pairOf(after)
        rows = rows.where((eb) =>
          eb.or([eb('hostname', '>', hostname), eb.and([eb('hostname', '=', hostname), eb('agent_id', '>', agentId)])]),
        )
      }
      const { hostname, id_prefix: prefix, group, connected } = query
      if (hostname !== undefined)
        rows = rows.where((eb) => eb(eb.fn<string>('lower', ['hostname']), '=', hostname.toLowerCase()))
      // The last letter of the alphabet of ids is `z`, so nothing with this prefix sorts after it.
      if (prefix !== undefined) rows = rows.where('agent_id', '>=', prefix).where('agent_id', '<=', `${prefix}~`)
      if (group !== undefined) rows = rows.where('group_name', '=', group)
      if (connected !== undefined) rows = rows.where('connected_session', connected ? 'is not' : 'is', null)
      return pageFrom(
        'hosts',
        await rows.execute(),
        limit,
        (row) => JSON.stringify([row.hostname, row.agent_id]),
        hostView,
      )
    },
  )

  api.get(
    '/api/v1/hosts/:agent_id',
    { schema: { tags: ['hosts'], summary: 'Show a host', params: AgentParams, response: { 200: HostWithStreams } } },
    async ({ params }, reply) => {
      const row = await state.db
        .selectFrom('hosts')
        .selectAll()
        .where('agent_id', '=', params.agent_id)
        .executeTakeFirst()
      if (!row) throw notFound('no such host')
      const host = hostView(row)
      const streams = await state.db
        .selectFrom('streams')
        .selectAll()
        .where('agent_id', '=', params.agent_id)
        .orderBy('updated_at', 'desc')
        .limit(MAX_STREAMS)
        .execute()
      reply.header('etag', etagOf(editedOf(host)))
      return { ...host, streams: streams.map((row) => streamView({ ...row, hostname: host.hostname })) }
    },
  )

  api.patch(
    '/api/v1/hosts/:agent_id',
    {
      schema: {
        tags: ['hosts'],
        summary: 'Change tags, protection, criticality or group',
        params: AgentParams,
        headers: Type.Object({
          'if-match': Type.Optional(Type.String({ maxLength: 512, description: 'ETag that was read.' })),
        }),
        body: HostEdit,
        response: { 200: Host },
      },
    },
    async (request, reply) => {
      const { reason, ...edit } = request.body
      const agentId = parseAgentId(request.params.agent_id)
      const host = await state.write(async (tx) => {
        const row = await tx.selectFrom('hosts').selectAll().where('agent_id', '=', agentId).executeTakeFirst()
        if (!row) throw notFound('no such host')
        const before = hostView(row)
        checkIfMatch(request.headers['if-match'], etagOf(editedOf(before)))
        const after: Host = { ...before, ...edit }
        await tx
          .updateTable('hosts')
          .set({
            tags: JSON.stringify(after.tags),
            protected: after.protected ? 1 : 0,
            criticality: after.criticality,
            group_name: after.group,
          })
          .where('agent_id', '=', agentId)
          .execute()
        await audit.append(tx, {
          actor: actorText(request),
          action: 'fleet.host.changed',
          objectType: 'host',
          objectId: agentId,
          detail: { before: editedOf(before), after: editedOf(after), ...(reason === undefined ? {} : { reason }) },
        })
        return after
      })
      bus.publish('host.changed', { agentId })
      reply.header('etag', etagOf(editedOf(host)))
      return host
    },
  )

  api.post(
    '/api/v1/hosts/:agent_id/revoke',
    {
      schema: {
        tags: ['hosts'],
        summary: 'Shut a host out for good',
        description: 'Its agent is never let in again; to come back it has to join anew, under a new id.',
        params: AgentParams,
        body: closed({ reason: Type.String({ minLength: 1, maxLength: 1024 }) }, 'Why.'),
        response: { 200: Host },
      },
    },
    async (request) => {
      const { agent_id: agentId } = request.params
      valueOf(await fleet.revoke(agentId, actorText(request), request.body.reason))
      const row = await state.db.selectFrom('hosts').selectAll().where('agent_id', '=', agentId).executeTakeFirst()
      if (!row) throw notFound('no such host')
      return hostView(row)
    },
  )
}

function editedOf({ tags, protected: isProtected, criticality, group }: Host) {
  return { tags, protected: isProtected, criticality, group }
}

export function hostView(row: Selectable<Tables['hosts']>): Host {
  const facts = recordOf(row.facts)
  const containment = recordOf(row.containment)
  const phase = CONTAINMENT_PHASES.find((phase) => phase === containment['phase']) ?? 'none'
  const os = [textOf(facts['os_name']) ?? textOf(facts['os']), textOf(facts['os_version'])].filter(
    (part) => part !== null,
  )
  return {
    agent_id: row.agent_id,
    hostname: row.hostname,
    os: os.length > 0 ? os.join(' ') : null,
    kernel: textOf(facts['kernel']),
    architecture: textOf(facts['architecture']),
    addresses: Array.isArray(facts['addresses'])
      ? facts['addresses'].filter((address) => typeof address === 'string')
      : [],
    agent_version: textOf(facts['agent_version']),
    group: row.group_name,
    tags: textsOf(row.tags),
    protected: row.protected === 1,
    criticality: row.criticality,
    connected: row.connected_session !== null,
    enrolled_at: row.enrolled_at,
    last_seen_at: row.last_seen_at,
    containment: {
      phase,
      command_id: textOf(containment['command_id']),
      expires_at: textOf(containment['expires_at']),
      drift_count: typeof containment['drift_count'] === 'number' ? containment['drift_count'] : 0,
    },
    collectors: recordsOf(row.collectors).filter((status): status is CollectorStatus => collectorSchema.Check(status)),
    boot_id: row.boot_id,
    trust_version: row.trust_version,
    revoked_at: row.revoked_at,
    imported_at: row.imported_at,
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function pairOf(key: string): [string, string] {
  const pair = parseCursorKey(key)
  if (Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'string') return [pair[0], pair[1]]
  throw new ProblemError('bad_cursor', 'start again without `cursor`')
}

/** The controller itself: what it is, who asks, and whether every event is accounted for. */
import { Type } from 'typebox'
import { RIGHTS, ROLE_RIGHTS } from '../access/rights.ts'
import { ROLES } from '../orders/orders.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { principalOf } from './authenticate.ts'
import { VERSION } from '../version.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery, parseCursorKey } from './paging.ts'
import { ProblemError } from './problem.ts'
import { AgentIdText, closed, Count, orNull, Time, Uuid } from './schemas.ts'
import { Stream, streamView } from './streams.ts'

const Counts = (description: string) => Type.Record(Type.String(), Type.Integer({ minimum: 0 }), { description })
const System = closed(
  {
    version: Type.String(),
    deployment_id: orNull(Uuid('Deployment.')),
    time: Time("The controller's clock"),
    started_at: Time('When it started'),
    hosts: closed(
      { enrolled: Count('Not revoked.'), online: Count('Connected now.'), isolated: Count('Isolated now.') },
      'The fleet.',
    ),
    incidents: Counts('By status.'),
    commands: Counts('By state.'),
    events: Count('Events in the telemetry store.'),
    batches_waiting: Count('Acked batches that are not yet both detected upon and in the telemetry store.'),
  },
  'The controller.',
)
export function systemRoutes(
  api: Api,
  { state, telemetry, clock }: Pick<ApiDeps, 'state' | 'telemetry' | 'clock'>,
): void {
  const startedAt = new Date(clock.now()).toISOString()

  api.get(
    '/api/v1/whoami',
    {
      schema: {
        tags: ['system'],
        summary: 'Who the token stands for',
        response: {
          200: closed(
            {
              token_id: Uuid('Token.'),
              name: Type.String(),
              role: Type.Enum([...ROLES]),
              rights: Type.Array(Type.Enum([...RIGHTS])),
            },
            'The one who asks.',
          ),
        },
      },
    },
    async (request) => {
      const { tokenId, name, role } = principalOf(request)
      return { token_id: tokenId, name, role, rights: [...ROLE_RIGHTS[role]] }
    },
  )

  api.get(
    '/api/v1/system',
    { schema: { tags: ['system'], summary: 'Show the controller', response: { 200: System } } },
    async () => {
      const { db } = state
      const [meta, hosts, incidents, commands, waiting, events] = await Promise.all([
        db.selectFrom('meta').select('value').where('key', '=', 'deployment_id').executeTakeFirst(),
        db
          .selectFrom('hosts')
          .select(['connected_session', 'containment'])
          .where('revoked_at', 'is', null)
          .where('imported_at', 'is', null)
          .execute(),
        db
          .selectFrom('incidents')
          .select((eb) => ['status', eb.fn.countAll<number>().as('count')])
          .where('merged_into', 'is', null)
          .groupBy('status')
          .execute(),
        db
          .selectFrom('commands')
          .select((eb) => ['state', eb.fn.countAll<number>().as('count')])
          .groupBy('state')
          .execute(),
        db
          .selectFrom('ingest_batches')
          .select((eb) => eb.fn.countAll<number>().as('count'))
          .executeTakeFirstOrThrow(),
        telemetry.count(),
      ])
      return {
        version: VERSION,
        deployment_id: meta?.value ?? null,
        time: new Date(clock.now()).toISOString(),
        started_at: startedAt,
        hosts: {
          enrolled: hosts.length,
          online: hosts.filter((host) => host.connected_session !== null).length,
          isolated: hosts.filter((host) => host.containment.includes('"phase":"isolated"')).length,
        },
        incidents: Object.fromEntries(incidents.map(({ status, count }) => [status, count])),
        commands: Object.fromEntries(commands.map(({ state, count }) => [state, count])),
        events,
        batches_waiting: waiting.count,
      }
    },
  )

  api.get(
    '/api/v1/system/streams',
    {
      schema: {
        tags: ['system'],
        summary: 'Account for every event',
        description: 'produced = stored + spooled + dropped, for each host, epoch and class.',
        querystring: closed({ ...pageQuery, host: Type.Optional(AgentIdText('Host.')) }, 'Query.'),
        response: { 200: pageOf(Stream) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('streams', query.cursor)
      let rows = state.db
        .selectFrom('streams')
        .innerJoin('hosts', 'hosts.agent_id', 'streams.agent_id')
        .selectAll('streams')
        .select('hosts.hostname')
        .orderBy('streams.agent_id')
        .orderBy('streams.epoch')
        .orderBy('streams.class')
        .limit(limit + 1)
      if (query.host !== undefined) rows = rows.where('streams.agent_id', '=', query.host)
      if (after !== undefined) {
        const key = parseCursorKey(after)
        if (!Array.isArray(key)) throw new ProblemError('bad_cursor', 'start again without `cursor`')
        const [agentId = '', epoch = '', name = ''] = key.map(String)
        rows = rows.where((eb) =>
          eb.or([
            eb('streams.agent_id', '>', agentId),
            eb.and([eb('streams.agent_id', '=', agentId), eb('streams.epoch', '>', epoch)]),
            eb.and([
              eb('streams.agent_id', '=', agentId),
              eb('streams.epoch', '=', epoch),
              eb('streams.class', '>', name),
            ]),
          ]),
        )
      }
      return pageFrom(
        'streams',
        await rows.execute(),
        limit,
        (row) => JSON.stringify([row.agent_id, row.epoch, row.class]),
        streamView,
      )
    },
  )
}

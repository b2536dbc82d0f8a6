/** Where a value was seen, and how common it is. */
import { Type } from 'typebox'
import { fieldNamed, nearestField } from '../search/fields.ts'
import { MAX_HOSTS } from '../search/sightings.ts'
import { SEEN_KINDS, type SeenKind } from '../store/telemetry/event-table.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { principalOf } from './authenticate.ts'
import { answered, signalOf } from './event-query.ts'
import { ProblemError } from './problem.ts'
import { AgentIdText, closed, Count, orNull, Time } from './schemas.ts'

const FleetHosts = Count('Hosts of the fleet, without those that were revoked.')
const Sighting = closed(
  {
    kind: Type.Enum(Object.keys(SEEN_KINDS) as SeenKind[], { description: 'What the value is, told by its form.' }),
    value: Type.String({ description: 'As it is looked for.' }),
    first_seen: orNull(Time('First of all times, also of events that have expired; by the clocks of the hosts')),
    last_seen: orNull(Time('Last of all times')),
    events: Count('Events that ever named it.'),
    host_count: Count('Hosts that ever named it; within about 1 % above a few thousand.'),
    fleet_hosts: FleetHosts,
    hosts: Type.Array(
      closed(
        {
          agent_id: AgentIdText(),
          hostname: orNull(Type.String()),
          first_seen: Time('First'),
          last_seen: Time('Last'),
          events: Count('Events of this host that are kept.'),
        },
        'A host.',
      ),
      { description: `Of the events that are kept; the last to see it first, at most ${MAX_HOSTS}.` },
    ),
    fields: Type.Array(closed({ field: Type.String(), events: Count('Events.') }, 'A field.'), {
      description: 'Where in the events that are kept it stands.',
    }),
  },
  'Where a value was seen.',
)
export type EventSighting = Type.Static<typeof Sighting>

export function eventSightingRoutes(
  api: Api,
  { search, state, clock }: Pick<ApiDeps, 'search' | 'state' | 'clock'>,
): void {
  api.get(
    '/api/v1/events/seen',
    {
      schema: {
        tags: ['events'],
        summary: 'Where a hash, an address, a domain or a program was seen',
        querystring: closed(
          {
            value: Type.String({
              minLength: 1,
              maxLength: 4_096,
              description: 'SHA-256, SHA-1, MD5, IPv4, IPv6, a domain, or the path of a program.',
            }),
          },
          'Query.',
        ),
        response: { 200: Sighting },
      },
    },
    async (request, reply): Promise<EventSighting> => {
      const seen = answered(
        await search.seen({
          value: request.query.value,
          user: principalOf(request).name,
          signal: signalOf(reply),
        }),
      )
      const names = await hostnames(seen.hosts.map(({ agentId }) => agentId))
      return {
        kind: seen.kind,
        value: seen.value,
        first_seen: seen.ever?.first ?? null,
        last_seen: seen.ever?.last ?? null,
        events: seen.ever?.events ?? 0,
        host_count: seen.ever?.hosts ?? 0,
        fleet_hosts: await fleetHosts(),
        hosts: seen.hosts.map(({ agentId, first, last, events }) => ({
          agent_id: agentId,
          hostname: names.get(agentId) ?? null,
          first_seen: first,
          last_seen: last,
          events,
        })),
        fields: seen.fields.map(({ field, events }) => ({ field, events })),
      }
    },
  )

  api.get(
    '/api/v1/events/prevalence',
    {
      schema: {
        tags: ['events'],
        summary: 'How common something is in the fleet',
        description: 'Of the events that are kept.',
        querystring: closed(
          {
            field: Type.String({ maxLength: 128, description: 'Such as process.executable.' }),
            value: Type.String({ minLength: 1, maxLength: 4_096 }),
            before: Type.Optional(Time('Only what was before')),
          },
          'Query.',
        ),
        response: {
          200: closed(
            {
              events: Count('Events that carry it.'),
              hosts: Count('Hosts that sent one.'),
              fleet_hosts: FleetHosts,
            },
            'Counts.',
          ),
        },
      },
    },
    async (request, reply) => {
      const { field, value, before } = request.query
      checkField(field)
      const found = answered(
        await search.prevalence({
          field,
          value,
          before: before === undefined ? new Date(clock.now()).toISOString() : timeOf(before),
          user: principalOf(request).name,
          signal: signalOf(reply),
        }),
      )
      return { events: found.events, hosts: found.hosts, fleet_hosts: await fleetHosts() }
    },
  )

  async function hostnames(agentIds: readonly string[]): Promise<Map<string, string>> {
    if (agentIds.length === 0) return new Map()
    const rows = await state.db
      .selectFrom('hosts')
      .select(['agent_id', 'hostname'])
      .where('agent_id', 'in', agentIds)
      .execute()
    return new Map(rows.map((row) => [row.agent_id, row.hostname]))
  }

  async function fleetHosts(): Promise<number> {
    const { hosts } = await state.db
      .selectFrom('hosts')
      .select((eb) => eb.fn.countAll<number>().as('hosts'))
      .where('revoked_at', 'is', null)
      .executeTakeFirstOrThrow()
    return hosts
  }
}

function checkField(name: string): void {
  if (fieldNamed(name)?.fast === true && !name.startsWith('@')) return
  const nearest = nearestField(name)
  const why = `${name} is not a field that can be counted by${nearest === undefined || nearest === name ? '' : `, did you mean ${nearest}?`}`
  throw new ProblemError('bad_request', `query.field: ${why}`, [{ field: 'query.field', why }])
}

/** A time that has the right form need not exist. */
function timeOf(text: string): string {
  const at = Date.parse(text)
  if (Number.isNaN(at))
    throw new ProblemError('bad_request', 'query.before: there is no such time', [
      { field: 'query.before', why: 'there is no such time' },
    ])
  return new Date(at).toISOString()
}

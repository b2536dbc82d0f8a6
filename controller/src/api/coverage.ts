/** When a host, or a rule on any host, saw less than it should have. */
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import { COVERAGE_QUALITIES } from '@firebreak/shared/events/coverage.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { Type } from 'typebox'
import type { CoverageWindow } from '../coverage/index.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { notFound } from './problem.ts'
import { AgentIdText, AgentParams, closed, Count, orNull, Time } from './schemas.ts'

const DEFAULT_SINCE_MS = 24 * 3_600_000
const MAX_WINDOWS = 1_000
const MAX_WAITING = 1_000

const Window = closed(
  {
    agent_id: AgentIdText('Host.'),
    hostname: Type.String(),
    class: Type.Enum([...EVENT_CLASSES, '*'], { description: '`*`: every class.' }),
    source: Type.String({
      description: 'Where events of the class came from then: sensor, audit, log, polling or none.',
    }),
    quality: Type.Enum([...COVERAGE_QUALITIES]),
    reason: orNull(Type.String({ description: 'Closed list; see docs of the coverage room.' })),
    why: orNull(Type.String({ description: 'In words.' })),
    from: Time('When it began, by the clock of the host'),
    to: orNull(Time('When it ended; null: still so')),
    events: Count('Lost in it, as far as they are counted.'),
  },
  'A time in which a host saw so much of a class.',
)
export type WindowShown = Type.Static<typeof Window>

const Waiting = closed(
  {
    agent_id: AgentIdText('Host.'),
    hostname: Type.String(),
    since: orNull(Time('When it was heard last')),
  },
  'A host that is not connected: what it has seen since is not known here yet.',
)
export type WaitingShown = Type.Static<typeof Waiting>

const since = Type.Optional(Time('From when on; a day ago when left out'))

const HostCoverage = closed(
  {
    since: Time('From when on'),
    until: Time('Now'),
    windows: Type.Array(Window, { description: 'Latest first.' }),
    truncated: Type.Boolean({ description: 'There are more windows than are shown: ask for a shorter time.' }),
  },
  'What a host could see.',
)
export type HostCoverageShown = Type.Static<typeof HostCoverage>

const RuleCoverage = closed(
  {
    ...HostCoverage.properties,
    rule: closed(
      {
        id: Type.String(),
        title: Type.String(),
        classes: Type.Array(Type.Enum([...EVENT_CLASSES]), { description: 'Of events that it looks at.' }),
      },
      'The rule.',
    ),
    hosts: Count('Hosts that are not shut out.'),
    blind_hosts: Count('Of them, those on which it missed what happened for a time.'),
    partly_blind_hosts: Count('Of the rest, those on which it may have missed some of it.'),
    waiting: Type.Array(Waiting),
  },
  'Where and when a rule was blind.',
)
export type RuleCoverageShown = Type.Static<typeof RuleCoverage>

export function coverageRoutes(
  api: Api,
  { state, rules, coverage, clock }: Pick<ApiDeps, 'state' | 'rules' | 'coverage' | 'clock'>,
): void {
  const timesOf = (asked: string | undefined) => {
    const until = clock.now()
    return { since: asked ?? new Date(until - DEFAULT_SINCE_MS).toISOString(), until: new Date(until).toISOString() }
  }

  api.get(
    '/api/v1/hosts/:agent_id/coverage',
    {
      schema: {
        tags: ['hosts'],
        summary: 'What a host could see, and when it could not',
        params: AgentParams,
        querystring: closed({ since }, 'Query.'),
        response: { 200: HostCoverage },
      },
    },
    async ({ params, query }) => {
      const host = await state.db
        .selectFrom('hosts')
        .select('hostname')
        .where('agent_id', '=', params.agent_id)
        .executeTakeFirst()
      if (!host) throw notFound('no such host')
      const times = timesOf(query.since)
      const found = await coverage.ofHost(params.agent_id as AgentId, times.since, MAX_WINDOWS + 1)
      return {
        ...times,
        windows: found.slice(0, MAX_WINDOWS).map((window) => shown(window, host.hostname)),
        truncated: found.length > MAX_WINDOWS,
      }
    },
  )

  api.get(
    '/api/v1/rules/:id/coverage',
    {
      schema: {
        tags: ['rules'],
        summary: 'On which hosts a rule was blind, and when',
        description: 'The classes of events that a rule looks at follow from its log source.',
        params: closed({ id: Type.String({ minLength: 1, maxLength: 256, description: 'Id of the rule.' }) }, 'Path.'),
        querystring: closed({ since }, 'Query.'),
        response: { 200: RuleCoverage },
      },
    },
    async ({ params, query }) => {
      const rule = rules.ruleList().find((rule) => rule.id === params.id)
      if (!rule) throw notFound('no such rule')
      const times = timesOf(query.since)
      const found = await coverage.ofClasses(rule.classes, times.since, MAX_WINDOWS + 1)
      const hosts = await state.db
        .selectFrom('hosts')
        .select(['agent_id', 'hostname', 'connected_session', 'last_seen_at'])
        .where('revoked_at', 'is', null)
        .execute()
      const names = new Map(hosts.map((host) => [host.agent_id, host.hostname]))
      const windows = found.slice(0, MAX_WINDOWS).map((window) => shown(window, names.get(window.agentId) ?? ''))
      const blind = new Set(windows.filter(({ quality }) => quality === 'blind').map((window) => window.agent_id))
      const partly = new Set(windows.map((window) => window.agent_id).filter((agentId) => !blind.has(agentId)))
      return {
        ...times,
        rule: { id: rule.id, title: rule.title, classes: [...rule.classes] },
        hosts: hosts.length,
        blind_hosts: blind.size,
        partly_blind_hosts: partly.size,
        windows,
        truncated: found.length > MAX_WINDOWS,
        waiting: hosts
          .filter((host) => host.connected_session === null)
          .slice(0, MAX_WAITING)
          .map((host) => ({ agent_id: host.agent_id, hostname: host.hostname, since: host.last_seen_at })),
      }
    },
  )
}

function shown({ agentId, ...window }: CoverageWindow, hostname: string): WindowShown {
  return { agent_id: agentId, hostname, ...window }
}

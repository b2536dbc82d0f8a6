/** What a process came from, what came of it, and what each of them did. */
import { Type } from 'typebox'
import type { Counted, ProcessFacts } from '../search/process-facts.ts'
import { parseMoment } from '../search/times.ts'
import { TREE_LIMITS, type TreeProcess } from '../search/tree.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { principalOf } from './authenticate.ts'
import { answered, signalOf } from './event-query.ts'
import { ProblemError } from './problem.ts'
import { AgentIdText, closed, Count, orNull, Texts, Time } from './schemas.ts'

const Some = (what: string) =>
  closed({ count: Count(`How many different ${what}.`), examples: Texts('Some of them.') }, `Its ${what}.`)

const Process = closed(
  {
    entity_id: Type.String(),
    parent_entity_id: orNull(Type.String({ description: 'Another process of the tree; null at the top.' })),
    relation: Type.Enum(['ancestor', 'self', 'descendant']),
    observed: Type.Boolean({ description: 'false: no event of its own tells of it, only its children do.' }),
    pid: orNull(Type.Integer()),
    name: orNull(Type.String()),
    executable: orNull(Type.String()),
    command_line: orNull(Type.String()),
    user: orNull(Type.String({ description: 'Name of the account, or its id.' })),
    sha256: orNull(Type.String({ description: 'Of the executable.' })),
    started_at: orNull(Time('When its start was told')),
    ended_at: orNull(Time('When its end was told')),
    first_seen: orNull(Time('First event that names it')),
    last_seen: orNull(Time('Last event that names it')),
    exit_code: orNull(Type.Integer()),
    execs: Count('How often it became another program.'),
    peers: Some('network peers'),
    domains: Some('domains'),
    files: Some('files'),
  },
  'A process.',
)
const Tree = closed(
  {
    host: AgentIdText('Host.'),
    entity_id: Type.String({ description: 'The process that was asked for.' }),
    processes: Type.Array(Process, { description: 'Parents before their children.' }),
    cut: Type.Boolean({ description: 'There are more descendants than are told.' }),
  },
  'A process with its ancestors and descendants.',
)
export type EventTree = Type.Static<typeof Tree>
export type TreeNode = Type.Static<typeof Process>

export function eventTreeRoutes(api: Api, { search, clock }: Pick<ApiDeps, 'search' | 'clock'>): void {
  api.get(
    '/api/v1/events/tree',
    {
      schema: {
        tags: ['events'],
        summary: 'The tree of a process',
        description: `Ancestors and descendants, at most ${TREE_LIMITS.processes} of them, with what each did. A pid that several processes had is refused with the list of them, unless \`at\` tells which is meant.`,
        querystring: closed(
          {
            host: AgentIdText('Host.'),
            pid: Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, description: 'Or `entity_id`.' })),
            entity_id: Type.Optional(Type.String({ minLength: 1, maxLength: 4_096, description: 'Or `pid`.' })),
            at: Type.Optional(
              Type.String({ maxLength: 64, description: 'With `pid`: the last process that had begun by then.' }),
            ),
          },
          'Query.',
        ),
        response: { 200: Tree },
      },
    },
    async (request, reply) => {
      const { host, pid, entity_id: entityId, at } = request.query
      if ((pid === undefined) === (entityId === undefined)) throw badQuery('entity_id', 'give a pid or an entity_id')
      if (at !== undefined && pid === undefined) throw badQuery('at', 'an entity_id needs no time')
      const atMs = at === undefined ? undefined : momentOf(at, clock.now())
      const tree = answered(
        await search.tree({
          agentId: host,
          user: principalOf(request).name,
          signal: signalOf(reply),
          ...(pid !== undefined && { pid }),
          ...(entityId !== undefined && { entityId }),
          ...(atMs !== undefined && { atMs }),
        }),
      )
      return { host, entity_id: tree.entityId, processes: tree.processes.map(view), cut: tree.cut }
    },
  )
}

/** The end of what was said: `2026-11-24` is the day with all that began in it. */
function momentOf(text: string, nowMs: number): number {
  const moment = parseMoment(text, nowMs)
  if (!moment.ok) throw badQuery('at', moment.why)
  return moment.value.toMs - 1
}

function badQuery(name: string, why: string): ProblemError {
  return new ProblemError('bad_request', `query.${name}: ${why}`, [{ field: `query.${name}`, why }])
}

function view(one: TreeProcess): TreeNode {
  return {
    entity_id: one.entityId,
    parent_entity_id: one.parentEntityId ?? null,
    relation: one.relation,
    observed: one.observed,
    pid: one.pid ?? null,
    name: one.name ?? null,
    executable: one.executable ?? null,
    command_line: one.commandLine ?? null,
    user: one.user ?? null,
    sha256: one.sha256 ?? null,
    started_at: isoOf(one.startedMs),
    ended_at: isoOf(one.endedMs),
    first_seen: one.observed ? isoOf(one.firstMs) : null,
    last_seen: one.observed ? isoOf(one.lastMs) : null,
    exit_code: one.exitCode ?? null,
    execs: one.execs,
    peers: countedView(one.peers),
    domains: countedView(one.domains),
    files: countedView(one.files),
  }
}

function countedView({ count, examples }: Counted) {
  return { count, examples: [...examples] }
}

function isoOf(ms: ProcessFacts['startedMs']): string | null {
  return ms === undefined ? null : new Date(ms).toISOString()
}

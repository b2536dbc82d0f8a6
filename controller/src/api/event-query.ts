/** What all routes of events have in common: query, host and time in, refusals out. */
import { Type } from 'typebox'
import type { RefusedBound, SearchRefusal } from '../search/search.ts'
import type { RefusedQuery } from '../search/kql/query.ts'
import type { AmbiguousPid, TreeRefusal } from '../search/tree.ts'
import { ProblemError } from './problem.ts'
import { AgentIdText, closed } from './schemas.ts'
import type { FastifyReply } from 'fastify'

const Bound = (description: string) =>
  Type.String({
    minLength: 1,
    maxLength: 64,
    description: `${description}, inclusive: 2026-11-24, 2026-11-24T12:00:00Z, 7d (ago) or now-1d/d. Without a zone it is UTC; a day means all of it.`,
  })

export const eventQuery = {
  query: Type.Optional(
    Type.String({
      maxLength: 10_000,
      description:
        'Kibana Query Language, such as `process.name:curl and destination.port:4444`; all events when left out. Fields: /api/v1/events/fields.',
    }),
  ),
  host: Type.Optional(AgentIdText('Only of this host.')),
  since: Type.Optional(Bound('From')),
  until: Type.Optional(Bound('Until')),
}

export const NotKept = closed(
  {
    class: Type.String({ description: 'Class of events.' }),
    kept_since: Type.String({ description: 'First day of arrival that is there, UTC.' }),
  },
  'A class of events that is not kept as far back as `since` asks: what came before has expired, or nothing did.',
)
export type NotKept = Type.Static<typeof NotKept>

interface EventQuery {
  readonly query?: string
  readonly host?: string
  readonly since?: string
  readonly until?: string
}

export function searchOf({ query, host, since, until }: EventQuery, nowMs: number) {
  return {
    query: query ?? '',
    nowMs,
    ...(host !== undefined && { agentId: host }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  }
}

/** Ends when nobody waits for the answer any more. */
export function signalOf(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  return gone.signal
}

type Refused =
  | { readonly ok: false; readonly code: SearchRefusal | TreeRefusal | 'unknown_kind'; readonly why: string }
  | RefusedQuery
  | RefusedBound
  | AmbiguousPid

/** The value, or the refusal as the answer to the request. */
export function answered<T>(result: { readonly ok: true; readonly value: T } | Refused): T {
  if (result.ok) return result.value
  throw problemOfSearch(result)
}

function problemOfSearch(refused: Refused): ProblemError {
  const { code, why } = refused
  switch (code) {
    case 'query_too_long':
    case 'query_too_deep':
    case 'query_too_many_terms':
    case 'query_syntax':
    case 'query_nested':
    case 'query_unknown_field':
    case 'query_bad_value': {
      const { from, to } = refused.at
      return new ProblemError('bad_query', why, [{ field: 'query.query', why, column: from + 1, length: to - from }])
    }
    case 'bad_time':
      return new ProblemError('bad_request', `query.${refused.field}: ${why}`, [
        { field: `query.${refused.field}`, why },
      ])
    case 'unknown_kind':
      return new ProblemError('bad_request', why, [{ field: 'query.value', why }])
    case 'several_processes':
      return new ProblemError(
        code,
        why,
        refused.candidates.map((candidate) => ({ field: 'query.entity_id', why: candidate })),
      )
    case 'no_process':
      return new ProblemError('not_found', why)
    case 'too_long':
    case 'cancelled':
      return new ProblemError('search_too_long', `${why}; narrow it by a time, a host, or a whole value`)
    case 'too_much':
      return new ProblemError('search_too_much', why)
    case 'too_many_searches':
      return new ProblemError(code, why)
    default:
      throw new Error(`unhandled refusal ${String(code satisfies never)}`)
  }
}

/** Facts from hosts, searched. */
import { createHash } from 'node:crypto'
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import { Event } from '@firebreak/shared/events/event.ts'
import { Fault } from '@firebreak/shared/result.ts'
import { Type } from 'typebox'
import type { EventQuery } from '../store/telemetry/telemetry-store.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { encodeCursor, decodeCursor, PAGE, pageOf, pageQuery } from './paging.ts'
import { ProblemError } from './problem.ts'
import { AgentIdText, closed, Count, Time } from './schemas.ts'

/** Events that share the time on a page's edge and were shown already; past it the search has to be narrowed. */
const MAX_EDGE = 500
const FIELD = /^([@a-z][A-Za-z0-9_@.]{0,127})=(.*)$/su

export function eventRoutes(api: Api, { telemetry, clock }: Pick<ApiDeps, 'telemetry' | 'clock'>): void {
  api.get(
    '/api/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Search events',
        description: 'Newest first. All conditions have to hold.',
        querystring: closed(
          {
            ...pageQuery,
            host: Type.Optional(AgentIdText('Host.')),
            class: Type.Optional(Type.Enum([...EVENT_CLASSES])),
            since: Type.Optional(Time('From')),
            until: Type.Optional(Time('Until')),
            text: Type.Optional(
              Type.String({
                minLength: 1,
                maxLength: 1024,
                description: 'Anywhere in command line, path or message, without case.',
              }),
            ),
            field: Type.Optional(
              Type.Array(Type.String({ maxLength: 4096 }), {
                maxItems: 16,
                description: '`process.name=curl`; `*` stands for any text, without case. May be given several times.',
              }),
            ),
          },
          'Query.',
        ),
        response: { 200: pageOf(Event) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const edge = edgeOf(decodeCursor('events', query.cursor))
      const seen = new Set(edge?.marks)
      const since = timeOf('since', query.since)
      const until = edge?.time ?? timeOf('until', query.until)
      const search: EventQuery = {
        ...(query.host === undefined ? {} : { agentId: query.host }),
        ...(query.class === undefined ? {} : { class: query.class }),
        ...(since === undefined ? {} : { since }),
        ...(until === undefined ? {} : { until }),
        ...(query.text === undefined ? {} : { text: query.text }),
        ...(query.field === undefined ? {} : { fields: fieldsOf(query.field) }),
        limit: limit + 1 + seen.size,
      }
      const found = (await searched(async () => await telemetry.search(search))).filter(
        (event) => !seen.has(markOf(event)),
      )
      const items = found.slice(0, limit)
      return { items, next: found.length > limit ? nextCursor(items, edge) : null }
    },
  )

  api.get(
    '/api/v1/events/prevalence',
    {
      schema: {
        tags: ['events'],
        summary: 'How common something is in the fleet',
        querystring: closed(
          {
            field: Type.String({
              pattern: '^[@a-z][A-Za-z0-9_@.]{0,127}$',
              description: 'Such as process.executable.',
            }),
            value: Type.String({ minLength: 1, maxLength: 4096 }),
            before: Type.Optional(Time('Only what was before')),
          },
          'Query.',
        ),
        response: {
          200: closed({ events: Count('Events that carry it.'), hosts: Count('Hosts that sent one.') }, 'Counts.'),
        },
      },
    },
    async ({ query: { field, value, before } }) =>
      await searched(
        async () =>
          await telemetry.prevalence(field, value, timeOf('before', before) ?? new Date(clock.now()).toISOString()),
      ),
  )
}

/** Which fields are searched by is the store's to know. */
async function searched<T>(search: () => Promise<T>): Promise<T> {
  try {
    return await search()
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.code !== 'unknown_field') throw thrown
    throw new ProblemError('bad_request', thrown.message, [{ field: 'query.field', why: thrown.message }])
  }
}

/** To the millisecond, as the store keeps it; a time that does not exist would be its fault there. */
function timeOf(name: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const at = Date.parse(text)
  if (Number.isNaN(at)) {
    const field = `query.${name}`
    throw new ProblemError('bad_request', `${field}: there is no such time`, [{ field, why: 'there is no such time' }])
  }
  return new Date(at).toISOString()
}

function fieldsOf(conditions: readonly string[]): Record<string, string> {
  const fields = new Map<string, string>()
  for (const [at, condition] of conditions.entries()) {
    const [, name, value] = FIELD.exec(condition) ?? []
    if (name === undefined || value === undefined) throw badField(at, 'must look like process.name=curl')
    if (fields.has(name)) throw badField(at, `${name} is given twice`)
    fields.set(name, value)
  }
  return Object.fromEntries(fields)
}

function badField(at: number, why: string): ProblemError {
  const field = `query.field.${at}`
  return new ProblemError('bad_request', `${field}: ${why}`, [{ field, why }])
}

/** Where a page ended: its last time, and which events of exactly that time were shown, because times are not unique. */
interface Edge {
  readonly time: string
  readonly marks: readonly string[]
}
/** 48 bits tell a few hundred events apart, and keep the cursor short. */
const MARK_LENGTH = 8

function markOf(event: Event): string {
  return createHash('sha256')
    .update(event.event.id ?? '')
    .digest('base64url')
    .slice(0, MARK_LENGTH)
}

function nextCursor(items: readonly Event[], before: Edge | undefined): string {
  const last = items.at(-1)
  const time = last ? millisecondOf(last) : ''
  const marks = items.filter((event) => millisecondOf(event) === time).map(markOf)
  const shown = before?.time === time ? [...before.marks, ...marks] : marks
  if (shown.length > MAX_EDGE)
    throw new ProblemError('bad_request', `more than ${MAX_EDGE} events have the time ${time}; narrow the search`)
  return encodeCursor('events', `${time} ${shown.join('')}`)
}

/** Events are ordered to the millisecond, whatever more their host wrote. */
function millisecondOf(event: Event): string {
  return new Date(Date.parse(event['@timestamp'])).toISOString()
}

function edgeOf(key: string | undefined): Edge | undefined {
  if (key === undefined) return undefined
  const [time = '', marks = ''] = key.split(' ')
  if (Number.isNaN(Date.parse(time)) || marks.length > MAX_EDGE * MARK_LENGTH)
    throw new ProblemError('bad_cursor', 'start again without `cursor`')
  return { time, marks: marks.match(/.{8}/g) ?? [] }
}

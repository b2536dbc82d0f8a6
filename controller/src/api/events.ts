/** Facts from hosts, searched. */
import { Event } from '@firebreak/shared/events/event.ts'
import { Type } from 'typebox'
import { FIELD_TYPES, FIELDS } from '../search/fields.ts'
import type { EventKey } from '../store/telemetry/telemetry-store.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { principalOf } from './authenticate.ts'
import { answered, eventQuery, NotKept, searchOf, signalOf } from './event-query.ts'
import { decodeCursor, encodeCursor, PAGE, pageOf, pageQuery, parseCursorKey } from './paging.ts'
import { ProblemError } from './problem.ts'
import { closed } from './schemas.ts'

const SORTS = ['newest', 'oldest'] as const
type Sort = (typeof SORTS)[number]

const Field = closed(
  {
    name: Type.String({ description: 'As a query names it.' }),
    type: Type.Enum([...FIELD_TYPES], {
      description:
        'keyword: the whole value, without case; text: its words; id: the whole value, as it is written; number, date and ip also by >= > <= <.',
    }),
    description: Type.String(),
    fast: Type.Boolean({ description: 'false: read out of the text of each event, so narrow the time first.' }),
  },
  'A field that events can be searched by.',
)
export type EventField = Type.Static<typeof Field>

export function eventRoutes(api: Api, { search, clock }: Pick<ApiDeps, 'search' | 'clock'>): void {
  api.get(
    '/api/v1/events',
    {
      schema: {
        tags: ['events'],
        summary: 'Search events',
        description:
          'In the order of their times, by the clocks of their hosts. Events that come in while pages are read move none of them.',
        querystring: closed(
          {
            ...pageQuery,
            ...eventQuery,
            sort: Type.Optional(Type.Enum([...SORTS], { description: 'Which first; newest when left out.' })),
          },
          'Query.',
        ),
        response: {
          200: closed(
            {
              ...pageOf(Event).properties,
              not_kept: Type.Array(NotKept, {
                description: 'Of which classes this answer says nothing for a part of the time since `since`.',
              }),
            },
            'A page.',
          ),
        },
      },
    },
    async (request, reply) => {
      const { query } = request
      const place = placeOf(decodeCursor('events', query.cursor))
      const order = query.sort ?? place?.order ?? 'newest'
      if (place && place.order !== order)
        throw new ProblemError('bad_cursor', 'the cursor is of the other order; start again without `cursor`')
      const nowMs = place?.nowMs ?? clock.now()
      const limit = query.limit ?? PAGE.default
      const asked = searchOf(query, nowMs)
      const found = answered(
        await search.events({
          ...asked,
          order,
          limit: limit + 1,
          ...(place && { after: place.after }),
          user: principalOf(request).name,
          signal: signalOf(reply),
        }),
      )
      const notKept = await search.notKept(asked)
      const shown = found.slice(0, limit)
      const last = shown.at(-1)
      return {
        items: shown.map(({ event }) => event),
        next: found.length > limit && last ? cursorOf({ nowMs, order, after: last.key }) : null,
        not_kept: notKept.map(({ class: name, keptSince }) => ({ class: name, kept_since: keptSince })),
      }
    },
  )

  api.get(
    '/api/v1/events/fields',
    {
      schema: {
        tags: ['events'],
        summary: 'Fields that events can be searched by',
        response: { 200: closed({ items: Type.Array(Field) }, 'All of them, by name.') },
      },
    },
    () => ({ items: [...FIELDS.values()] }),
  )
}

/** Where a page ended. `nowMs`: what `7d` means must not move while somebody reads. */
interface Place {
  readonly nowMs: number
  readonly order: Sort
  readonly after: EventKey
}

function cursorOf({ nowMs, order, after }: Place): string {
  const { timeMs, agentId, epoch, class: name, seq } = after
  return encodeCursor('events', JSON.stringify([nowMs, order, timeMs, agentId, epoch, name, seq]))
}

function placeOf(key: string | undefined): Place | undefined {
  if (key === undefined) return undefined
  const parts = parseCursorKey(key)
  const [nowMs, sort, timeMs, agentId, epoch, name, seq]: readonly unknown[] = Array.isArray(parts) ? parts : []
  const order = SORTS.find((one) => one === sort)
  if (
    order === undefined ||
    !isWhole(nowMs) ||
    !isWhole(timeMs) ||
    !isWhole(seq) ||
    typeof agentId !== 'string' ||
    typeof epoch !== 'string' ||
    typeof name !== 'string' ||
    !/^[0-9a-f-]{36}$/.test(epoch)
  )
    throw new ProblemError('bad_cursor', 'start again without `cursor`')
  return { nowMs, order, after: { timeMs, agentId, epoch, class: name, seq } }
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

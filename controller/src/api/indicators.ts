/** Values that are known to be bad: taken in, shown, looked up, ended; and the feeds that they come from. */
import { OBSERVABLE_TYPES } from '@firebreak/shared/indicators/observable.ts'
import { Type } from 'typebox'
import {
  FEED_KINDS,
  type FeedView,
  type HuntView,
  type IndicatorView,
  type NewIndicator,
  TLPS,
} from '../indicators/index.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { decodeCursor, encodeCursor, PAGE, pageOf, pageQuery } from './paging.ts'
import { notFound, ProblemError, valueOf } from './problem.ts'
import { closed, Count, orNull, Texts, Time, Uuid } from './schemas.ts'

/** Entries of one request. */
export const INDICATORS_AT_ONCE = 2_000
const INDICATORS_BODY_BYTES = 16 * 1_048_576
const MAX_LISTED = 500

const TypeName = Type.Enum([...OBSERVABLE_TYPES])
const Source = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$',
  description: 'Whom it comes from: a feed, a file, a person.',
})
const Confidence = Type.Integer({ minimum: 0, maximum: 100, description: 'How sure its source is, 0 to 100.' })
const TlpName = Type.Enum([...TLPS], { description: 'Traffic Light Protocol 2.0.' })

export const Indicator = closed(
  {
    id: Count('Number of the indicator.'),
    type: TypeName,
    value: Type.String({ description: 'In its one spelling.' }),
    source: Type.String(),
    valid_from: Time('Since when it is in force'),
    valid_until: orNull(Time('When it is over')),
    confidence: Confidence,
    tlp: orNull(TlpName),
    labels: Texts('Labels.'),
    description: orNull(Type.String()),
    reference: orNull(Type.String({ description: 'What its source calls it.' })),
    sightings: Count('Events in which it was seen.'),
    last_sighted_at: orNull(Time('When it was seen last')),
    created_at: Time('When it came first'),
    updated_at: Time('When its source said it last'),
    expired: Type.Boolean({ description: 'It is over and matches nothing.' }),
    warning: orNull(
      Type.String({ description: 'The warning list that it is on: it raises no more than an informational alert.' }),
    ),
  },
  'A value that is known to be bad.',
)
export type Indicator = Type.Static<typeof Indicator>

const NewIndicatorBody = closed(
  {
    type: TypeName,
    value: Type.String({ minLength: 1, maxLength: 2_048, description: 'In its one spelling, as the lookup shows it.' }),
    valid_from: Type.Optional(Time('Since when; now when left out')),
    valid_until: Type.Optional(Time('Until when; for ever when left out')),
    confidence: Type.Optional(Confidence),
    tlp: Type.Optional(TlpName),
    labels: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 64, description: 'Labels.' })),
    description: Type.Optional(Type.String({ maxLength: 2_000 })),
    reference: Type.Optional(Type.String({ maxLength: 2_000 })),
  },
  'An indicator to take in.',
)
const PatternBody = closed(
  {
    reference: Type.String({ minLength: 1, maxLength: 200 }),
    pattern: Type.String({ maxLength: 65_536 }),
    code: Type.String({ maxLength: 64 }),
    why: Type.String({ maxLength: 500 }),
  },
  'A pattern that the stream cannot be matched against.',
)

const Hunt = closed(
  {
    id: Uuid('Id.'),
    state: Type.Enum(['waiting', 'running', 'done', 'failed'], { description: 'How far it is.' }),
    indicators: Count('New indicators that are looked up.'),
    looked_at: Count('Values of stored events that were compared so far.'),
    hits: Count('Signals that it made.'),
    skipped: Count('Indicators of types that stored events cannot be asked for, and hits past the limit.'),
    why: orNull(Type.String()),
    created_at: Time('When it was planned'),
    updated_at: Time('When it went on last'),
  },
  'New indicators looked up in stored events.',
)
export type Hunt = Type.Static<typeof Hunt>

const FeedOptionsBody = closed(
  {
    confidence: Type.Optional(Confidence),
    tlp: Type.Optional(TlpName),
    labels: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 16, description: 'Labels.' })),
    valid_days: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_650, description: 'Life of an entry in days.' })),
    columns: Type.Optional(
      Type.Record(Type.String({ maxLength: 32 }), Type.String({ maxLength: 200 }), {
        description: 'Of CSV: what → name of the column.',
      }),
    ),
    collection: Type.Optional(Type.String({ maxLength: 200, description: 'Of TAXII: id or title.' })),
    secret_file: Type.Optional(
      Type.String({
        pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
        description: 'Name of a file in indicators.feed_dir.',
      }),
    ),
    auth: Type.Optional(Type.Enum(['bearer', 'basic'])),
  },
  'How the feed is read.',
)
const FeedBody = {
  name: Source,
  kind: Type.Enum([...FEED_KINDS]),
  url: Type.String({ pattern: '^https?://[!-~]{1,2000}$', description: 'http(s) address.' }),
  every_s: Type.Integer({
    minimum: 0,
    maximum: 31_536_000,
    description: 'Seconds between two fetches; 0: only when asked for.',
  }),
}
export const Feed = closed(
  {
    ...FeedBody,
    options: FeedOptionsBody,
    created_by: Type.String(),
    created_at: Time('When it was added'),
    last_run_at: orNull(Time('When it was fetched last')),
    last_ok_at: orNull(Time('When that went well last')),
    last_error: orNull(Type.String({ description: 'Why the last fetch failed; what it said before stays in force.' })),
    last_counts: orNull(
      closed(
        {
          indicators: Count('Indicators in it.'),
          added: Count('New ones among them.'),
          expired: Count('Those that it does not name any more.'),
          patterns: Count('Patterns that are kept and cannot be matched.'),
          refused: Count('Entries that are no indicators.'),
        },
        'What the last good fetch brought.',
      ),
    ),
  },
  'A feed.',
)
export type Feed = Type.Static<typeof Feed>
const FeedParams = closed({ name: Source }, 'Path.')
const NumberParams = closed({ id: Type.Integer({ minimum: 1, description: 'Number.' }) }, 'Path.')

export function indicatorRoutes(api: Api, { indicators }: Pick<ApiDeps, 'indicators'>): void {
  api.get(
    '/api/v1/indicators',
    {
      schema: {
        tags: ['indicators'],
        summary: 'List indicators',
        description: 'Newest first.',
        querystring: closed(
          {
            ...pageQuery,
            type: Type.Optional(TypeName),
            source: Type.Optional(Source),
            expired: Type.Optional(Type.Boolean({ description: 'Only those that are over, or that are not.' })),
          },
          'Query.',
        ),
        response: { 200: pageOf(Indicator) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('indicators', query.cursor)
      const before = after === undefined ? undefined : Number(after)
      if (before !== undefined && !Number.isSafeInteger(before))
        throw new ProblemError('bad_cursor', 'start again without `cursor`')
      const { type, source, expired } = query
      const rows = await indicators.list({
        limit: limit + 1,
        ...(before === undefined ? {} : { before }),
        ...(type === undefined ? {} : { type }),
        ...(source === undefined ? {} : { source }),
        ...(expired === undefined ? {} : { expired }),
      })
      const shown = rows.slice(0, limit)
      const last = shown.at(-1)
      return {
        items: shown.map(indicatorView),
        next: rows.length > limit && last ? encodeCursor('indicators', String(last.n)) : null,
      }
    },
  )

  api.post(
    '/api/v1/indicators',
    {
      bodyLimit: INDICATORS_BODY_BYTES,
      schema: {
        tags: ['indicators'],
        summary: 'Take indicators in',
        description:
          'Matched on as soon as it is answered. A long import comes in several requests with one `import_id`; the last one has `complete`, and only then is over what `replace` ends.',
        body: closed(
          {
            source: Source,
            import_id: Uuid('The same in all requests of one import.'),
            indicators: Type.Array(NewIndicatorBody, { maxItems: INDICATORS_AT_ONCE }),
            patterns: Type.Optional(Type.Array(PatternBody, { maxItems: INDICATORS_AT_ONCE })),
            complete: Type.Optional(
              closed(
                {
                  replace: Type.Boolean({ description: 'What the source said before and not in this import is over.' }),
                  revoked: Type.Optional(
                    Type.Array(Type.String({ maxLength: 2_000 }), {
                      maxItems: 100_000,
                      description: 'References taken back.',
                    }),
                  ),
                },
                'The end of an import.',
              ),
            ),
          },
          'What to take in.',
        ),
        response: {
          200: closed(
            {
              taken: Count('Indicators of this request.'),
              counts: orNull(
                closed(
                  {
                    indicators: Count('Of the whole import.'),
                    added: Count('New ones.'),
                    expired: Count('Ended by it.'),
                  },
                  'At the end.',
                ),
              ),
            },
            'What was taken.',
          ),
        },
      },
    },
    async (request) => {
      const { source, import_id: importId, indicators: list, patterns, complete } = request.body
      const part = { source, importId, indicators: list.map(newIndicator), patterns: patterns ?? [] }
      const taken = valueOf(await indicators.take(part))
      if (!complete) return { taken, counts: null }
      const end = { source, importId, replace: complete.replace, revoked: complete.revoked ?? [] }
      const counts = valueOf(await indicators.complete(end, actorText(request)))
      return { taken, counts: { indicators: counts.indicators, added: counts.added, expired: counts.expired } }
    },
  )

  api.get(
    '/api/v1/indicators/lookup',
    {
      schema: {
        tags: ['indicators'],
        summary: 'What is known of a value',
        description: 'The value itself, the blocks that it lies in, the names above it. Defanged forms are understood.',
        querystring: closed({ value: Type.String({ minLength: 1, maxLength: 2_048 }) }, 'Query.'),
        response: {
          200: closed({ type: TypeName, value: Type.String(), items: Type.Array(Indicator) }, 'What is known.'),
        },
      },
    },
    async ({ query }) => {
      const { value, indicators: found } = valueOf(await indicators.lookup(query.value))
      return { type: value.type, value: value.value, items: found.map(indicatorView) }
    },
  )

  api.get(
    '/api/v1/indicators/patterns',
    {
      schema: {
        tags: ['indicators'],
        summary: 'Patterns that are kept and cannot be matched',
        response: {
          200: closed(
            {
              items: Type.Array(
                closed(
                  {
                    source: Type.String(),
                    reference: Type.String(),
                    pattern: Type.String(),
                    code: Type.String(),
                    why: Type.String(),
                  },
                  'A pattern.',
                ),
                { description: `At most ${MAX_LISTED}.` },
              ),
            },
            'Patterns.',
          ),
        },
      },
    },
    async () => ({ items: [...(await indicators.patterns(MAX_LISTED))] }),
  )

  api.get(
    '/api/v1/indicators/hunts',
    {
      schema: {
        tags: ['indicators'],
        summary: 'Look-ups of new indicators in stored events',
        response: { 200: closed({ items: Type.Array(Hunt, { description: 'Newest first, at most 100.' }) }, 'Hunts.') },
      },
    },
    async () => ({ items: (await indicators.hunts(100)).map(huntView) }),
  )

  api.get(
    '/api/v1/indicators/:id',
    {
      schema: {
        tags: ['indicators'],
        summary: 'Show an indicator',
        params: NumberParams,
        response: { 200: Indicator },
      },
    },
    async ({ params }) => {
      const found = await indicators.get(params.id)
      if (!found) throw notFound('no such indicator')
      return indicatorView(found)
    },
  )

  api.post(
    '/api/v1/indicators/:id/expire',
    {
      schema: {
        tags: ['indicators'],
        summary: 'End an indicator',
        params: NumberParams,
        body: closed(
          { reason: Type.String({ minLength: 1, maxLength: 1_000, description: 'Why; in the audit log.' }) },
          'Why.',
        ),
        response: { 200: Indicator },
      },
    },
    async (request) =>
      indicatorView(valueOf(await indicators.expire(request.params.id, actorText(request), request.body.reason))),
  )

  api.get(
    '/api/v1/indicator-feeds',
    {
      schema: {
        tags: ['indicators'],
        summary: 'List feeds',
        response: { 200: closed({ items: Type.Array(Feed) }, 'Feeds.') },
      },
    },
    async () => ({ items: (await indicators.feeds.list()).map(feedView) }),
  )

  api.post(
    '/api/v1/indicator-feeds',
    {
      schema: {
        tags: ['indicators'],
        summary: 'Add a feed',
        body: closed({ ...FeedBody, options: Type.Optional(FeedOptionsBody) }, 'The feed.'),
        response: { 201: Feed },
      },
    },
    async (request, reply) => {
      const { name, kind, url, every_s: everyS, options } = request.body
      const feed = { name, kind, url, everyS, options: options ?? {} } as Parameters<typeof indicators.feeds.add>[0]
      return await reply.code(201).send(feedView(valueOf(await indicators.feeds.add(feed, actorText(request)))))
    },
  )

  api.post(
    '/api/v1/indicator-feeds/:name/fetch',
    {
      schema: {
        tags: ['indicators'],
        summary: 'Fetch a feed now',
        description:
          'Begins the fetch and answers at once; `last_run_at` and `last_error` of the feed say what became of it.',
        params: FeedParams,
        response: { 202: Feed },
      },
    },
    async ({ params }, reply) => {
      const feed = (await indicators.feeds.list()).find(({ name }) => name === params.name)
      if (!feed) throw notFound('no such feed')
      indicators.feeds.begin(params.name)
      return await reply.code(202).send(feedView(feed))
    },
  )

  api.delete(
    '/api/v1/indicator-feeds/:name',
    {
      schema: {
        tags: ['indicators'],
        summary: 'Take a feed away',
        description: 'What it said stays in force until it is over.',
        params: FeedParams,
        response: { 200: closed({ name: Type.String() }, 'What was taken away.') },
      },
    },
    async (request) => {
      if (!(await indicators.feeds.remove(request.params.name, actorText(request)))) throw notFound('no such feed')
      return { name: request.params.name }
    },
  )
}

function newIndicator(body: Type.Static<typeof NewIndicatorBody>): NewIndicator {
  const { valid_from: validFrom, valid_until: validUntil, tlp, ...rest } = body
  return {
    ...rest,
    ...(tlp === undefined ? {} : { tlp }),
    // One form only: they are compared as text.
    ...(validFrom === undefined ? {} : { validFrom: new Date(validFrom).toISOString() }),
    ...(validUntil === undefined ? {} : { validUntil: new Date(validUntil).toISOString() }),
  }
}

function indicatorView(view: IndicatorView): Indicator {
  return {
    id: view.n,
    type: view.type,
    value: view.value,
    source: view.source,
    valid_from: view.validFrom,
    valid_until: view.validUntil,
    confidence: view.confidence,
    tlp: view.tlp,
    labels: [...view.labels],
    description: view.description,
    reference: view.reference,
    sightings: view.sightings,
    last_sighted_at: view.lastSightedAt,
    created_at: view.createdAt,
    updated_at: view.updatedAt,
    expired: view.expired,
    warning: view.warning,
  }
}

function huntView(view: HuntView): Hunt {
  return {
    id: view.id,
    state: view.state,
    indicators: view.indicators,
    looked_at: view.lookedAt,
    hits: view.hits,
    skipped: view.skipped,
    why: view.why,
    created_at: view.createdAt,
    updated_at: view.updatedAt,
  }
}

function feedView(view: FeedView): Feed {
  return {
    name: view.name,
    kind: view.kind,
    url: view.url,
    every_s: view.everyS,
    options: view.options as Feed['options'],
    created_by: view.createdBy,
    created_at: view.createdAt,
    last_run_at: view.lastRunAt,
    last_ok_at: view.lastOkAt,
    last_error: view.lastError,
    last_counts: view.lastCounts,
  }
}

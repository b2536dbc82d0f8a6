/** Events as a file. Who takes how much out of the store is in the audit log before the first byte leaves. */
import { Readable } from 'node:stream'
import { reasonOf } from '@firebreak/shared/result.ts'
import { Type } from 'typebox'
import { EXPORT_FORMATS } from '../store/telemetry/telemetry-store.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText, principalOf } from './authenticate.ts'
import { answered, eventQuery, searchOf, signalOf } from './event-query.ts'
import { closed } from './schemas.ts'

const CONTENT_TYPES = {
  ndjson: 'application/x-ndjson; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
} as const satisfies Record<(typeof EXPORT_FORMATS)[number], string>

export function eventExportRoutes(
  api: Api,
  { search, state, audit, clock, log }: Pick<ApiDeps, 'search' | 'state' | 'audit' | 'clock' | 'log'>,
): void {
  api.get(
    '/api/v1/events/export',
    {
      schema: {
        tags: ['events'],
        summary: 'Export events as NDJSON or Parquet',
        description:
          'Newest first. The number of events is in the header `x-firebreak-events`; `x-firebreak-more: true` says that more match than the limit; `x-firebreak-not-kept: file=2026-10-25` names classes that are not kept as far back as `since`. Every export is in the audit log. A connection that ends early leaves a file that is not whole: NDJSON has fewer lines than the header says, Parquet cannot be read.',
        produces: Object.values(CONTENT_TYPES),
        querystring: closed(
          {
            ...eventQuery,
            format: Type.Optional(Type.Enum([...EXPORT_FORMATS], { description: 'ndjson when left out.' })),
            limit: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: 1_000_000_000,
                description:
                  'Events at most. When left out, a query that finds more than an export may hold is refused.',
              }),
            ),
          },
          'Query.',
        ),
      },
    },
    async (request, reply) => {
      const { format = 'ndjson', limit, ...query } = request.query
      const asked = searchOf(query, clock.now())
      const started = answered(
        await search.export({
          ...asked,
          format,
          user: principalOf(request).name,
          signal: signalOf(reply),
          ...(limit !== undefined && { limit }),
        }),
      )
      const record = async (action: string, detail: Readonly<Record<string, unknown>>) =>
        await state.write(
          async (tx) =>
            await audit.append(tx, {
              actor: actorText(request),
              action,
              objectType: 'events',
              objectId: request.id,
              detail,
            }),
        )
      await record('search.export.started', {
        ...query,
        format,
        events: started.events,
        ...(limit !== undefined && { limit }),
      })
      const notKept = await search.notKept(asked)
      if (notKept.length > 0)
        reply.header(
          'x-firebreak-not-kept',
          notKept.map(({ class: name, keptSince }) => `${name}=${keptSince}`).join(', '),
        )
      return await reply
        .type(CONTENT_TYPES[format])
        .header('content-disposition', `attachment; filename="events.${format}"`)
        .header('x-firebreak-events', started.events)
        .header('x-firebreak-more', String(started.more))
        .send(Readable.from(watched(started.bytes), { objectMode: false }))

      async function* watched(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
        let bytes = 0
        let outcome = 'cut off'
        try {
          for await (const piece of pieces) {
            bytes += piece.length
            yield piece
          }
          outcome = 'whole'
        } catch (thrown) {
          log.warn({ request_id: request.id, why: reasonOf(thrown) }, 'api.export.failed')
          throw thrown
        } finally {
          await record('search.export.ended', { bytes, outcome })
        }
      }
    },
  )
}

/** Recordings taken in: begin one, send its lines in order, say that it is over. */
import { READ_AS, RECORD_REFUSALS, RECORDING_LIMITS } from '@firebreak/shared/recordings/recording.ts'
import { Type } from 'typebox'
import type { ImportView } from '../import/index.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { notFound, valueOf } from './problem.ts'
import { AgentIdText, closed, Count, IdParams, orNull, Time, Uuid } from './schemas.ts'

/** Lines of one request; with it a request stays far below the body limit, and a controller far below a second of work. */
export const LINES_AT_ONCE = 1_000
export const LINES_BODY_BYTES = 8 * 1_048_576
const MAX_LISTED = 200

export const Import = closed(
  {
    id: Uuid('Id.'),
    file_name: Type.String({ description: 'As whoever sends it calls it.' }),
    file_sha256: Type.String({ description: 'Of the decompressed file.' }),
    read_as: Type.String({ description: 'auto, ecs, auditd or sysmon.' }),
    host: Type.String({ description: 'Host that all records are given to; empty: each names its own.' }),
    attempt: Count('0: the first time that this file was taken in for this host.'),
    shift_ms: orNull(Type.Integer({ description: 'Added to the time of each record, ms.' })),
    state: Type.Enum(['running', 'complete']),
    lines: Count('Lines taken so far; the next one is one more.'),
    records: Count('Records among them: those stored and those refused.'),
    stored_records: Count('Records stored; several of the audit system make one event.'),
    stored_events: Count('Events that they became.'),
    refused: Type.Array(
      closed(
        {
          code: Type.Enum([...RECORD_REFUSALS]),
          records: Count('How many.'),
          examples: Type.Array(closed({ line: Count('Line of the file.'), why: Type.String() }, 'One of them.'), {
            description: 'The first of them.',
          }),
        },
        'Why records were not stored.',
      ),
    ),
    hosts: Type.Array(
      closed(
        { agent_id: AgentIdText('Id of the imported host.'), hostname: Type.String(), events: Count('Events of it.') },
        'A host that the recording names.',
      ),
    ),
    created_by: Type.String(),
    created_at: Time('When it was begun'),
    updated_at: Time('When lines were taken last'),
    ended_at: orNull(Time('When it was over')),
  },
  'A recording that was or is being taken in.',
)
export type Import = Type.Static<typeof Import>

export function importRoutes(api: Api, { imports }: Pick<ApiDeps, 'imports'>): void {
  api.post(
    '/api/v1/imports',
    {
      schema: {
        tags: ['imports'],
        summary: 'Begin to take a recording in',
        description:
          'The same file is one import: one that was broken off goes on at `lines` + 1, one that is complete comes back as it is, unless `again` is true.',
        body: closed(
          {
            file_name: Type.String({ minLength: 1, maxLength: 1_024 }),
            file_sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Of the decompressed file.' }),
            read_as: Type.Optional(Type.Enum([...READ_AS], { description: 'auto when left out.' })),
            host: Type.Optional(
              Type.String({
                maxLength: RECORDING_LIMITS.host,
                pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
                description: 'Give all records to this host.',
              }),
            ),
            shift_ms: Type.Optional(
              Type.Integer({ minimum: -1e13, maximum: 1e13, description: 'Added to the time of each record, ms.' }),
            ),
            again: Type.Optional(Type.Boolean()),
          },
          'What is to come.',
        ),
        response: { 200: Import },
      },
    },
    async (request) => {
      const {
        file_name: fileName,
        file_sha256: fileSha256,
        read_as: readAs,
        host,
        shift_ms: shiftMs,
        again,
      } = request.body
      return importView(
        await imports.begin(
          {
            fileName,
            fileSha256,
            readAs: readAs ?? 'auto',
            host: host ?? '',
            shiftMs: shiftMs ?? null,
            again: again === true,
          },
          actorText(request),
        ),
      )
    },
  )

  api.post(
    '/api/v1/imports/:id/lines',
    {
      bodyLimit: LINES_BODY_BYTES,
      schema: {
        tags: ['imports'],
        summary: 'Take the next lines of a recording in',
        description:
          'Durable when it is answered. Lines that were taken before are passed over. Records of one event of the audit system should come in one request.',
        params: IdParams,
        body: closed(
          {
            first_line: Type.Integer({
              minimum: 1,
              description: 'Number of the first of these lines; the first of a file is 1.',
            }),
            lines: Type.Array(
              Type.Union([
                Type.String({ description: 'One line without its line end.' }),
                closed({ bytes: Count('How long it is.') }, 'A line that is too long to be sent; it is counted.'),
              ]),
              { minItems: 1, maxItems: LINES_AT_ONCE },
            ),
          },
          'Lines.',
        ),
        response: { 200: Import },
      },
    },
    async ({ params, body }) => importView(valueOf(await imports.take(params.id, body.first_line, body.lines))),
  )

  api.post(
    '/api/v1/imports/:id/complete',
    {
      schema: {
        tags: ['imports'],
        summary: 'Say that a recording is over',
        params: IdParams,
        body: closed({ lines: Count('Lines of the whole file.') }, 'Its end.'),
        response: { 200: Import },
      },
    },
    async (request) =>
      importView(valueOf(await imports.complete(request.params.id, request.body.lines, actorText(request)))),
  )

  api.get(
    '/api/v1/imports/:id',
    { schema: { tags: ['imports'], summary: 'Show an import', params: IdParams, response: { 200: Import } } },
    async ({ params }) => {
      const found = await imports.get(params.id)
      if (!found) throw notFound('no such import')
      return importView(found)
    },
  )

  api.get(
    '/api/v1/imports',
    {
      schema: {
        tags: ['imports'],
        summary: 'List imports',
        description: `Newest first, at most ${MAX_LISTED}.`,
        response: { 200: closed({ items: Type.Array(Import) }, 'Imports.') },
      },
    },
    async () => ({ items: (await imports.list(MAX_LISTED)).map(importView) }),
  )
}

function importView(view: ImportView): Import {
  return {
    id: view.id,
    file_name: view.fileName,
    file_sha256: view.fileSha256,
    read_as: view.readAs,
    host: view.host,
    attempt: view.attempt,
    shift_ms: view.shiftMs,
    state: view.state,
    lines: view.lines,
    records: view.records,
    stored_records: view.storedRecords,
    stored_events: view.storedEvents,
    refused: view.refused.map(({ code, records, examples }) => ({ code, records, examples: [...examples] })),
    hosts: view.hosts.map(({ agentId, hostname, events }) => ({ agent_id: agentId, hostname, events })),
    created_by: view.createdBy,
    created_at: view.createdAt,
    updated_at: view.updatedAt,
    ended_at: view.endedAt,
  }
}

/** Who did what, hash-chained. */
import { Readable } from 'node:stream'
import { Type } from 'typebox'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { recordOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { ProblemError } from './problem.ts'
import { closed, Count, Free } from './schemas.ts'

const AuditRecord = closed(
  {
    n: Count('Number in the chain, without gaps.'),
    at: Type.String(),
    actor: Type.String({ description: 'user:<name>, playbook:<id>, agent:<id> or system.' }),
    action: Type.String(),
    object_type: Type.String(),
    object_id: Type.String(),
    detail: Free('Before, after, reason ...'),
    prev_sha256: Type.String(),
    sha256: Type.String(),
  },
  'A record.',
)
export type AuditRecordShown = Type.Static<typeof AuditRecord>
const Verification = closed(
  {
    ok: Type.Boolean(),
    records: Count('Records that were checked.'),
    receipts: Count('Receipts that were checked: signature of the host, content, place in its chain.'),
    missing_receipts: Count('Receipts that never came: numbers that a host used and the controller never saw.'),
    head_sha256: Type.String({
      description: 'Digest of the last record; keep it elsewhere to prove that none was cut off.',
    }),
    broken_at: Type.Optional(Count('First record that does not hold.')),
    why: Type.Optional(Type.String()),
  },
  'What the check found.',
)
const COLUMNS = ['n', 'at', 'actor', 'action', 'object_type', 'object_id', 'detail', 'prev_sha256', 'sha256'] as const

export function auditRoutes(api: Api, { state, audit }: Pick<ApiDeps, 'state' | 'audit'>): void {
  api.get(
    '/api/v1/audit',
    {
      schema: {
        tags: ['audit'],
        summary: 'List the audit log',
        description: 'Newest first.',
        querystring: closed(
          {
            ...pageQuery,
            actor: Type.Optional(Type.String({ maxLength: 256 })),
            action: Type.Optional(Type.String({ maxLength: 128 })),
            object_type: Type.Optional(Type.String({ maxLength: 64 })),
            object_id: Type.Optional(Type.String({ maxLength: 256 })),
          },
          'Query.',
        ),
        response: { 200: pageOf(AuditRecord) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('audit', query.cursor)
      let rows = state.db
        .selectFrom('audit')
        .select(COLUMNS)
        .orderBy('n', 'desc')
        .limit(limit + 1)
      if (after !== undefined) rows = rows.where('n', '<', numberOf(after))
      if (query.actor !== undefined) rows = rows.where('actor', '=', query.actor)
      if (query.action !== undefined) rows = rows.where('action', '=', query.action)
      if (query.object_type !== undefined) rows = rows.where('object_type', '=', query.object_type)
      if (query.object_id !== undefined) rows = rows.where('object_id', '=', query.object_id)
      return pageFrom(
        'audit',
        await rows.execute(),
        limit,
        (row) => String(row.n),
        (row) => ({
          ...row,
          detail: recordOf(row.detail),
        }),
      )
    },
  )

  api.get(
    '/api/v1/audit/verification',
    {
      schema: {
        tags: ['audit'],
        summary: 'Check the whole chain, and the receipts that it tells of',
        description: 'A controller that was taken over can lie here: export the log and check it elsewhere.',
        response: { 200: Verification },
      },
    },
    async () => {
      const { ok, records, receipts, missingReceipts, headSha256, brokenAt, why } = await audit.verify()
      return {
        ok,
        records,
        receipts,
        missing_receipts: missingReceipts,
        head_sha256: headSha256,
        ...(brokenAt === undefined ? {} : { broken_at: brokenAt }),
        ...(why === undefined ? {} : { why }),
      }
    },
  )

  api.get(
    '/api/v1/audit/export',
    {
      schema: {
        tags: ['audit'],
        summary: 'Export the log as NDJSON',
        description:
          'Oldest first, a signed checkpoint last. `record` is the exact text that `sha256` covers, and `receipt` the signed answer that the record tells of, so that `firebreak audit verify --file` can check both without a controller.',
        produces: ['application/x-ndjson'],
      },
    },
    async (_request, reply) =>
      await reply.type('application/x-ndjson; charset=utf-8').send(Readable.from(audit.exportLines())),
  )
}

function numberOf(key: string): number {
  const n = Number(key)
  if (!Number.isSafeInteger(n)) throw new ProblemError('bad_cursor', 'start again without `cursor`')
  return n
}

/** Backups, made on the controller's machine while it runs. */
import { Type } from 'typebox'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { notFound, valueOf } from './problem.ts'
import { closed, Count, orNull, Time } from './schemas.ts'

const Name = Type.String({
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$',
  description: 'Folder within the folder of backups.',
})
const Backup = closed(
  {
    name: Type.String(),
    path: Type.String({ description: 'Where it lies, on the machine of the controller.' }),
    state: Type.Enum(['running', 'done', 'failed'], { description: 'How far it is.' }),
    started_at: Time('When it was begun'),
    ended_at: orNull(Time('When it ended')),
    why: orNull(Type.String({ description: 'Why it failed.' })),
    events: orNull(Count('Events in it; null while it runs, or when they are on a ClickHouse server.')),
    audit_records: orNull(Count('Records of the audit log in it.')),
    files: orNull(Count('Files in it.')),
    bytes: orNull(Count('Their size.')),
  },
  'A backup.',
)
const NewBackup = closed({ name: Type.Optional(Name) }, 'What to call it; the time when left out.')

export function backupRoutes(api: Api, { backups }: Pick<ApiDeps, 'backups'>): void {
  api.post(
    '/api/v1/system/backups',
    {
      schema: {
        tags: ['system'],
        summary: 'Begin a backup',
        description:
          'Of the state, the events and the keys, as they are at one moment. Ask for it by its name to see how far it is.',
        body: NewBackup,
        response: { 202: Backup },
      },
    },
    async (request, reply) =>
      await reply.code(202).send(valueOf(await backups.start(request.body.name, actorText(request)))),
  )

  api.get(
    '/api/v1/system/backups/:name',
    {
      schema: {
        tags: ['system'],
        summary: 'Show a backup',
        params: closed({ name: Name }, 'Path.'),
        response: { 200: Backup },
      },
    },
    async ({ params }) =>
      backups.get(params.name) ?? Promise.reject(notFound('this run of the controller made no such backup')),
  )
}

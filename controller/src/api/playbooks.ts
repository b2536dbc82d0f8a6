/** What can be done by itself, and when. */
import { Type } from 'typebox'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { closed, Count } from './schemas.ts'

const Playbook = closed(
  {
    id: Type.String(),
    title: Type.String(),
    version: Count('As its author counts.'),
    file: Type.String(),
    sha256: Type.String({ description: 'Digest of its text; runs name the text that they go by.' }),
  },
  'A playbook.',
)
export type PlaybookShown = Type.Static<typeof Playbook>

export function playbookRoutes(api: Api, { playbooks }: Pick<ApiDeps, 'playbooks'>): void {
  api.get(
    '/api/v1/playbooks',
    {
      schema: {
        tags: ['runs'],
        summary: 'List playbooks in force',
        response: { 200: closed({ items: Type.Array(Playbook) }, 'All of them.') },
      },
    },
    async () => ({ items: playbooks.playbookList().map((one) => ({ ...one })) }),
  )
}

/** What a host is made of: installed packages, who may log in, open ports ... as its agent told last. */
import { INVENTORY_KINDS } from '@firebreak/shared/events/inventory.ts'
import { Type } from 'typebox'
import { inventoryKinds } from '../fleet/inventory.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { recordOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { notFound } from './problem.ts'
import { AgentIdText, AgentParams, closed, Count, Free, orNull, Time } from './schemas.ts'

const Kind = Type.Enum([...INVENTORY_KINDS], { description: 'Kind of thing.' })

const KindShown = closed(
  {
    kind: Kind,
    items: Count('How many are known.'),
    told_at: orNull(Time('When all of it was told last, by the clock of the host; null: not yet')),
    is_whole: Type.Boolean({ description: 'All of it could be read on the host, and arrived.' }),
    why: orNull(Type.String({ description: 'Why not.' })),
  },
  'One kind of thing on a host.',
)
export type InventoryKindShown = Type.Static<typeof KindShown>

const Item = closed(
  {
    key: Type.String({ description: 'Stays the same as long as it is the same thing.' }),
    label: Type.String({ description: 'In a line, for people.' }),
    facts: Free('What is known of it; which facts there are depends on the kind.'),
    first_seen_at: Time('When it was told first'),
    changed_at: Time('When it was told last that it came or changed'),
  },
  'A thing that a host has.',
)
export type InventoryItemShown = Type.Static<typeof Item>

export function inventoryRoutes(api: Api, { state }: Pick<ApiDeps, 'state'>): void {
  api.get(
    '/api/v1/hosts/:agent_id/inventory',
    {
      schema: {
        tags: ['hosts'],
        summary: 'List the kinds of things that are known of a host',
        params: AgentParams,
        response: { 200: closed({ kinds: Type.Array(KindShown) }, 'An inventory.') },
      },
    },
    async ({ params }) => {
      await mustExist(state, params.agent_id)
      return { kinds: await inventoryKinds(state.db, params.agent_id) }
    },
  )

  api.get(
    '/api/v1/hosts/:agent_id/inventory/:kind',
    {
      schema: {
        tags: ['hosts'],
        summary: 'List what a host has of one kind',
        description: 'As its agent told last; `GET /api/v1/events` has what changed when.',
        params: closed({ agent_id: AgentIdText(), kind: Kind }, 'Path.'),
        querystring: closed(
          {
            ...pageQuery,
            text: Type.Optional(
              Type.String({
                minLength: 1,
                maxLength: 256,
                description: 'Only what has this in its line, without case.',
              }),
            ),
          },
          'Query.',
        ),
        response: { 200: pageOf(Item) },
      },
    },
    async ({ params, query }) => {
      await mustExist(state, params.agent_id)
      const limit = query.limit ?? PAGE.default
      const list = `inventory ${params.kind}`
      const after = decodeCursor(list, query.cursor)
      let rows = state.db
        .selectFrom('inventory_items')
        .selectAll()
        .where('agent_id', '=', params.agent_id)
        .where('kind', '=', params.kind)
        .orderBy('key')
        .limit(limit + 1)
      if (after !== undefined) rows = rows.where('key', '>', after)
      const { text } = query
      if (text !== undefined)
        rows = rows.where((eb) => eb(eb.fn('instr', [eb.fn('lower', ['label']), eb.val(text.toLowerCase())]), '>', 0))
      return pageFrom(
        list,
        await rows.execute(),
        limit,
        (row) => row.key,
        (row) => ({
          key: row.key,
          label: row.label,
          facts: recordOf(row.facts),
          first_seen_at: row.first_seen_at,
          changed_at: row.changed_at,
        }),
      )
    },
  )
}

async function mustExist(state: StateStore, agentId: string): Promise<void> {
  const row = await state.db.selectFrom('hosts').select('agent_id').where('agent_id', '=', agentId).executeTakeFirst()
  if (!row) throw notFound('no such host')
}

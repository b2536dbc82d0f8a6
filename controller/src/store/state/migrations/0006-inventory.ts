/** What hosts are made of. */
import type { Kysely } from 'kysely'

export async function inventory({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('inventory_items')
    .addColumn('agent_id', 'text', (c) => c.notNull().references('hosts.agent_id'))
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('key', 'text', (c) => c.notNull())
    .addColumn('label', 'text', (c) => c.notNull())
    .addColumn('facts', 'text', (c) => c.notNull())
    .addColumn('snapshot', 'text', (c) => c.notNull())
    .addColumn('first_seen_at', 'text', (c) => c.notNull())
    .addColumn('changed_at', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('inventory_items_key', ['agent_id', 'kind', 'key'])
    .execute()
  await schema
    .createTable('inventory_kinds')
    .addColumn('agent_id', 'text', (c) => c.notNull().references('hosts.agent_id'))
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('told_at', 'text', (c) => c.notNull())
    .addColumn('is_whole', 'integer', (c) => c.notNull())
    .addColumn('why', 'text')
    .addPrimaryKeyConstraint('inventory_kinds_key', ['agent_id', 'kind'])
    .execute()
}

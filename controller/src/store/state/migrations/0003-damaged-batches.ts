/** Batches that could not be read back, set aside. */
import type { Kysely } from 'kysely'

export async function damagedBatches({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('ingest_damaged')
    .addColumn('batch_id', 'integer', (c) => c.primaryKey())
    .addColumn('agent_id', 'text', (c) => c.notNull())
    .addColumn('epoch', 'text', (c) => c.notNull())
    .addColumn('class', 'text', (c) => c.notNull())
    .addColumn('first_seq', 'bigint', (c) => c.notNull())
    .addColumn('last_seq', 'bigint', (c) => c.notNull())
    .addColumn('count', 'integer', (c) => c.notNull())
    .addColumn('stored', 'integer', (c) => c.notNull())
    .addColumn('detected', 'integer', (c) => c.notNull())
    .addColumn('body', 'blob')
    .addColumn('why', 'text', (c) => c.notNull())
    .addColumn('set_aside_at', 'text', (c) => c.notNull())
    .execute()
}

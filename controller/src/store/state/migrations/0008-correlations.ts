/** What correlations have taken and may still count: their memory is made of it again. */
import type { Kysely } from 'kysely'

export async function correlations({ schema }: Kysely<unknown>): Promise<void> {
  await schema
    .createTable('correlation_journal')
    .addColumn('id', 'integer', (c) => c.primaryKey().autoIncrement())
    .addColumn('expires_ms', 'bigint', (c) => c.notNull())
    .addColumn('count', 'integer', (c) => c.notNull())
    .addColumn('version', 'integer', (c) => c.notNull())
    .addColumn('body', 'blob', (c) => c.notNull())
    .execute()
  await schema.createIndex('correlation_journal_by_expiry').on('correlation_journal').column('expires_ms').execute()
}

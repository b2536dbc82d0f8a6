/** Recordings that were taken in, and how far. */
import type { Kysely } from 'kysely'

export async function imports({ schema }: Kysely<unknown>): Promise<void> {
  await schema.alterTable('hosts').addColumn('imported_at', 'text').execute()
  await schema
    .createTable('imports')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('file_sha256', 'text', (c) => c.notNull())
    .addColumn('file_name', 'text', (c) => c.notNull())
    .addColumn('read_as', 'text', (c) => c.notNull())
    .addColumn('host', 'text', (c) => c.notNull())
    .addColumn('attempt', 'integer', (c) => c.notNull())
    .addColumn('shift_ms', 'bigint')
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('lines', 'bigint', (c) => c.notNull())
    .addColumn('records', 'bigint', (c) => c.notNull())
    .addColumn('stored_records', 'bigint', (c) => c.notNull())
    .addColumn('stored_events', 'bigint', (c) => c.notNull())
    .addColumn('refused', 'text', (c) => c.notNull())
    .addColumn('hosts', 'text', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('created_at', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'text', (c) => c.notNull())
    .addColumn('ended_at', 'text')
    .addUniqueConstraint('imports_once', ['file_sha256', 'host', 'attempt'])
    .execute()
  await schema
    .createTable('import_streams')
    .addColumn('import_id', 'text', (c) => c.notNull().references('imports.id'))
    .addColumn('agent_id', 'text', (c) => c.notNull().references('hosts.agent_id'))
    .addColumn('class', 'text', (c) => c.notNull())
    .addColumn('seq', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('import_streams_key', ['import_id', 'agent_id', 'class'])
    .execute()
}

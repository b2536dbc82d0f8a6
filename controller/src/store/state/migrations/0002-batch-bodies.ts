/** The body of a batch stands apart from its row. */
import { type Kysely, sql } from 'kysely'

/**
 * Marking a batch rewrites its row: with the body in it, each body was written four times, and every look at a mark behind it read
 * the whole body (sqlite.org/fileformat2.html, 1.6: overflow pages are a list).
 */
export async function batchBodies(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .createTable('ingest_bodies')
    .addColumn('batch_id', 'integer', (c) => c.primaryKey().references('ingest_batches.id').onDelete('cascade'))
    .addColumn('body', 'blob', (c) => c.notNull())
    .execute()
  await sql`insert into ingest_bodies (batch_id, body) select id, body from ingest_batches`.execute(db)
  await db.schema.alterTable('ingest_batches').dropColumn('body').execute()
}

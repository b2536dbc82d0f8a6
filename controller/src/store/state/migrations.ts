/**
 * The tables, made and changed step by step; written with Kysely's schema builder so that the same steps run on PostgreSQL.
 * A step that was released is never edited: add the next one, a file of its own.
 */
import type { Migration } from 'kysely/migration'
import { firstTables } from './migrations/0001-first-tables.ts'
import { batchBodies } from './migrations/0002-batch-bodies.ts'
import { damagedBatches } from './migrations/0003-damaged-batches.ts'
import { coverage } from './migrations/0004-coverage.ts'
import { imports } from './migrations/0005-imports.ts'
import { inventory } from './migrations/0006-inventory.ts'
import { indicators } from './migrations/0007-indicators.ts'
import { correlations } from './migrations/0008-correlations.ts'

export const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-first-tables': { up: firstTables },
  '0002-batch-bodies': { up: batchBodies },
  '0003-damaged-batches': { up: damagedBatches },
  '0004-coverage': { up: coverage },
  '0005-imports': { up: imports },
  '0006-inventory': { up: inventory },
  '0007-indicators': { up: indicators },
  '0008-correlations': { up: correlations },
}

/** Indicators in the state. */
import type { Observable, ObservableType } from '@firebreak/shared/indicators/observable.ts'
import type { Selectable } from 'kysely'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { DEFAULT_CONFIDENCE, type IndicatorView, type ImportPart, TLPS } from './index.ts'

export type IndicatorRow = Selectable<Tables['indicators']>

/** Rows of one statement; SQLite binds 32,766 values at most, and others wait behind a statement. */
const ROWS_AT_ONCE = 500
const VALUES_AT_ONCE = 400

export async function putRows(
  tx: Tx,
  { source, importId, indicators, patterns }: ImportPart,
  now: string,
): Promise<void> {
  for (let from = 0; from < indicators.length; from += ROWS_AT_ONCE) {
    const rows = indicators.slice(from, from + ROWS_AT_ONCE).map((one) => ({
      type: one.type,
      value: one.value,
      source,
      valid_from: one.validFrom ?? now,
      valid_until: one.validUntil ?? null,
      confidence: one.confidence ?? DEFAULT_CONFIDENCE,
      tlp: one.tlp ?? null,
      labels: JSON.stringify(one.labels ?? []),
      description: one.description ?? null,
      reference: one.reference ?? null,
      sightings: 0,
      last_sighted_at: null,
      import_id: importId,
      created_at: now,
      updated_at: now,
    }))
    await tx
      .insertInto('indicators')
      .values(rows)
      .onConflict((conflict) =>
        conflict.columns(['type', 'value', 'source']).doUpdateSet((e) => ({
          valid_from: e.ref('excluded.valid_from'),
          valid_until: e.ref('excluded.valid_until'),
          confidence: e.ref('excluded.confidence'),
          tlp: e.ref('excluded.tlp'),
          labels: e.ref('excluded.labels'),
          description: e.ref('excluded.description'),
          reference: e.ref('excluded.reference'),
          import_id: e.ref('excluded.import_id'),
          updated_at: e.ref('excluded.updated_at'),
        })),
      )
      .execute()
  }
  for (const one of patterns)
    await tx
      .insertInto('indicator_patterns')
      .values({ source, ...one, created_at: now })
      .onConflict((conflict) =>
        conflict.columns(['source', 'reference']).doUpdateSet({ pattern: one.pattern, code: one.code, why: one.why }),
      )
      .execute()
}

/** All rows of these values, whether they are in force or not. */
export async function rowsOfValues(
  state: Pick<StateStore, 'db'>,
  wanted: readonly Observable[],
): Promise<readonly IndicatorRow[]> {
  const found: IndicatorRow[] = []
  for (const [type, values] of Map.groupBy(wanted, (one) => one.type)) {
    const distinct = [...new Set(values.map(({ value }) => value))]
    for (let from = 0; from < distinct.length; from += VALUES_AT_ONCE)
      found.push(
        ...(await state.db
          .selectFrom('indicators')
          .selectAll()
          .where('type', '=', type)
          .where('value', 'in', distinct.slice(from, from + VALUES_AT_ONCE))
          .execute()),
      )
  }
  return found
}

export function isInForce(row: Pick<IndicatorRow, 'valid_from' | 'valid_until'>, now: string): boolean {
  return row.valid_from <= now && (row.valid_until === null || row.valid_until > now)
}

export function viewOf(row: IndicatorRow, now: string, warning: string | undefined): IndicatorView {
  return {
    n: row.n,
    type: row.type as ObservableType,
    value: row.value,
    source: row.source,
    validFrom: row.valid_from,
    validUntil: row.valid_until,
    confidence: row.confidence,
    tlp: TLPS.find((tlp) => tlp === row.tlp) ?? null,
    labels: (JSON.parse(row.labels) as unknown[]).map(String),
    description: row.description,
    reference: row.reference,
    sightings: row.sightings,
    lastSightedAt: row.last_sighted_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    expired: row.valid_until !== null && row.valid_until <= now,
    warning: warning ?? null,
  }
}

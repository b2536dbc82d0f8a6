/** Windows as rows: those that follow each other closely for one reason are one. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import { COVERAGE_QUALITIES, type CoverageQuality } from '@firebreak/shared/events/coverage.ts'
import type { Selectable } from 'kysely'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import type { CoverageWindow } from './index.ts'

/** Losses with less than this between them are one window: nobody can use the minute in between. */
const MERGE_MS = 60_000

export type ClosedWindow = CoverageWindow & { readonly to: string }

/** Adds a window, or widens the one that it goes on from. */
export async function addWindow(tx: Tx, window: ClosedWindow): Promise<void> {
  const { agentId, from, to } = window
  const near = await tx
    .selectFrom('coverage_windows')
    .selectAll()
    .where('agent_id', '=', agentId)
    .where('class', '=', window.class)
    .where('reason', window.reason === null ? 'is' : '=', window.reason)
    .where('to_at', '>=', shifted(from, -MERGE_MS))
    .where('from_at', '<=', shifted(to, MERGE_MS))
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
  if (near && near.to_at !== null) {
    const quality = worse(near.quality as CoverageQuality, window.quality)
    await tx
      .updateTable('coverage_windows')
      .set({
        from_at: from < near.from_at ? from : near.from_at,
        to_at: to > near.to_at ? to : near.to_at,
        events: near.events + window.events,
        quality,
      })
      .where('id', '=', near.id)
      .execute()
  } else await insertWindow(tx, window)
}

export async function insertWindow(tx: Tx, window: CoverageWindow): Promise<void> {
  await tx
    .insertInto('coverage_windows')
    .values({
      agent_id: window.agentId,
      class: window.class,
      source: window.source,
      quality: window.quality,
      reason: window.reason,
      why: window.why,
      from_at: window.from,
      to_at: window.to,
      events: window.events,
    })
    .execute()
}

/** What is so until further notice is not so any more. A window that would end before it began never was. */
export async function closeWindow(tx: Tx, id: number, fromAt: string, at: string): Promise<void> {
  if (at <= fromAt) await tx.deleteFrom('coverage_windows').where('id', '=', id).execute()
  else await tx.updateTable('coverage_windows').set({ to_at: at }).where('id', '=', id).execute()
}

export function windowOf(row: Selectable<Tables['coverage_windows']>): CoverageWindow {
  return {
    agentId: row.agent_id as AgentId,
    class: row.class as EventClass | '*',
    source: row.source,
    quality: row.quality as CoverageQuality,
    reason: row.reason,
    why: row.why,
    from: row.from_at,
    to: row.to_at,
    events: row.events,
  }
}

function worse(a: CoverageQuality, b: CoverageQuality): CoverageQuality {
  return COVERAGE_QUALITIES.indexOf(a) > COVERAGE_QUALITIES.indexOf(b) ? a : b
}

function shifted(iso: string, ms: number): string {
  return new Date(Date.parse(iso) + ms).toISOString()
}

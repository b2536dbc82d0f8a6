/** Gap records into windows: the numbers that never came say what was lost, their times say when nobody saw it. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { CoverageQuality, SourceStatus } from '@firebreak/shared/events/coverage.ts'
import { GAP_REASONS, type GapReason } from '@firebreak/shared/wire/frame.ts'
import type { Selectable } from 'kysely'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import type { CoverageMetrics } from './log-names.ts'
import { addWindow } from './windows.ts'

type GapRow = Selectable<Tables['gaps']>

const CURSOR = 'coverage.gaps'
const AT_ONCE = 500
/** A host may say that something happened so long ago, or so far ahead of this clock; beyond it, it happened when it was told. */
const OLDEST_MS = 400 * 86_400_000
const AHEAD_MS = 86_400_000

/** Takes the gaps that no window has yet, at most 500. Returns the hosts that they are of; none: all are taken. */
export async function followGaps(tx: Tx, metrics: CoverageMetrics): Promise<ReadonlySet<string>> {
  const known = await tx.selectFrom('meta').select('value').where('key', '=', CURSOR).executeTakeFirst()
  const rows = await tx
    .selectFrom('gaps')
    .selectAll()
    .where('id', '>', Number(known?.value ?? 0))
    .orderBy('id')
    .limit(AT_ONCE)
    .execute()
  const last = rows.at(-1)
  if (!last) return new Set()
  const hosts = new Set(rows.map((row) => row.agent_id))
  const sources = await sourcesOf(tx, [...hosts])
  for (const row of rows) {
    const reason = GAP_REASONS.find((known) => known === row.reason)
    const source = sources.get(row.agent_id)?.find((one) => one.class === row.class)?.source ?? 'none'
    const events = row.to_seq - row.from_seq + 1
    await addWindow(tx, {
      agentId: row.agent_id as AgentId,
      class: row.class as EventClass,
      source,
      quality: reason === undefined ? 'blind' : qualityOf(reason),
      reason: row.reason,
      why: null,
      ...timesOf(row),
      events,
    })
    if (reason !== undefined) metrics.lost.inc({ class: row.class, reason }, events)
  }
  const value = String(last.id)
  if (known) await tx.updateTable('meta').set({ value }).where('key', '=', CURSOR).execute()
  else await tx.insertInto('meta').values({ key: CURSOR, value }).execute()
  return hosts
}

/** Single events that did not fit leave the rest of their time seen; the others took whatever came. */
function qualityOf(reason: GapReason): CoverageQuality {
  switch (reason) {
    case 'too_large':
    case 'invalid':
      return 'partial'
    case 'spool_full':
    case 'collector_overflow':
    case 'kernel_overflow':
    case 'spool_damaged':
    case 'spool_aged':
    case 'disk_low':
    case 'disk_failed':
    case 'epoch_lost':
    case 'controller_damaged':
    case 'controller_restored':
      return 'blind'
    default:
      throw new TypeError(`unhandled reason ${JSON.stringify(reason satisfies never)}`)
  }
}

function timesOf({ first_at: first, last_at: last, recorded_at: recorded }: GapRow): { from: string; to: string } {
  const told = Date.parse(recorded)
  const isSound = (iso: string | null) =>
    iso !== null && Date.parse(iso) > told - OLDEST_MS && Date.parse(iso) < told + AHEAD_MS
  const to = last !== null && isSound(last) ? last : recorded
  const from = first !== null && isSound(first) && first <= to ? first : to
  return { from, to }
}

async function sourcesOf(tx: Tx, hosts: readonly string[]): Promise<ReadonlyMap<string, readonly SourceStatus[]>> {
  const rows = await tx.selectFrom('hosts').select(['agent_id', 'sources']).where('agent_id', 'in', hosts).execute()
  return new Map(rows.map((row) => [row.agent_id, JSON.parse(row.sources) as SourceStatus[]]))
}

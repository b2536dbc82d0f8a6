import type { IncidentId } from '@firebreak/shared/ids.ts'
import type { Audit } from '../audit/audit.ts'
import type { Tx } from '../store/state/state-store.ts'

const MAX_WHY = 2_000

export interface Escalation {
  readonly incidentId: IncidentId
  readonly why: string
  readonly actor: string
  readonly nowMs: number
}

/** From here on a person decides. Reasons add up; the same one is told once. A closed incident stays closed. */
export async function escalateIncident(
  tx: Tx,
  audit: Audit,
  { incidentId, why, actor, nowMs }: Escalation,
): Promise<void> {
  const incident = await tx
    .selectFrom('incidents')
    .select(['escalated_why', 'status', 'route'])
    .where('id', '=', incidentId)
    .executeTakeFirst()
  if (incident === undefined || incident.status === 'closed') return
  const before = incident.escalated_why
  if (before?.split('\n').includes(why)) return
  const after = (before === null ? why : `${before}\n${why}`).slice(0, MAX_WHY)
  if (after === before) return
  await tx
    .updateTable('incidents')
    .set({ route: 'ask', escalated_why: after, updated_at: new Date(nowMs).toISOString() })
    .where('id', '=', incidentId)
    .execute()
  await audit.append(tx, {
    actor,
    action: 'respond.incident.escalated',
    objectType: 'incident',
    objectId: incidentId,
    detail: { before: incident.route, why },
  })
}

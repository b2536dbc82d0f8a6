/** A person's judgement, written with its line in the audit log. */
import type { AlertId, IncidentId } from '@firebreak/shared/ids.ts'
import { ok, type Refused, refuse, type Result } from '@firebreak/shared/result.ts'
import { iso } from './alerts.ts'
import { type IncidentDeps, type IncidentStory, judgeIncident } from './incidents.ts'
import type { Judged, Verdict, VerdictRefusal } from './index.ts'

export interface VerdictEffect {
  readonly alerts: readonly AlertId[]
  readonly incidents: readonly IncidentId[]
}

export async function writeVerdict(
  judged: Judged,
  verdict: Verdict,
  actor: string,
  reason: string,
  deps: IncidentDeps,
  stories: IncidentStory[],
): Promise<Result<VerdictEffect, VerdictRefusal>> {
  const effect =
    judged.kind === 'incident' ? await judgeWhole(judged.id, verdict, deps) : await judgeAlert(judged.id, verdict, deps)
  if (!effect.ok) return effect
  await deps.audit.append(deps.tx, {
    actor,
    action: 'triage.verdict.set',
    objectType: judged.kind,
    objectId: judged.id,
    detail: { before: effect.value.before, verdict, reason },
  })
  // After the verdict's own line, so that the log reads cause before effect.
  if (judged.kind === 'alert') for (const id of effect.value.incidents) await judgeIncident(id, deps, stories)
  return effect
}

type Written = Result<VerdictEffect & { readonly before: string | null }, VerdictRefusal>

async function judgeWhole(id: string, verdict: Verdict, { tx, nowMs }: IncidentDeps): Promise<Written> {
  const known = await tx
    .selectFrom('incidents')
    .select(['verdict', 'merged_into'])
    .where('id', '=', id)
    .executeTakeFirst()
  if (known === undefined) return notFound('incident', id)
  if (known.merged_into !== null) return refuse('merged', `it lives on in incident ${known.merged_into}`)
  const now = iso(nowMs)
  await tx.updateTable('incidents').set({ verdict, status: 'closed', updated_at: now }).where('id', '=', id).execute()
  const alerts = await tx.selectFrom('alerts').select(['id', 'status']).where('incident_id', '=', id).execute()
  await tx
    .updateTable('alerts')
    .set({ status: 'closed', verdict, updated_at: now })
    .where('incident_id', '=', id)
    // What was judged by itself keeps its own verdict.
    .where((where) => where.or([where('verdict', 'is', null), where('verdict', '=', known.verdict)]))
    .execute()
  await tx.updateTable('alerts').set({ status: 'closed' }).where('incident_id', '=', id).execute()
  return ok({
    before: known.verdict,
    alerts: alerts.map((alert) => alert.id as AlertId),
    incidents: [id as IncidentId],
  })
}

async function judgeAlert(id: string, verdict: Verdict, { tx, nowMs }: IncidentDeps): Promise<Written> {
  const known = await tx.selectFrom('alerts').select(['verdict', 'incident_id']).where('id', '=', id).executeTakeFirst()
  if (known === undefined) return notFound('alert', id)
  await tx
    .updateTable('alerts')
    .set({ verdict, status: 'closed', updated_at: iso(nowMs) })
    .where('id', '=', id)
    .execute()
  const incidents = known.incident_id === null ? [] : [known.incident_id as IncidentId]
  return ok({ before: known.verdict, alerts: [id as AlertId], incidents })
}

function notFound(kind: string, id: string): Refused<'not_found'> {
  return refuse('not_found', `there is no ${kind} ${id}`)
}

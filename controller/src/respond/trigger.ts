/** Which runs an incident calls for. Asked again it starts nothing twice: a run is named by playbook, incident and host. */
import type { AgentId, IncidentId, RunId } from '@firebreak/shared/ids.ts'
import type { Selectable } from 'kysely'
import type { Audit } from '../audit/audit.ts'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { escalateIncident } from './escalation.ts'
import { readFacts } from './facts.ts'
import type { Playbook } from './playbook.ts'
import { runIdOf } from './run-id.ts'

export interface TriggerDeps {
  readonly tx: Tx
  readonly audit: Audit
  readonly nowMs: number
  readonly playbooks: readonly Playbook[]
  readonly automatic: boolean
}

/** Hosts of one incident that are looked at in one transaction: an incident of ten thousand hosts must not hold up the writer. */
const HOSTS_AT_ONCE = 100

export interface Triggered {
  readonly runs: readonly { readonly id: RunId; readonly playbookId: string; readonly agentId: AgentId }[]
  readonly escalated: boolean
  /** Conditions that could not be answered. */
  readonly failures: readonly string[]
  /** Where to go on, `undefined` at the end. */
  readonly next: number | undefined
}

const NOTHING: Triggered = { runs: [], escalated: false, failures: [], next: undefined }

/** Looks at the hosts from number `from` on. */
export async function triggerRuns(incidentId: IncidentId, from: number, deps: TriggerDeps): Promise<Triggered> {
  const { tx, playbooks, automatic } = deps
  const incident = await tx.selectFrom('incidents').selectAll().where('id', '=', incidentId).executeTakeFirst()
  if (incident === undefined || incident.status === 'closed' || incident.status === 'contained') return NOTHING
  const known = await runsOf(tx, incidentId)
  const hosts = JSON.parse(incident.hosts) as AgentId[]
  const runs: Triggered['runs'][number][] = []
  const failures: string[] = []
  if (automatic) {
    for (const playbook of playbooks) {
      for (const agentId of hosts.slice(from, from + HOSTS_AT_ONCE)) {
        if (known.has(`${playbook.head.id} ${agentId}`)) continue
        const facts = await readFacts(tx, incidentId, agentId)
        if (facts === undefined) continue
        const held = playbook.conditions.get(playbook.head.trigger.when)?.evaluate(facts)
        if (held === undefined || !held.ok)
          failures.push(`${playbook.head.id}: ${held?.why ?? 'its trigger was never checked'}`)
        else if (held.value) runs.push(await startRun(playbook, incident, agentId, deps))
      }
    }
  }
  const next = from + HOSTS_AT_ONCE < hosts.length ? from + HOSTS_AT_ONCE : undefined
  if (next !== undefined) return { runs, escalated: false, failures, next }
  const why = unanswered(incident, runs.length + known.size, failures, automatic)
  if (why === undefined) return { runs, escalated: false, failures, next }
  await escalateIncident(tx, deps.audit, { incidentId, why, actor: 'system', nowMs: deps.nowMs })
  return { runs, escalated: true, failures, next }
}

/** An incident that is to be acted on and on which nothing acts must not lie between two chairs. */
function unanswered(
  incident: Selectable<Tables['incidents']>,
  runs: number,
  failures: readonly string[],
  automatic: boolean,
): string | undefined {
  if (incident.decision !== 'act' || incident.escalated_why !== null || runs > 0) return undefined
  if (!automatic) return 'automatic response is switched off'
  if (failures.length > 0) return `a condition could not be answered: ${failures.join('; ')}`
  return 'no playbook answers to this incident'
}

/** Runs of the incident and of those that were merged into it. */
async function runsOf(tx: Tx, incidentId: IncidentId): Promise<ReadonlySet<string>> {
  const rows = await tx
    .selectFrom('runs')
    .innerJoin('incidents', 'incidents.id', 'runs.incident_id')
    .select(['runs.playbook_id', 'runs.agent_id'])
    .where((where) =>
      where.or([where('incidents.id', '=', incidentId), where('incidents.merged_into', '=', incidentId)]),
    )
    .execute()
  return new Set(rows.map((row) => `${row.playbook_id} ${row.agent_id}`))
}

async function startRun(
  playbook: Playbook,
  incident: Selectable<Tables['incidents']>,
  agentId: AgentId,
  { tx, audit, nowMs }: TriggerDeps,
): Promise<Triggered['runs'][number]> {
  const playbookId = playbook.head.id
  const id = runIdOf(playbookId, incident.id, agentId)
  const now = new Date(nowMs).toISOString()
  await tx
    .insertInto('playbook_versions')
    .values({ sha256: playbook.sha256, playbook_id: playbookId, text: playbook.text, first_used_at: now })
    .onConflict((conflict) => conflict.column('sha256').doNothing())
    .execute()
  await tx
    .insertInto('runs')
    .values({
      id,
      playbook_id: playbookId,
      playbook_sha256: playbook.sha256,
      incident_id: incident.id,
      agent_id: agentId,
      state: 'running',
      why: null,
      variables: '{}',
      started_by: 'system',
      started_at: now,
      updated_at: now,
      ended_at: null,
    })
    .execute()
  await audit.append(tx, {
    actor: `playbook:${playbookId}`,
    action: 'respond.run.started',
    objectType: 'run',
    objectId: id,
    detail: {
      incident_id: incident.id,
      agent_id: agentId,
      playbook_sha256: playbook.sha256,
      confidence: incident.confidence,
      severity: incident.severity,
    },
  })
  return { id, playbookId, agentId }
}

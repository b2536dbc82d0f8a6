/** Alerts into incidents: opened, joined, merged, and judged anew after each change. Rows of `incidents`. */
import { type AgentId, type IncidentId, newId } from '@firebreak/shared/ids.ts'
import type { Audit } from '../audit/audit.ts'
import type { Tx } from '../store/state/state-store.ts'
import { iso, type TouchedAlert, worst } from './alerts.ts'
import { confidenceOf } from './confidence.ts'
import { findIncidents, moveLinks, storeLinks } from './correlate.ts'
import { type IncidentMember, incidentParts, strongestOf } from './incident-parts.ts'
import type { ConfidencePart, Entities, Route, Severity } from './index.ts'
import { routeOf } from './route.ts'
import type { TriageConfig } from './triage-config.ts'

export interface IncidentDeps {
  readonly tx: Tx
  readonly audit: Audit
  readonly config: TriageConfig
  readonly nowMs: number
}

/** Told to the log after the commit. */
export type IncidentStory =
  | { readonly kind: 'opened'; readonly id: IncidentId; readonly route: Route; readonly title: string }
  | { readonly kind: 'merged'; readonly id: IncidentId; readonly into: IncidentId }
  | { readonly kind: 'routed'; readonly id: IncidentId; readonly route: Route; readonly why: string }

const MAX_MEMBERS = 200
const MAX_LIST = 64
const MAX_HOSTS = 10_000

/** Finds or opens the incident of an alert; merges those that it ties together. Returns every incident to be judged anew. */
export async function placeAlert(
  alert: TouchedAlert,
  deps: IncidentDeps,
  stories: IncidentStory[],
): Promise<IncidentId> {
  const { tx } = deps
  if (!alert.changed && alert.incidentId !== null) {
    await storeLinks(tx, alert.incidentId, alert)
    return alert.incidentId
  }
  const found = await findIncidents(tx, alert, deps.config)
  const ids = [...new Set([...found.map((incident) => incident.id), ...(alert.incidentId ? [alert.incidentId] : [])])]
  const [primary = await openIncident(alert, deps), ...others] = ids
  for (const other of others) {
    await mergeIncident(other, primary, deps)
    stories.push({ kind: 'merged', id: other, into: primary })
  }
  await tx.updateTable('alerts').set({ incident_id: primary }).where('id', '=', alert.id).execute()
  await storeLinks(tx, primary, alert)
  return primary
}

async function openIncident(alert: TouchedAlert, { tx, nowMs }: IncidentDeps): Promise<IncidentId> {
  const id = newId<'incident'>(nowMs)
  const now = iso(nowMs)
  await tx
    .insertInto('incidents')
    .values({
      id,
      title: '',
      severity: alert.severity,
      confidence: 0,
      parts: '[]',
      decision: 'log',
      route: 'log',
      escalated_why: null,
      merged_into: null,
      status: 'open',
      verdict: null,
      hosts: '[]',
      techniques: '[]',
      tactics: '[]',
      assignee: null,
      first_seen: alert.firstSeen,
      last_seen: alert.lastSeen,
      created_at: now,
      updated_at: now,
    })
    .execute()
  return id
}

/** The merged one keeps its row, its runs and its history, and points on; its alerts and ties move. */
async function mergeIncident(from: IncidentId, into: IncidentId, { tx, audit, nowMs }: IncidentDeps): Promise<void> {
  const now = iso(nowMs)
  const merged = await tx
    .selectFrom('incidents')
    .select(['escalated_why', 'assignee'])
    .where('id', '=', from)
    .executeTakeFirstOrThrow()
  const primary = await tx
    .selectFrom('incidents')
    .select(['escalated_why', 'assignee'])
    .where('id', '=', into)
    .executeTakeFirstOrThrow()
  await tx.updateTable('alerts').set({ incident_id: into, updated_at: now }).where('incident_id', '=', from).execute()
  await moveLinks(tx, from, into)
  await tx
    .updateTable('incidents')
    .set({ status: 'closed', merged_into: into, updated_at: now })
    .where((where) => where.or([where('id', '=', from), where('merged_into', '=', from)]))
    .execute()
  // What was handed to a person stays with a person.
  await tx
    .updateTable('incidents')
    .set({
      escalated_why: primary.escalated_why ?? merged.escalated_why,
      assignee: primary.assignee ?? merged.assignee,
    })
    .where('id', '=', into)
    .execute()
  await audit.append(tx, {
    actor: 'system',
    action: 'triage.incident.merged',
    objectType: 'incident',
    objectId: from,
    detail: { into },
  })
}

/** Adds an incident up anew from its alerts and decides where it goes. */
export async function judgeIncident(id: IncidentId, deps: IncidentDeps, stories: IncidentStory[]): Promise<void> {
  const { tx, audit, config, nowMs } = deps
  const before = await tx.selectFrom('incidents').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
  if (before.status === 'closed') return
  const rows = await tx
    .selectFrom('alerts')
    .selectAll()
    .where('incident_id', '=', id)
    .where((where) => where.or([where('verdict', 'is', null), where('verdict', '=', 'true_positive')]))
    .orderBy('confidence', 'desc')
    .limit(MAX_MEMBERS)
    .execute()
  const members = rows.map((row): IncidentMember & { techniques: string[]; lastSeen: string } => ({
    agentId: row.agent_id,
    dedupKey: row.dedup_key,
    title: row.title,
    severity: row.severity as Severity,
    parts: JSON.parse(row.parts) as ConfidencePart[],
    tactics: JSON.parse(row.tactics) as string[],
    techniques: JSON.parse(row.techniques) as string[],
    entities: JSON.parse(row.entities) as Entities,
    firstSeen: row.first_seen,
    lastSeen: row.last_seen,
  }))
  if (members.length === 0) {
    await closeAsHarmless(id, deps)
    return
  }
  const strongest = strongestOf(members)
  const parts = incidentParts(members)
  const confidence = confidenceOf(parts)
  const severity = worst(members.map((member) => member.severity))
  const decision = routeOf(confidence, severity, config)
  const route = before.escalated_why === null ? decision.route : 'ask'
  const why = before.escalated_why ?? decision.why
  const oldHosts = new Set(JSON.parse(before.hosts) as AgentId[])
  const hosts = await hostsOf(tx, id)
  const title = await titleOf(strongest, hosts.length, tx)
  const opened = before.title === ''
  await tx
    .updateTable('incidents')
    .set({
      title,
      severity,
      confidence,
      parts: JSON.stringify(parts),
      decision: decision.route,
      route,
      // A host that was not there when it was contained is not contained.
      status: before.status === 'contained' && hosts.some((host) => !oldHosts.has(host)) ? 'open' : before.status,
      hosts: JSON.stringify(hosts),
      techniques: JSON.stringify(
        listOf(
          before.techniques,
          members.flatMap((member) => member.techniques),
        ),
      ),
      tactics: JSON.stringify(
        listOf(
          before.tactics,
          members.flatMap((member) => [...member.tactics]),
        ),
      ),
      first_seen: members.reduce((first, m) => (m.firstSeen < first ? m.firstSeen : first), before.first_seen),
      last_seen: members.reduce((last, m) => (m.lastSeen > last ? m.lastSeen : last), before.last_seen),
      updated_at: iso(nowMs),
    })
    .where('id', '=', id)
    .execute()
  if (!opened && route === before.route) return
  stories.push(opened ? { kind: 'opened', id, route, title } : { kind: 'routed', id, route, why })
  await audit.append(tx, {
    actor: 'system',
    action: opened ? 'triage.incident.opened' : 'triage.incident.routed',
    objectType: 'incident',
    objectId: id,
    detail: { title, severity, confidence, route, why, parts },
  })
}

/** Every alert of it was called false or benign; one benign one makes it benign. */
async function closeAsHarmless(id: IncidentId, { tx, audit, nowMs }: IncidentDeps): Promise<void> {
  const benign = await tx
    .selectFrom('alerts')
    .select('id')
    .where('incident_id', '=', id)
    .where('verdict', '=', 'benign')
    .limit(1)
    .executeTakeFirst()
  const verdict = benign === undefined ? 'false_positive' : 'benign'
  await tx
    .updateTable('incidents')
    .set({ status: 'closed', verdict, updated_at: iso(nowMs) })
    .where('id', '=', id)
    .execute()
  await audit.append(tx, {
    actor: 'system',
    action: 'triage.incident.closed',
    objectType: 'incident',
    objectId: id,
    detail: { verdict, why: 'every alert of it was called false or benign' },
  })
}

/** Every host with an alert that still counts, the longest in it first. */
async function hostsOf(tx: Tx, id: IncidentId): Promise<AgentId[]> {
  const rows = await tx
    .selectFrom('alerts')
    .select((row) => ['agent_id', row.fn.min('first_seen').as('since')])
    .where('incident_id', '=', id)
    .where((where) => where.or([where('verdict', 'is', null), where('verdict', '=', 'true_positive')]))
    .groupBy('agent_id')
    .orderBy('since')
    .orderBy('agent_id')
    .limit(MAX_HOSTS)
    .execute()
  return rows.map((row) => row.agent_id as AgentId)
}

async function titleOf(strongest: IncidentMember, hosts: number, tx: Tx): Promise<string> {
  const host = await tx
    .selectFrom('hosts')
    .select('hostname')
    .where('agent_id', '=', strongest.agentId)
    .executeTakeFirst()
  const more = hosts > 1 ? ` and ${hosts - 1} more ${hosts === 2 ? 'host' : 'hosts'}` : ''
  return `${strongest.title} on ${host?.hostname ?? strongest.agentId}${more}`
}

function listOf(known: string, more: readonly string[]): string[] {
  return [...new Set([...(JSON.parse(known) as string[]), ...more])].slice(0, MAX_LIST)
}

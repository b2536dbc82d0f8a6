/** Which open incidents an alert belongs to, and how they find each other again: rows of `incident_links`. */
import type { IncidentId } from '@firebreak/shared/ids.ts'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { iso, type TouchedAlert } from './alerts.ts'
import { isPersonal } from './entities.ts'
import type { TriageConfig } from './triage-config.ts'

type LinkKind = Tables['incident_links']['kind']
export interface Link {
  readonly kind: LinkKind
  readonly value: string
}

/** A host alone ties alerts together for so long after the incident began; otherwise a noisy host has one incident for ever. */
const HOST_TIE_MS = 86_400_000
const MAX_FOUND = 64

export function linksOf(alert: Pick<TouchedAlert, 'agentId' | 'entities'>): Link[] {
  const { entities, agentId } = alert
  return [
    { kind: 'host', value: agentId },
    ...entities.processes.map((value): Link => ({ kind: 'process', value: `${agentId}/${value}` })),
    ...entities.users.filter(isPersonal).map((user): Link => ({ kind: 'account', value: `${agentId}/${user}` })),
    ...entities.hashes.map((value): Link => ({ kind: 'hash', value })),
    ...entities.addresses.map((value): Link => ({ kind: 'address', value })),
  ]
}

export interface FoundIncident {
  readonly id: IncidentId
  readonly createdAt: string
  /** What ties the alert to it, for people. */
  readonly ties: readonly Link[]
}

/** Open incidents with a tie to the alert, the oldest first. */
export async function findIncidents(tx: Tx, alert: TouchedAlert, config: TriageConfig): Promise<FoundIncident[]> {
  const found = new Map<string, { createdAt: string; ties: Link[] }>()
  const byKind = Map.groupBy(linksOf(alert), (link) => link.kind)
  for (const [kind, links] of byKind) {
    const windowMs = windowOf(kind, config)
    let query = tx
      .selectFrom('incident_links as link')
      .innerJoin('incidents as incident', 'incident.id', 'link.incident_id')
      .select(['link.incident_id', 'link.value', 'incident.created_at'])
      .where('link.kind', '=', kind)
      .where(
        'link.value',
        'in',
        links.map((link) => link.value),
      )
      .where('link.last_seen', '>=', iso(Date.parse(alert.firstSeen) - windowMs))
      .where('incident.first_seen', '<=', iso(Date.parse(alert.lastSeen) + windowMs))
      .where('incident.status', '!=', 'closed')
    if (kind === 'host')
      query = query.where('incident.first_seen', '>=', iso(Date.parse(alert.firstSeen) - HOST_TIE_MS))
    for (const row of await query.orderBy('incident.created_at').limit(MAX_FOUND).execute()) {
      const known = found.get(row.incident_id) ?? { createdAt: row.created_at, ties: [] }
      known.ties.push({ kind, value: row.value })
      found.set(row.incident_id, known)
    }
  }
  return [...found]
    .map(([id, { createdAt, ties }]) => ({ id: id as IncidentId, createdAt, ties }))
    .sort((a, b) => (a.createdAt === b.createdAt ? (a.id < b.id ? -1 : 1) : a.createdAt < b.createdAt ? -1 : 1))
}

export async function storeLinks(tx: Tx, incidentId: IncidentId, alert: TouchedAlert): Promise<void> {
  const rows = linksOf(alert).map((link) => ({ ...link, incident_id: incidentId, last_seen: alert.lastSeen }))
  await tx
    .insertInto('incident_links')
    .values(rows)
    .onConflict((conflict) =>
      conflict
        .columns(['kind', 'value', 'incident_id'])
        .doUpdateSet((row) => ({ last_seen: row.ref('excluded.last_seen') }))
        .whereRef('excluded.last_seen', '>', 'incident_links.last_seen'),
    )
    .execute()
}

/** Gives the links of one incident to another. */
export async function moveLinks(tx: Tx, from: IncidentId, to: IncidentId): Promise<void> {
  const rows = await tx.selectFrom('incident_links').selectAll().where('incident_id', '=', from).execute()
  for (const row of rows) {
    await tx
      .insertInto('incident_links')
      .values({ ...row, incident_id: to })
      .onConflict((conflict) =>
        conflict
          .columns(['kind', 'value', 'incident_id'])
          .doUpdateSet((values) => ({ last_seen: values.ref('excluded.last_seen') }))
          .whereRef('excluded.last_seen', '>', 'incident_links.last_seen'),
      )
      .execute()
  }
  await tx.deleteFrom('incident_links').where('incident_id', '=', from).execute()
}

function windowOf(kind: LinkKind, config: TriageConfig): number {
  switch (kind) {
    case 'host':
      return config.same_host_window_s * 1000
    case 'account':
      return config.account_window_s * 1000
    case 'process':
    case 'hash':
    case 'address':
      return config.indicator_window_s * 1000
    default:
      throw new Error(`unhandled link kind ${String(kind satisfies never)}`)
  }
}

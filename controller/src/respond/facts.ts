/**
 * What a condition of a playbook may speak of: the incident, one of its hosts, and the strongest alert on that host. The table below is
 * the type of the CEL environment, of the values, and of the reference.
 */
import type { AgentId, IncidentId } from '@firebreak/shared/ids.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'

type FactType = 'string' | 'bool' | 'int' | 'double' | 'list<string>'
type FactTable = Readonly<Record<string, readonly [FactType, string]>>

export const FACTS = {
  incident: {
    id: ['string', 'Id.'],
    title: ['string', 'Title.'],
    severity: ['string', 'informational, low, medium, high or critical.'],
    confidence: ['double', '0..100.'],
    decision: ['string', 'What confidence and severity alone say: act, ask or log.'],
    route: ['string', 'Where it goes in effect: ask once it was handed to a person.'],
    status: ['string', 'open, in_progress, contained or closed.'],
    techniques: ['list<string>', 'ATT&CK techniques.'],
    tactics: ['list<string>', 'ATT&CK tactics.'],
    hosts: ['list<string>', 'Agent ids.'],
    host_count: ['int', 'How many hosts are hit.'],
    assignee: ['string', 'Who has it, or empty.'],
  },
  host: {
    id: ['string', 'Agent id.'],
    hostname: ['string', 'Host name.'],
    group: ['string', 'Group.'],
    tags: ['list<string>', 'Tags.'],
    criticality: ['string', 'low, normal, high or critical.'],
    protected: ['bool', 'Never to be contained by a playbook.'],
    connected: ['bool', 'There is a live connection.'],
    contained: ['bool', 'An isolation is in force or on its way.'],
    released: ['bool', 'A person released it, and nothing of this incident was seen on it since.'],
    revoked: ['bool', 'Its key is not trusted any more.'],
    imported: ['bool', 'It came out of a recording: it has no agent, and nothing can be ordered.'],
    last_of_kind: ['bool', 'It has a tag role:X and no other connected host that is not contained has it.'],
  },
  alert: {
    id: ['string', 'Id; empty when the host has no alert in the incident.'],
    title: ['string', 'Title.'],
    severity: ['string', 'Severity.'],
    confidence: ['double', '0..100.'],
    techniques: ['list<string>', 'ATT&CK techniques.'],
    tactics: ['list<string>', 'ATT&CK tactics.'],
    users: ['list<string>', 'Accounts.'],
    addresses: ['list<string>', 'Addresses.'],
    files: ['list<string>', 'Files.'],
    hashes: ['list<string>', 'SHA-256 digests.'],
    signal_count: ['int', 'How many signals it stands for.'],
  },
} as const satisfies Readonly<Record<string, FactTable>>

type ValueOf<T extends FactType> = T extends 'string'
  ? string
  : T extends 'bool'
    ? boolean
    : T extends 'list<string>'
      ? readonly string[]
      : number
export type Facts = {
  readonly [Subject in keyof typeof FACTS]: {
    readonly [Name in keyof (typeof FACTS)[Subject]]: (typeof FACTS)[Subject][Name] extends readonly [
      infer T extends FactType,
      string,
    ]
      ? ValueOf<T>
      : never
  }
}

/** Conditions walk lists; longer ones are cut so that a condition has an end. */
const MAX_LIST = 256
const MAX_PEERS = 1_000

/** `undefined`: the incident or the host is not there any more. */
export async function readFacts(
  db: Tx | StateStore['db'],
  incidentId: IncidentId,
  agentId: AgentId,
): Promise<Facts | undefined> {
  const incident = await db.selectFrom('incidents').selectAll().where('id', '=', incidentId).executeTakeFirst()
  const host = await db.selectFrom('hosts').selectAll().where('agent_id', '=', agentId).executeTakeFirst()
  if (incident === undefined || host === undefined) return undefined
  const alert = await db
    .selectFrom('alerts')
    .selectAll()
    .where('incident_id', '=', incidentId)
    .where('agent_id', '=', agentId)
    .orderBy('confidence', 'desc')
    .limit(1)
    .executeTakeFirst()
  const entities = JSON.parse(alert?.entities ?? '{}') as Partial<Record<string, string[]>>
  const hosts = listOf(incident.hosts)
  const tags = listOf(host.tags)
  return {
    incident: {
      id: incident.id,
      title: incident.title,
      severity: incident.severity,
      confidence: incident.confidence,
      decision: incident.decision,
      route: incident.route,
      status: incident.status,
      techniques: listOf(incident.techniques),
      tactics: listOf(incident.tactics),
      hosts,
      host_count: (JSON.parse(incident.hosts) as unknown[]).length,
      assignee: incident.assignee ?? '',
    },
    host: {
      id: host.agent_id,
      hostname: host.hostname,
      group: host.group_name,
      tags,
      criticality: host.criticality,
      protected: host.protected === 1,
      connected: host.connected_session !== null,
      contained: isContained(host.containment),
      released: await isReleased(db, incidentId, agentId),
      revoked: host.revoked_at !== null,
      imported: host.imported_at !== null,
      last_of_kind: await isLastOfKind(db, agentId, tags),
    },
    alert: {
      id: alert?.id ?? '',
      title: alert?.title ?? '',
      severity: alert?.severity ?? '',
      confidence: alert?.confidence ?? 0,
      techniques: listOf(alert?.techniques ?? '[]'),
      tactics: listOf(alert?.tactics ?? '[]'),
      users: (entities['users'] ?? []).slice(0, MAX_LIST),
      addresses: (entities['addresses'] ?? []).slice(0, MAX_LIST),
      files: (entities['files'] ?? []).slice(0, MAX_LIST),
      hashes: (entities['hashes'] ?? []).slice(0, MAX_LIST),
      signal_count: alert?.signal_count ?? 0,
    },
  }
}

/** Whoever freed a host saw what there was to see: only what comes later may cut it off again without asking. */
async function isReleased(db: Tx | StateStore['db'], incidentId: IncidentId, agentId: AgentId): Promise<boolean> {
  const release = await db
    .selectFrom('commands')
    .select(({ fn }) => fn.max('created_at').as('at'))
    .where('agent_id', '=', agentId)
    .where('type', '=', 'release-host')
    .where('actor', 'like', 'user:%')
    .where('state', 'in', ['verified', 'applied'])
    .executeTakeFirst()
  const releasedAt = release?.at ?? null
  if (releasedAt === null) return false
  const later = await db
    .selectFrom('signals')
    .innerJoin('alerts', 'alerts.id', 'signals.alert_id')
    .select('signals.id')
    .where('alerts.incident_id', '=', incidentId)
    .where('signals.agent_id', '=', agentId)
    .where('signals.created_at', '>', releasedAt)
    .limit(1)
    .executeTakeFirst()
  return later === undefined
}

/** A kind is what somebody named with a tag `role:`; a host without one is not the last of anything. */
async function isLastOfKind(db: Tx | StateStore['db'], agentId: AgentId, tags: readonly string[]): Promise<boolean> {
  const roles = tags.filter((tag) => tag.startsWith('role:'))
  for (const role of roles) {
    const peers = await db
      .selectFrom('hosts')
      .select(['tags', 'containment'])
      .where('agent_id', '!=', agentId)
      .where('revoked_at', 'is', null)
      .where('connected_session', 'is not', null)
      .where('tags', 'like', `%${JSON.stringify(role)}%`)
      .limit(MAX_PEERS)
      .execute()
    // LIKE takes _ and % for wildcards, so what it finds is looked at again.
    if (!peers.some((peer) => listOf(peer.tags).includes(role) && !isContained(peer.containment))) return true
  }
  return false
}

function isContained(containment: string): boolean {
  const { phase } = JSON.parse(containment) as { phase?: string }
  return phase === 'isolated' || phase === 'applying'
}

function listOf(json: string): readonly string[] {
  return (JSON.parse(json) as string[]).slice(0, MAX_LIST)
}

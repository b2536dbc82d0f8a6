/** Signals into alerts: rows of `signals` and `alerts`. */
import { type AgentId, type AlertId, type IncidentId, newId } from '@firebreak/shared/ids.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { alertParts } from './alert-parts.ts'
import { confidenceOf, logOddsOf } from './confidence.ts'
import { collapsedKeyOf, keyPrefixOf, type SignalGroup, signalIdOf } from './dedup.ts'
import { entitiesOf, mergeEntities, NO_ENTITIES, sameEntities } from './entities.ts'
import type { ConfidencePart, Entities, Findings, Severity, Signal } from './index.ts'
import type { TriageConfig } from './triage-config.ts'

/** An alert as it was touched by a group of signals. */
export interface TouchedAlert {
  readonly id: AlertId
  readonly agentId: AgentId
  readonly severity: Severity
  readonly entities: Entities
  readonly firstSeen: string
  readonly lastSeen: string
  readonly incidentId: IncidentId | null
  readonly opened: boolean
  /** Its entities or its confidence are others than before, so where it belongs is asked again. */
  readonly changed: boolean
}

/** SQLite takes 32,766 parameters a statement; a signal has 14. */
const ROWS_AT_ONCE = 500
/** Signals past it keep their row and lose the copy of their event; the telemetry store has it. */
const EVENTS_KEPT = 200
const MAX_LIST = 64

/** The signals that are not stored yet, each once. */
export async function unknownSignals(tx: Tx, signals: readonly Signal[]): Promise<Signal[]> {
  const byId = new Map(signals.map((signal) => [signalIdOf(signal) as string, signal]))
  const ids = [...byId.keys()]
  for (let from = 0; from < ids.length; from += ROWS_AT_ONCE) {
    const known = await tx
      .selectFrom('signals')
      .select('id')
      .where('id', 'in', ids.slice(from, from + ROWS_AT_ONCE))
      .execute()
    for (const { id } of known) byId.delete(id)
  }
  return [...byId.values()]
}

export interface AlertDeps {
  readonly tx: Tx
  readonly config: TriageConfig
  readonly findings: Findings
  readonly criticality: Tables['hosts']['criticality'] | null
  readonly nowMs: number
}

export async function takeGroup(group: SignalGroup, deps: AlertDeps): Promise<TouchedAlert> {
  const { tx, config } = deps
  const windowMs = config.suppression_window_s * 1000
  const first = group.signals[0] as Signal
  let key = group.key
  let known = await findAlert(tx, key, group, windowMs)
  if (known === undefined && (await isCrowded(tx, first, group, windowMs, config.max_alerts_per_rule_and_host))) {
    key = collapsedKeyOf(first)
    known = await findAlert(tx, key, group, windowMs)
  }
  const touched = known === undefined ? await openAlert(key, group, deps) : await continueAlert(known, group, deps)
  await storeSignals(tx, touched.id, group.signals, known?.signal_count ?? 0, deps.nowMs)
  return touched
}

async function findAlert(tx: Tx, key: string, group: SignalGroup, windowMs: number) {
  const found = await tx
    .selectFrom('alerts')
    .selectAll()
    .where('dedup_key', '=', key)
    .where('last_seen', '>=', iso(group.firstSeenMs - windowMs))
    .where('first_seen', '<=', iso(group.lastSeenMs + windowMs))
    .orderBy('last_seen', 'desc')
    .limit(1)
    .executeTakeFirst()
  // What a person has called false or meant stays quiet for the window; a true one that comes back is a new alert.
  if (found?.status === 'closed' && found.verdict !== 'false_positive' && found.verdict !== 'benign') return undefined
  return found
}

async function isCrowded(tx: Tx, signal: Signal, group: SignalGroup, windowMs: number, most: number) {
  const prefix = keyPrefixOf(signal)
  const open = await tx
    .selectFrom('alerts')
    .select('id')
    .where('dedup_key', '>=', prefix)
    .where('dedup_key', '<', `${prefix}\u{10ffff}`)
    .where('last_seen', '>=', iso(group.firstSeenMs - windowMs))
    .limit(most)
    .execute()
  return open.length >= most
}

async function openAlert(key: string, group: SignalGroup, deps: AlertDeps): Promise<TouchedAlert> {
  const { parts, signal } = strongest(group, deps)
  const now = iso(deps.nowMs)
  const id = newId<'alert'>(deps.nowMs)
  const entities = entitiesOfGroup(group)
  const severity = worst(group.signals.map((member) => member.level))
  await deps.tx
    .insertInto('alerts')
    .values({
      id,
      agent_id: signal.agentId,
      dedup_key: key,
      title: signal.ruleTitle,
      severity,
      confidence: confidenceOf(parts),
      parts: JSON.stringify(parts),
      techniques: JSON.stringify(union([], group.signals, 'techniques')),
      tactics: JSON.stringify(union([], group.signals, 'tactics')),
      entities: JSON.stringify(entities),
      status: 'open',
      verdict: null,
      signal_count: group.signals.length,
      first_seen: iso(group.firstSeenMs),
      last_seen: iso(group.lastSeenMs),
      incident_id: null,
      created_at: now,
      updated_at: now,
    })
    .execute()
  return {
    id,
    agentId: signal.agentId,
    severity,
    entities,
    firstSeen: iso(group.firstSeenMs),
    lastSeen: iso(group.lastSeenMs),
    incidentId: null,
    opened: true,
    changed: true,
  }
}

type AlertRow = NonNullable<Awaited<ReturnType<typeof findAlert>>>

async function continueAlert(known: AlertRow, group: SignalGroup, deps: AlertDeps): Promise<TouchedAlert> {
  const before = JSON.parse(known.entities) as Entities
  const entities = mergeEntities(before, entitiesOfGroup(group))
  const oldParts = JSON.parse(known.parts) as ConfidencePart[]
  const found = strongest(group, deps).parts
  const stronger = logOddsOf(found) > logOddsOf(oldParts)
  const parts = stronger ? found : oldParts
  const severity = worst([known.severity as Severity, ...group.signals.map((signal) => signal.level)])
  const firstSeen = known.first_seen < iso(group.firstSeenMs) ? known.first_seen : iso(group.firstSeenMs)
  const lastSeen = known.last_seen > iso(group.lastSeenMs) ? known.last_seen : iso(group.lastSeenMs)
  await deps.tx
    .updateTable('alerts')
    .set({
      severity,
      confidence: confidenceOf(parts),
      parts: JSON.stringify(parts),
      techniques: JSON.stringify(union(JSON.parse(known.techniques) as string[], group.signals, 'techniques')),
      tactics: JSON.stringify(union(JSON.parse(known.tactics) as string[], group.signals, 'tactics')),
      entities: JSON.stringify(entities),
      signal_count: known.signal_count + group.signals.length,
      first_seen: firstSeen,
      last_seen: lastSeen,
      updated_at: iso(deps.nowMs),
    })
    .where('id', '=', known.id)
    .execute()
  return {
    id: known.id as AlertId,
    agentId: known.agent_id as AgentId,
    severity,
    entities,
    firstSeen,
    lastSeen,
    incidentId: known.incident_id as IncidentId | null,
    opened: false,
    changed: stronger || severity !== known.severity || !sameEntities(before, entities),
  }
}

/** One program does the same thing many times: a few of its signals are looked at closely, the others count. */
const LOOKED_AT = 32

function strongest(group: SignalGroup, deps: AlertDeps): { parts: ConfidencePart[]; signal: Signal } {
  const judged = group.signals.slice(0, LOOKED_AT).map((signal) => ({
    signal,
    parts: alertParts({ signal, findings: deps.findings, criticality: deps.criticality }),
  }))
  return judged.reduce((most, one) => (logOddsOf(one.parts) > logOddsOf(most.parts) ? one : most))
}

function entitiesOfGroup(group: SignalGroup): Entities {
  return group.signals.reduce((all, signal) => mergeEntities(all, entitiesOf(signal.event as Event)), NO_ENTITIES)
}

async function storeSignals(
  tx: Tx,
  alertId: AlertId,
  signals: readonly Signal[],
  before: number,
  nowMs: number,
): Promise<void> {
  const created_at = iso(nowMs)
  const rows = signals.map((signal, index) => ({
    id: signalIdOf(signal),
    agent_id: signal.agentId,
    detector: signal.detector,
    rule_id: signal.ruleId,
    rule_title: signal.ruleTitle,
    rule_sha256: signal.ruleSha256,
    level: signal.level,
    techniques: JSON.stringify(signal.techniques),
    tactics: JSON.stringify(signal.tactics),
    event_id: signal.eventId,
    event_time: signal.eventTime,
    event: before + index < EVENTS_KEPT ? JSON.stringify(signal.event) : '{}',
    alert_id: alertId,
    created_at,
  }))
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    await tx
      .insertInto('signals')
      .values(rows.slice(from, from + ROWS_AT_ONCE))
      .execute()
  }
}

function union(known: readonly string[], signals: readonly Signal[], list: 'techniques' | 'tactics'): string[] {
  return [...new Set([...known, ...signals.flatMap((signal) => signal[list])])].slice(0, MAX_LIST)
}

const GRAVITY: Readonly<Record<Severity, number>> = { informational: 0, low: 1, medium: 2, high: 3, critical: 4 }

export function worst(severities: readonly Severity[]): Severity {
  return severities.reduce((most, one) => (GRAVITY[one] > GRAVITY[most] ? one : most), 'informational')
}

export function iso(ms: number): string {
  return new Date(ms).toISOString()
}

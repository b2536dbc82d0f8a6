/** The room: signals → alerts → incidents, with a confidence whose parts are listed. Source: design 1 and 8. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId, IncidentId } from '@firebreak/shared/ids.ts'
import { ok } from '@firebreak/shared/result.ts'
import type { Registry } from 'prom-client'
import type { Audit } from '../audit/audit.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { takeGroup, type TouchedAlert, unknownSignals } from './alerts.ts'
import { groupSignals, seenAt } from './dedup.ts'
import { type IncidentDeps, type IncidentStory, judgeIncident, placeAlert } from './incidents.ts'
import type { Findings, Judged, Signal, Triage, TriageOutcome, Verdict } from './index.ts'
import { type TriageLog, type TriageMetrics, triageMetrics } from './log-names.ts'
import { createPrevalence, type PrevalenceLookup } from './prevalence.ts'
import type { TriageConfig } from './triage-config.ts'
import { writeVerdict } from './verdicts.ts'

export interface TriageDeps {
  readonly store: StateStore
  readonly telemetry: Pick<TelemetryStore, 'prevalence'>
  readonly bus: Bus
  readonly audit: Audit
  readonly clock: Clock
  readonly log: TriageLog
  readonly metrics: Registry
}

/** Beside the room's own face: what the outcome of `take` has to tell once it is committed. */
interface Outcome extends TriageOutcome {
  readonly stories: readonly IncidentStory[]
  readonly opened: readonly TouchedAlert[]
  readonly suppressed: number
}

export function createTriage(deps: TriageDeps, config: TriageConfig): Triage {
  return new TriageRoom(deps, config)
}

class TriageRoom implements Triage {
  readonly #deps: TriageDeps
  readonly #config: TriageConfig
  readonly #metrics: TriageMetrics
  readonly #prevalence: PrevalenceLookup

  constructor(deps: TriageDeps, config: TriageConfig) {
    this.#deps = deps
    this.#config = config
    this.#metrics = triageMetrics(deps.metrics)
    this.#prevalence = createPrevalence(deps.telemetry, deps.clock, config, (why) => {
      this.#metrics.prevalenceUnknown.inc()
      deps.log.warn('triage.prevalence.unknown', { why })
    })
  }

  async prepare(signals: readonly Signal[]): Promise<Findings> {
    const { store } = this.#deps
    const [prevalence, fleet] = await Promise.all([
      this.#prevalence.of(signals),
      store.db
        .selectFrom('hosts')
        .select((row) => row.fn.countAll().as('count'))
        .where('revoked_at', 'is', null)
        .executeTakeFirstOrThrow(),
    ])
    return { prevalence, fleet: Number(fleet.count) }
  }

  async take(tx: Tx, signals: readonly Signal[], findings: Findings): Promise<Outcome> {
    const fresh = await unknownSignals(tx, signals)
    const nowMs = this.#deps.clock.now()
    const groups = groupSignals(fresh, this.#config.suppression_window_s * 1000, (time) => seenAt(time, nowMs))
    const criticalities = await criticalitiesOf(tx, [...new Set(fresh.map((signal) => signal.agentId))])
    const incidentDeps: IncidentDeps = { tx, audit: this.#deps.audit, config: this.#config, nowMs }
    const stories: IncidentStory[] = []
    const alerts: TouchedAlert[] = []
    const incidents = new Set<IncidentId>()
    for (const group of groups) {
      const agentId = group.signals[0]?.agentId as AgentId
      const criticality = criticalities.get(agentId) ?? null
      const alert = await takeGroup(group, { tx, config: this.#config, findings, criticality, nowMs })
      alerts.push(alert)
      incidents.add(await placeAlert(alert, incidentDeps, stories))
    }
    for (const story of stories) if (story.kind === 'merged') incidents.delete(story.id)
    for (const id of incidents) await judgeIncident(id, incidentDeps, stories)
    const opened = alerts.filter((alert) => alert.opened)
    return {
      signals: fresh.length,
      alerts: [...new Set(alerts.map((alert) => alert.id))],
      incidents: [...new Set([...incidents, ...stories.map((story) => story.id)])],
      stories,
      opened,
      suppressed: fresh.length - opened.length,
    }
  }

  announce(outcome: TriageOutcome): void {
    const { bus } = this.#deps
    const { stories, opened, suppressed } = outcome as Outcome
    for (const alert of opened) this.#metrics.alerts.inc({ severity: alert.severity })
    this.#metrics.suppressed.inc(suppressed)
    this.#tell(stories)
    for (const alertId of outcome.alerts) bus.publish('alert.changed', { alertId })
    for (const incidentId of outcome.incidents) bus.publish('incident.changed', { incidentId })
  }

  async explain(agentId: AgentId, ruleId: string, why: string): Promise<void> {
    const alerts = await this.#deps.store.db
      .selectFrom('alerts')
      .innerJoin('signals', 'signals.alert_id', 'alerts.id')
      .select((e) => ['alerts.id', e.fn.max('signals.rule_id').as('last'), e.fn.min('signals.rule_id').as('first')])
      .where('alerts.agent_id', '=', agentId)
      .where('alerts.status', '=', 'open')
      .where('alerts.verdict', 'is', null)
      .groupBy('alerts.id')
      .execute()
    for (const { id, first, last } of alerts)
      if (first === ruleId && last === ruleId) await this.setVerdict({ kind: 'alert', id }, 'benign', 'system', why)
  }

  async setVerdict(judged: Judged, verdict: Verdict, actor: string, reason: string) {
    const { store, clock, audit, bus, log } = this.#deps
    const stories: IncidentStory[] = []
    const written = await store.write((tx) =>
      writeVerdict(judged, verdict, actor, reason, { tx, audit, config: this.#config, nowMs: clock.now() }, stories),
    )
    if (!written.ok) return written
    log.info('triage.verdict.set', { [`${judged.kind}_id`]: judged.id, verdict, actor })
    this.#tell(stories)
    for (const alertId of written.value.alerts) bus.publish('alert.changed', { alertId })
    for (const incidentId of written.value.incidents) bus.publish('incident.changed', { incidentId })
    return ok()
  }

  #tell(stories: readonly IncidentStory[]): void {
    const { log } = this.#deps
    for (const story of stories) {
      const incident_id = story.id
      switch (story.kind) {
        case 'opened':
          this.#metrics.incidents.inc({ route: story.route })
          log.info('triage.incident.opened', { incident_id, route: story.route, title: story.title })
          break
        case 'merged':
          log.info('triage.incident.merged', { incident_id, into: story.into })
          break
        case 'routed':
          log.info('triage.incident.routed', { incident_id, route: story.route, why: story.why })
          break
        default:
          throw new Error(`unhandled story ${JSON.stringify(story satisfies never)}`)
      }
    }
  }
}

async function criticalitiesOf(
  tx: Tx,
  agents: readonly AgentId[],
): Promise<ReadonlyMap<string, Tables['hosts']['criticality']>> {
  if (agents.length === 0) return new Map()
  const rows = await tx
    .selectFrom('hosts')
    .select(['agent_id', 'criticality'])
    .where('agent_id', 'in', agents)
    .execute()
  return new Map(rows.map((row) => [row.agent_id, row.criticality]))
}

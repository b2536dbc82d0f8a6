/** Alerts that belong together; one page shows all that was seen, decided, done and proved. */
import type { IncidentId } from '@firebreak/shared/ids.ts'
import { CONTAINMENT_PHASES } from '@firebreak/shared/wire/messages.ts'
import type { Selectable } from 'kysely'
import { Type } from 'typebox'
import type { Tables } from '../store/state/tables.ts'
import { ROUTES, SEVERITIES, VERDICTS } from '../triage/index.ts'
import {
  Alert,
  alertView,
  confidence,
  ConfidencePart,
  MAX_SIGNALS,
  partsOf,
  severityOf,
  Signal,
  signalView,
} from './alerts.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { Command, commandView } from './commands.ts'
import { checkIfMatch, etagOf } from './etag.ts'
import { hostView } from './hosts.ts'
import { timelineOf, TimelineEntry } from './incident-timeline.ts'
import { textsOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { notFound } from './problem.ts'
import { RunWithSteps, withSteps } from './runs.ts'
import { AgentIdText, closed, IdParams, IdPrefix, orNull, Texts } from './schemas.ts'

export const INCIDENT_STATUSES = ['open', 'in_progress', 'contained', 'closed'] as const
const MAX_PARTS = 200

export const Incident = closed(
  {
    id: Type.String(),
    title: Type.String(),
    severity: Type.Enum([...SEVERITIES]),
    confidence,
    parts: Type.Array(ConfidencePart, { description: 'What the confidence is made of.' }),
    decision: Type.Enum([...ROUTES], { description: 'What confidence and severity alone say.' }),
    route: Type.Enum([...ROUTES], {
      description: 'act: a playbook acts. ask: it waits for an analyst. log: it is kept.',
    }),
    escalated_why: orNull(Type.String({ description: 'Why it was handed to a person.' })),
    merged_into: orNull(Type.String({ description: 'Incident that it turned out to be part of.' })),
    status: Type.Enum([...INCIDENT_STATUSES]),
    verdict: orNull(Type.Enum([...VERDICTS])),
    assignee: orNull(Type.String()),
    hosts: Texts('Agent ids.'),
    techniques: Texts('ATT&CK technique ids.'),
    tactics: Texts('ATT&CK tactics.'),
    first_seen: Type.String(),
    last_seen: Type.String(),
    created_at: Type.String(),
    updated_at: Type.String(),
  },
  'An incident.',
)
export type Incident = Type.Static<typeof Incident>

const IncidentHost = closed(
  {
    agent_id: AgentIdText('Host.'),
    hostname: Type.String(),
    connected: Type.Boolean(),
    protected: Type.Boolean(),
    criticality: Type.String(),
    containment: Type.Enum([...CONTAINMENT_PHASES]),
  },
  'A host of the incident.',
)
export const IncidentPage = closed(
  {
    incident: Incident,
    hosts: Type.Array(IncidentHost),
    alerts: Type.Array(Alert),
    signals: Type.Array(Signal, { description: `At most ${MAX_SIGNALS}, newest first.` }),
    runs: Type.Array(RunWithSteps),
    commands: Type.Array(Command),
    timeline: Type.Array(TimelineEntry, { description: 'Oldest first.' }),
  },
  'All of an incident.',
)
export type IncidentPage = Type.Static<typeof IncidentPage>

const IncidentEdit = Type.Object(
  {
    status: Type.Optional(Type.Enum([...INCIDENT_STATUSES], { description: 'closed closes its alerts too.' })),
    assignee: Type.Optional(orNull(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$' }))),
    reason: Type.Optional(Type.String({ maxLength: 1024, description: 'For the audit log.' })),
  },
  { additionalProperties: false, minProperties: 1, description: 'What is to change.' },
)

export function incidentRoutes(
  api: Api,
  { state, audit, bus, clock }: Pick<ApiDeps, 'state' | 'audit' | 'bus' | 'clock'>,
): void {
  api.get(
    '/api/v1/incidents',
    {
      schema: {
        tags: ['incidents'],
        summary: 'List incidents',
        description: 'Newest first.',
        querystring: closed(
          {
            ...pageQuery,
            id_prefix: IdPrefix,
            status: Type.Optional(Type.Enum([...INCIDENT_STATUSES])),
            route: Type.Optional(Type.Enum([...ROUTES])),
            severity: Type.Optional(Type.Enum([...SEVERITIES])),
            merged: Type.Optional(
              Type.Boolean({ description: 'true: also those that live on in another; left out otherwise.' }),
            ),
          },
          'Query.',
        ),
        response: { 200: pageOf(Incident) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('incidents', query.cursor)
      let rows = state.db
        .selectFrom('incidents')
        .selectAll()
        .orderBy('id', 'desc')
        .limit(limit + 1)
      if (after !== undefined) rows = rows.where('id', '<', after)
      if (query.id_prefix !== undefined)
        rows = rows.where('id', '>=', query.id_prefix).where('id', '<=', `${query.id_prefix}~`)
      if (query.status !== undefined) rows = rows.where('status', '=', query.status)
      if (query.route !== undefined) rows = rows.where('route', '=', query.route)
      if (query.severity !== undefined) rows = rows.where('severity', '=', query.severity)
      if (query.merged !== true) rows = rows.where('merged_into', 'is', null)
      return pageFrom('incidents', await rows.execute(), limit, (row) => row.id, incidentView)
    },
  )

  api.get(
    '/api/v1/incidents/:id',
    {
      schema: {
        tags: ['incidents'],
        summary: 'Show all of an incident',
        params: IdParams,
        response: { 200: IncidentPage },
      },
    },
    async ({ params }, reply) => {
      const page = await pageOfIncident(state, params.id)
      reply.header('etag', etagOf(editedOf(page.incident)))
      return page
    },
  )

  api.patch(
    '/api/v1/incidents/:id',
    {
      schema: {
        tags: ['incidents'],
        summary: 'Assign it or change its status',
        params: IdParams,
        headers: Type.Object({
          'if-match': Type.Optional(Type.String({ maxLength: 512, description: 'ETag that was read.' })),
        }),
        body: IncidentEdit,
        response: { 200: Incident },
      },
    },
    async (request, reply) => {
      const { reason, ...edit } = request.body
      const { id } = request.params
      const incident = await state.write(async (tx) => {
        const row = await tx.selectFrom('incidents').selectAll().where('id', '=', id).executeTakeFirst()
        if (!row) throw notFound('no such incident')
        const before = incidentView(row)
        checkIfMatch(request.headers['if-match'], etagOf(editedOf(before)))
        const at = new Date(clock.now()).toISOString()
        const after: Incident = { ...before, ...edit, updated_at: at }
        await tx
          .updateTable('incidents')
          .set({ status: after.status, assignee: after.assignee, updated_at: at })
          .where('id', '=', id)
          .execute()
        if (after.status === 'closed' && before.status !== 'closed')
          await tx
            .updateTable('alerts')
            .set({ status: 'closed', updated_at: at })
            .where('incident_id', '=', id)
            .where('status', '=', 'open')
            .execute()
        await audit.append(tx, {
          actor: actorText(request),
          action: 'triage.incident.edited',
          objectType: 'incident',
          objectId: id,
          detail: { before: editedOf(before), after: editedOf(after), ...(reason === undefined ? {} : { reason }) },
        })
        return after
      })
      bus.publish('incident.changed', { incidentId: id as IncidentId })
      reply.header('etag', etagOf(editedOf(incident)))
      return incident
    },
  )
}

function editedOf({ status, verdict, assignee }: Incident) {
  return { status, verdict, assignee }
}

async function pageOfIncident(state: ApiDeps['state'], id: string): Promise<IncidentPage> {
  const { db } = state
  const row = await db.selectFrom('incidents').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) throw notFound('no such incident')
  const incident = incidentView(row)
  const hosts =
    incident.hosts.length === 0
      ? []
      : await db.selectFrom('hosts').selectAll().where('agent_id', 'in', incident.hosts.slice(0, MAX_PARTS)).execute()
  const alerts = await db
    .selectFrom('alerts')
    .selectAll()
    .where('incident_id', '=', id)
    .orderBy('id')
    .limit(MAX_PARTS)
    .execute()
  const signals =
    alerts.length === 0
      ? []
      : await db
          .selectFrom('signals')
          .selectAll()
          .where(
            'alert_id',
            'in',
            alerts.map((alert) => alert.id),
          )
          .orderBy('id', 'desc')
          .limit(MAX_SIGNALS)
          .execute()
  const runs = await db
    .selectFrom('runs')
    .selectAll()
    .where('incident_id', '=', id)
    .orderBy('started_at')
    .limit(MAX_PARTS)
    .execute()
  const commands = await db
    .selectFrom('commands')
    .selectAll()
    .where('incident_id', '=', id)
    .orderBy('id')
    .limit(MAX_PARTS)
    .execute()
  const page = {
    incident,
    hosts: hosts.map(hostView).map((host) => ({
      agent_id: host.agent_id,
      hostname: host.hostname,
      connected: host.connected,
      protected: host.protected,
      criticality: host.criticality,
      containment: host.containment.phase,
    })),
    alerts: alerts.map(alertView),
    signals: signals.map(signalView),
    runs: await Promise.all(runs.map(async (run) => await withSteps(state, run))),
    commands: commands.map(commandView),
  }
  return { ...page, timeline: await timelineOf(state, page) }
}

export function incidentView(row: Selectable<Tables['incidents']>): Incident {
  return {
    ...row,
    severity: severityOf(row.severity),
    verdict: VERDICTS.find((verdict) => verdict === row.verdict) ?? null,
    parts: partsOf(row.parts),
    hosts: textsOf(row.hosts),
    techniques: textsOf(row.techniques),
    tactics: textsOf(row.tactics),
  }
}

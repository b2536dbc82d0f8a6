/** Signals of one cause on one host, with a confidence whose parts are listed. */
import type { Selectable } from 'kysely'
import { Type } from 'typebox'
import type { Tables } from '../store/state/tables.ts'
import { SEVERITIES } from '../triage/index.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { recordOf, recordsOf, textsOf } from './json-column.ts'
import { decodeCursor, PAGE, pageFrom, pageOf, pageQuery } from './paging.ts'
import { notFound } from './problem.ts'
import { AgentIdText, closed, Count, Free, IdParams, IdPrefix, orNull, Texts, Uuid } from './schemas.ts'

export const ConfidencePart = closed(
  {
    name: Type.String(),
    log_odds: Type.Number({ description: 'They add up: confidence = 100 / (1 + e^-sum).' }),
    why: Type.String(),
  },
  'One contribution to a confidence.',
)
export const confidence = Type.Number({ minimum: 0, maximum: 100, description: '0 to 100.' })

export const Alert = closed(
  {
    id: Uuid('Alert id.'),
    agent_id: AgentIdText('Host.'),
    title: Type.String(),
    severity: Type.Enum([...SEVERITIES]),
    confidence,
    parts: Type.Array(ConfidencePart, { description: 'What the confidence is made of.' }),
    techniques: Texts('ATT&CK technique ids.'),
    tactics: Texts('ATT&CK tactics.'),
    entities: Free('Processes, users, hashes, addresses and files that it is about.'),
    status: Type.Enum(['open', 'closed']),
    verdict: orNull(Type.String()),
    signal_count: Count('Signals in it.'),
    first_seen: Type.String(),
    last_seen: Type.String(),
    incident_id: orNull(Type.String()),
    created_at: Type.String(),
    updated_at: Type.String(),
  },
  'An alert.',
)
export type Alert = Type.Static<typeof Alert>

export const Signal = closed(
  {
    id: Type.String(),
    agent_id: AgentIdText('Host.'),
    detector: Type.String({ description: 'sigma, agent, accounting or indicator.' }),
    rule_id: Type.String(),
    rule_title: Type.String(),
    rule_sha256: Type.String({ description: 'Digest of the rule text that matched.' }),
    level: Type.String(),
    techniques: Texts('ATT&CK technique ids.'),
    tactics: Texts('ATT&CK tactics.'),
    event_id: Type.String(),
    event_time: Type.String(),
    event: Free('The event as it was seen.'),
    alert_id: orNull(Type.String()),
    created_at: Type.String(),
  },
  'A signal.',
)
export type Signal = Type.Static<typeof Signal>
/** Signals shown with one alert or incident; the newest. */
export const MAX_SIGNALS = 200

export function alertRoutes(api: Api, { state }: Pick<ApiDeps, 'state'>): void {
  api.get(
    '/api/v1/alerts',
    {
      schema: {
        tags: ['alerts'],
        summary: 'List alerts',
        description: 'Newest first.',
        querystring: closed(
          {
            ...pageQuery,
            id_prefix: IdPrefix,
            host: Type.Optional(AgentIdText('Host.')),
            status: Type.Optional(Type.Enum(['open', 'closed'])),
            severity: Type.Optional(Type.Enum([...SEVERITIES])),
            incident_id: Type.Optional(Uuid('Incident.')),
          },
          'Query.',
        ),
        response: { 200: pageOf(Alert) },
      },
    },
    async ({ query }) => {
      const limit = query.limit ?? PAGE.default
      const after = decodeCursor('alerts', query.cursor)
      let rows = state.db
        .selectFrom('alerts')
        .selectAll()
        .orderBy('id', 'desc')
        .limit(limit + 1)
      if (after !== undefined) rows = rows.where('id', '<', after)
      if (query.id_prefix !== undefined)
        rows = rows.where('id', '>=', query.id_prefix).where('id', '<=', `${query.id_prefix}~`)
      if (query.host !== undefined) rows = rows.where('agent_id', '=', query.host)
      if (query.status !== undefined) rows = rows.where('status', '=', query.status)
      if (query.severity !== undefined) rows = rows.where('severity', '=', query.severity)
      if (query.incident_id !== undefined) rows = rows.where('incident_id', '=', query.incident_id)
      return pageFrom('alerts', await rows.execute(), limit, (row) => row.id, alertView)
    },
  )

  api.get(
    '/api/v1/alerts/:id',
    {
      schema: {
        tags: ['alerts'],
        summary: 'Show an alert with its signals',
        params: IdParams,
        response: {
          200: closed(
            { alert: Alert, signals: Type.Array(Signal, { description: `At most ${MAX_SIGNALS}, newest first.` }) },
            'The alert.',
          ),
        },
      },
    },
    async ({ params }) => {
      const row = await state.db.selectFrom('alerts').selectAll().where('id', '=', params.id).executeTakeFirst()
      if (!row) throw notFound('no such alert')
      const signals = await state.db
        .selectFrom('signals')
        .selectAll()
        .where('alert_id', '=', params.id)
        .orderBy('id', 'desc')
        .limit(MAX_SIGNALS)
        .execute()
      return { alert: alertView(row), signals: signals.map(signalView) }
    },
  )
}

export function alertView(row: Selectable<Tables['alerts']>): Alert {
  return {
    id: row.id,
    agent_id: row.agent_id,
    title: row.title,
    severity: severityOf(row.severity),
    parts: partsOf(row.parts),
    techniques: textsOf(row.techniques),
    tactics: textsOf(row.tactics),
    entities: recordOf(row.entities),
    confidence: row.confidence,
    status: row.status,
    verdict: row.verdict,
    signal_count: row.signal_count,
    first_seen: row.first_seen,
    last_seen: row.last_seen,
    incident_id: row.incident_id,
    created_at: row.created_at,
    updated_at: row.updated_at,
  }
}

export function signalView(row: Selectable<Tables['signals']>): Signal {
  return { ...row, techniques: textsOf(row.techniques), tactics: textsOf(row.tactics), event: recordOf(row.event) }
}

export function severityOf(text: string): (typeof SEVERITIES)[number] {
  return SEVERITIES.find((severity) => severity === text) ?? 'informational'
}

export function partsOf(column: string) {
  return recordsOf(column).map((part) => ({
    name: String(part['name']),
    log_odds: typeof part['logOdds'] === 'number' ? part['logOdds'] : 0,
    why: String(part['why']),
  }))
}

/** What a person says that it was. */
import { Type } from 'typebox'
import { VERDICTS } from '../triage/index.ts'
import { Alert, alertView } from './alerts.ts'
import type { Api } from './api.ts'
import type { ApiDeps } from './api-deps.ts'
import { actorText } from './authenticate.ts'
import { Incident, incidentView } from './incidents.ts'
import { notFound, valueOf } from './problem.ts'
import { closed, IdParams } from './schemas.ts'

const Judgement = closed(
  {
    verdict: Type.Enum([...VERDICTS], {
      description: 'benign: it happened as seen, and it was meant to happen.',
    }),
    reason: Type.String({ minLength: 1, maxLength: 1024, description: 'For the audit log, and for who comes next.' }),
  },
  'A verdict.',
)

export function verdictRoutes(api: Api, { state, triage }: Pick<ApiDeps, 'state' | 'triage'>): void {
  api.post(
    '/api/v1/incidents/:id/verdict',
    {
      schema: {
        tags: ['incidents'],
        summary: 'Say what an incident was',
        description: 'Closes it and its alerts.',
        params: IdParams,
        body: Judgement,
        response: { 200: Incident },
      },
    },
    async (request) => {
      const { id } = request.params
      const { verdict, reason } = request.body
      valueOf(await triage.setVerdict({ kind: 'incident', id }, verdict, actorText(request), reason))
      const row = await state.db.selectFrom('incidents').selectAll().where('id', '=', id).executeTakeFirst()
      if (!row) throw notFound('no such incident')
      return incidentView(row)
    },
  )

  api.post(
    '/api/v1/alerts/:id/verdict',
    {
      schema: {
        tags: ['alerts'],
        summary: 'Say what an alert was',
        description: 'Closes it; its incident is weighed anew.',
        params: IdParams,
        body: Judgement,
        response: { 200: Alert },
      },
    },
    async (request) => {
      const { id } = request.params
      const { verdict, reason } = request.body
      valueOf(await triage.setVerdict({ kind: 'alert', id }, verdict, actorText(request), reason))
      const row = await state.db.selectFrom('alerts').selectAll().where('id', '=', id).executeTakeFirst()
      if (!row) throw notFound('no such alert')
      return alertView(row)
    },
  )
}

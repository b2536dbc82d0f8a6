/** Says in the incident what was reached. An incident is contained when the run of each of its hosts has come this far. */
import type { IncidentId } from '@firebreak/shared/ids.ts'
import { Type } from 'typebox'
import { done, type StepKind, stepSchema, unexpected } from './step.ts'

const schema = stepSchema(
  'mark-incident',
  { status: Type.Literal('contained', { description: 'The new status, once it is true of every host.' }) },
  'Marks the incident once every host of it has come this far.',
)

export const markIncident = {
  type: 'mark-incident',
  schema,
  cacao: 'extension',
  conditions: () => [],
  problems: () => [],
  next({ step }, event) {
    if (event.kind === 'begun') return { kind: 'effect' }
    if (event.kind !== 'wrote') return unexpected('mark-incident', event)
    const { marked, hosts, reached } = event.result
    const why =
      marked === true
        ? `the incident is ${step.status}`
        : `${String(reached)} of ${String(hosts)} hosts of the incident are ${step.status}`
    return done('succeeded', why, event.result)
  },
  async write({ step, run, facts }, { tx, audit, nowMs }) {
    const incidentId = facts.incident.id as IncidentId
    const incident = await tx.selectFrom('incidents').selectAll().where('id', '=', incidentId).executeTakeFirstOrThrow()
    const hosts = JSON.parse(incident.hosts) as string[]
    const reached = await tx
      .selectFrom('run_steps')
      .innerJoin('runs', 'runs.id', 'run_steps.run_id')
      .innerJoin('incidents', 'incidents.id', 'runs.incident_id')
      .select('runs.agent_id')
      .distinct()
      .where('run_steps.type', '=', 'mark-incident')
      .where('run_steps.state', '=', 'succeeded')
      .where('runs.playbook_id', '=', run.playbookId)
      .where((where) =>
        where.or([where('incidents.id', '=', incidentId), where('incidents.merged_into', '=', incidentId)]),
      )
      .execute()
    const reachedIds = new Set([run.agentId as string, ...reached.map((row) => row.agent_id)])
    const all = hosts.every((host) => reachedIds.has(host))
    const outputs = { marked: all && incident.status !== 'closed', hosts: hosts.length, reached: reachedIds.size }
    if (!outputs.marked || incident.status === step.status) return outputs
    await tx
      .updateTable('incidents')
      .set({ status: step.status, updated_at: new Date(nowMs).toISOString() })
      .where('id', '=', incidentId)
      .execute()
    await audit.append(tx, {
      actor: `playbook:${run.playbookId}`,
      action: 'respond.incident.marked',
      objectType: 'incident',
      objectId: incidentId,
      detail: { before: incident.status, after: step.status, run_id: run.id },
    })
    return outputs
  },
} satisfies StepKind<typeof schema>

/** A containment is a lease: when it ends, the incident is not contained any more, and no playbook renews it by itself. */
import type { CommandId, IncidentId } from '@firebreak/shared/ids.ts'
import type { Audit } from '../audit/audit.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import { escalateIncident } from './escalation.ts'

/** States that a command may come to after it was verified (`orders/states.ts`). */
const ENDED = ['reverted', 'refuted', 'failed'] as const
const MAX_FOUND = 500

/** Commands that have ended while their incident still says contained. */
export async function endedContainments(db: StateStore['db']): Promise<CommandId[]> {
  const rows = await db
    .selectFrom('incidents')
    .innerJoin('runs', 'runs.incident_id', 'incidents.id')
    .innerJoin('commands', 'commands.run_id', 'runs.id')
    .select('commands.id')
    .where('incidents.status', '=', 'contained')
    .where('commands.state', 'in', ENDED)
    .limit(MAX_FOUND)
    .execute()
  return rows.map((row) => row.id as CommandId)
}

/** Returns the incident that was opened again, if one was. */
export async function reopenAfter(
  tx: Tx,
  audit: Audit,
  commandId: CommandId,
  nowMs: number,
): Promise<IncidentId | undefined> {
  const command = await tx
    .selectFrom('commands')
    .innerJoin('runs', 'runs.id', 'commands.run_id')
    .innerJoin('incidents', 'incidents.id', 'runs.incident_id')
    .leftJoin('hosts', 'hosts.agent_id', 'commands.agent_id')
    .select([
      'commands.state',
      'commands.type',
      'commands.code',
      'commands.why',
      'hosts.hostname',
      'incidents.id',
      'incidents.merged_into',
    ])
    .where('commands.id', '=', commandId)
    .where('commands.state', 'in', ENDED)
    .executeTakeFirst()
  if (command === undefined) return undefined
  const incidentId = (command.merged_into ?? command.id) as IncidentId
  const incident = await tx.selectFrom('incidents').select('status').where('id', '=', incidentId).executeTakeFirst()
  if (incident?.status !== 'contained') return undefined
  await tx
    .updateTable('incidents')
    .set({ status: 'open', updated_at: new Date(nowMs).toISOString() })
    .where('id', '=', incidentId)
    .execute()
  const details = [command.code, command.why].filter((text) => text !== null && text !== '').join(', ')
  const why = `${command.hostname ?? 'a host'}: ${command.type} is ${command.state}${details === '' ? '' : ` (${details})`}, so the incident is not contained any more`
  await escalateIncident(tx, audit, { incidentId, why, actor: 'system', nowMs })
  return incidentId
}

/** Hosts that a recording names, in the fleet: there to be looked at, without an agent that anything could be ordered to. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { RecordedEvent } from '@firebreak/shared/recordings/recording.ts'
import type { Audit } from '../audit/index.ts'
import { newHostRow } from '../store/state/new-host.ts'
import type { Tx } from '../store/state/state-store.ts'
import { importedAgentId, importedKey } from './import-ids.ts'

const GROUP = 'imported'

export interface Named {
  readonly events: readonly RecordedEvent[]
  readonly importId: string
  readonly at: string
  readonly actor: string
}

/** Those that were not known before. */
export async function addImportedHosts(tx: Tx, audit: Audit, named: Named): Promise<readonly AgentId[]> {
  const hosts = new Map<AgentId, { readonly hostname: string; readonly os: string | undefined }>()
  for (const { host, event } of named.events) {
    const agentId = importedAgentId(host)
    if (!hosts.has(agentId)) hosts.set(agentId, { hostname: host, os: event.host?.os?.type })
  }
  const added: AgentId[] = []
  for (const [agentId, { hostname, os }] of hosts) {
    const known = await tx.selectFrom('hosts').select('imported_at').where('agent_id', '=', agentId).executeTakeFirst()
    if (known !== undefined) continue
    const facts = { hostname, ...(os === undefined ? {} : { os }) }
    const host = { agentId, publicKey: importedKey(agentId), facts, group: GROUP, at: named.at, isImported: true }
    await tx.insertInto('hosts').values(newHostRow(host)).execute()
    await audit.append(tx, {
      actor: named.actor,
      action: 'fleet.host.imported',
      objectType: 'host',
      objectId: agentId,
      detail: { hostname, import_id: named.importId },
    })
    added.push(agentId)
  }
  return added
}

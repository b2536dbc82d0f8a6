/** Hosts that a recording names, in the fleet: there to be looked at, without an agent that anything could be ordered to. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { RecordedEvent } from '@firebreak/shared/recordings/recording.ts'
import type { Audit } from '../audit/index.ts'
import type { Tx } from '../store/state/state-store.ts'
import { importedAgentId, importedKey } from './import-ids.ts'

const GROUP = 'imported'
const ZEROS = '0'.repeat(64)

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
    await tx
      .insertInto('hosts')
      .values({
        agent_id: agentId,
        public_key: importedKey(agentId),
        hostname,
        facts: JSON.stringify({ hostname, ...(os === undefined ? {} : { os }) }),
        group_name: GROUP,
        tags: '[]',
        protected: 0,
        criticality: 'normal',
        enrolled_at: named.at,
        last_seen_at: null,
        connected_session: null,
        boot_id: null,
        trust_version: 0,
        command_lease: 0,
        command_seq: 0,
        receipt_seq: 0,
        receipt_sha256: ZEROS,
        containment: JSON.stringify({ phase: 'none', drift_count: 0 }),
        collectors: '[]',
        revoked_at: null,
        imported_at: named.at,
      })
      .execute()
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

/** A host as it comes into the fleet: nobody has spoken to it yet, nothing was ordered, nothing is contained. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Insertable } from 'kysely'
import type { Tables } from './tables.ts'

const ZEROS = '0'.repeat(64)

export interface NewHost {
  readonly agentId: AgentId
  readonly publicKey: string
  readonly facts: { readonly hostname: string }
  readonly group: string
  /** ISO time. */
  readonly at: string
  /** Named by a recording: there is no agent. */
  readonly isImported?: boolean
}

export function newHostRow({ agentId, publicKey, facts, group, at, isImported }: NewHost): Insertable<Tables['hosts']> {
  return {
    agent_id: agentId,
    public_key: publicKey,
    hostname: facts.hostname,
    facts: JSON.stringify(facts),
    group_name: group,
    tags: '[]',
    protected: 0,
    criticality: 'normal',
    enrolled_at: at,
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
    imported_at: isImported === true ? at : null,
  }
}

/** A host joins: it proves that it knows the token, for exactly its own key, on exactly this channel. One transaction or nothing. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { type AgentId, agentIdOf } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { isSafePublicKey, verify } from '@firebreak/shared/trust/ed25519.ts'
import { enrolMessage, isEnrolProof } from '@firebreak/shared/trust/handshake.ts'
import type { AgentMessage, EntryRefusal } from '@firebreak/shared/wire/messages.ts'
import type { Audit } from '../audit/index.ts'
import { newHostRow } from '../store/state/new-host.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { ControllerTrust } from '../trust/index.ts'
import { tokenContext } from './join-tokens.ts'

export type EnrolRequest = Extract<AgentMessage, { t: 'enrol_request' }>

/** What both sides saw before the request. */
export interface Transcript {
  readonly hello: Uint8Array
  readonly challenge: Uint8Array
  readonly channel: Uint8Array
}

export interface Enrolment {
  enrol(request: EnrolRequest, transcript: Transcript, address: string): Promise<Result<AgentId, EntryRefusal>>
}

export function createEnrolment(
  state: StateStore,
  audit: Audit,
  trust: ControllerTrust,
  clock: Pick<Clock, 'now'>,
): Enrolment {
  return {
    async enrol(request, transcript, address) {
      const publicKey = decodeBase64(request.public_key)
      const proof = decodeBase64(request.proof)
      const signature = decodeBase64(request.sig)
      if (!publicKey || !proof || !signature) return refuse('malformed', 'not base64')
      if (!isSafePublicKey(publicKey)) return refuse('unsafe_key', 'the key of the agent is not safe to trust')
      const parts = { ...transcript, publicKey, facts: request.facts }
      const token = await state.db
        .selectFrom('join_tokens')
        .select('key_wrapped')
        .where('token_id', '=', request.token_id)
        .executeTakeFirst()
      if (!token) return refuse('bad_token', 'the join token is not known here')
      // The proof comes before the state of the token: who does not know the token learns nothing about it.
      if (!isEnrolProof(trust.wrap.open(token.key_wrapped, tokenContext(request.token_id)), parts, proof))
        return refuse('bad_proof', 'the proof of the join token does not hold')
      if (!verify(publicKey, enrolMessage(parts), signature))
        return refuse('bad_signature', 'the signature of the new key does not hold')
      const agentId = agentIdOf(publicKey)
      return state.write((tx) => admit(tx, agentId, request, address))
    },
  }

  async function admit(
    tx: Tx,
    agentId: AgentId,
    request: EnrolRequest,
    address: string,
  ): Promise<Result<AgentId, EntryRefusal>> {
    const known = await tx.selectFrom('hosts').select('revoked_at').where('agent_id', '=', agentId).executeTakeFirst()
    // The answer to the first request was lost: the same key asks again and gets the same answer, at no further cost.
    if (known)
      return known.revoked_at === null ? ok(agentId) : refuse('revoked_agent', 'this agent was revoked; make a new key')
    const token = await tx
      .selectFrom('join_tokens')
      .selectAll()
      .where('token_id', '=', request.token_id)
      .executeTakeFirst()
    const now = new Date(clock.now()).toISOString()
    if (!token || token.revoked_at !== null) return refuse('bad_token', 'the join token was revoked')
    if (token.uses >= token.max_uses) return refuse('token_used_up', `the join token was used ${token.uses} times`)
    if (token.expires_at <= now) return refuse('token_expired', `the join token expired at ${token.expires_at}`)
    await tx
      .updateTable('join_tokens')
      .set({ uses: token.uses + 1 })
      .where('token_id', '=', request.token_id)
      .execute()
    const { facts, public_key: publicKey } = request
    const host = { agentId, publicKey, facts, group: token.group_name, at: now }
    await tx.insertInto('hosts').values(newHostRow(host)).execute()
    await audit.append(tx, {
      actor: `agent:${agentId}`,
      action: 'fleet.host.enrolled',
      objectType: 'host',
      objectId: agentId,
      detail: {
        hostname: request.facts.hostname,
        group: token.group_name,
        token_id: request.token_id,
        address,
      },
    })
    return ok(agentId)
  }
}

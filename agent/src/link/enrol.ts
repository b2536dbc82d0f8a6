/**
 * How a host joins. The controller shows who it is first: the trust file against the hash in the join string, the TLS key against the
 * trust file, a gateway key over the channel. Only then does the host show, without saying it, that it knows the token (design 4).
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { challengeMessage, digest, enrolMessage, enrolProof } from '@firebreak/shared/trust/handshake.ts'
import { parseJoinString, tokenIdOf, tokenKeyOf } from '@firebreak/shared/trust/join-string.ts'
import { openTrustFile, type Trust } from '@firebreak/shared/trust/trust-file.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import { type EntryRefusal, type HostFacts } from '@firebreak/shared/wire/messages.ts'
import { ensureIdentity } from '../identity/identity.ts'
import { isEnrolled, saveFirstTrust } from '../identity/trust-store.ts'
import { type AddressBook, parseHostPort } from './addresses.ts'
import { type Channel, openChannel } from './channel.ts'
import { isRefusal, openMailbox } from './mailbox.ts'

/** Why a host did not join. The first block is found out by the agent, the rest is what the controller answers. */
export type EnrolRefusal =
  | 'bad_join_string'
  | 'bad_url'
  | 'already_enrolled'
  | 'bad_local_key'
  | 'unreachable'
  | 'wrong_root'
  | 'wrong_certificate'
  | 'trust_expired'
  | EntryRefusal

export interface EnrolRequest {
  readonly controller: string
  readonly joinString: string
  readonly stateDir: string
  readonly facts: HostFacts
}

export interface Enrolled {
  readonly agentId: AgentId
  readonly deploymentId: string
}

export async function enrol(
  request: EnrolRequest,
  deps: { readonly clock: Clock; readonly addresses: AddressBook },
): Promise<Result<Enrolled, EnrolRefusal>> {
  const join = parseJoinString(request.joinString)
  if (!join.ok) return join
  const target = parseHostPort(request.controller)
  if (!target) return refuse('bad_url', `${request.controller} is not https://host:port`)
  if (isEnrolled(request.stateDir))
    return refuse('already_enrolled', `this host has joined already; its state is in ${request.stateDir}`)
  const identity = ensureIdentity(request.stateDir)
  if (!identity.ok) return refuse('bad_local_key', identity.why)
  const channel = await firstChannel(target, deps.addresses)
  if (!channel.ok) return channel
  try {
    const joined = await overChannel(channel.value, request, join.value, identity.value.key, deps.clock)
    if (!joined.ok) return joined
    const { agentId } = identity.value
    const deploymentId = joined.value.file.deployment_id
    const enrolment = {
      agent_id: agentId,
      deployment_id: deploymentId,
      controller: request.controller,
      enrolled_at: new Date(deps.clock.now()).toISOString(),
    }
    saveFirstTrust(request.stateDir, enrolment, joined.value)
    return ok({ agentId, deploymentId })
  } finally {
    channel.value.socket.terminate()
  }
}

async function firstChannel(
  target: { readonly host: string; readonly port: number },
  addresses: AddressBook,
): Promise<Result<Channel, 'unreachable' | 'wrong_certificate'>> {
  const found = await addresses.resolve(target)
  let last: Result<Channel, 'unreachable' | 'wrong_certificate'> = refuse(
    'unreachable',
    `${target.host} has no address`,
  )
  for (const address of found) {
    last = await openChannel({ target, address, pins: undefined, timeoutMs: WIRE.handshakeMs })
    if (last.ok) return last
  }
  return last
}

async function overChannel(
  channel: Channel,
  request: EnrolRequest,
  join: { readonly token: Uint8Array; readonly rootHash: Uint8Array },
  key: { readonly publicKey: Uint8Array; sign(message: Uint8Array): Uint8Array },
  clock: Clock,
): Promise<Result<Trust, EnrolRefusal>> {
  const mail = openMailbox(channel.socket)
  const hello = mail.send({ t: 'enrol_hello', v: 1, nonce: encodeBase64(randomBytes(32)) })
  const challenged = await mail.next('enrol_challenge', WIRE.handshakeMs)
  if (!challenged.ok) return challenged
  if (isRefusal(challenged.value)) return refuse(challenged.value.code, challenged.value.why)
  const { message: challenge, raw } = challenged.value

  const trust = openTrustFile(challenge.trust, join.rootHash)
  if (!trust.ok) {
    if (trust.code === 'wrong_root') return refuse('wrong_root', trust.why)
    return refuse(trust.code === 'malformed' ? 'malformed' : 'bad_signature', `trust file: ${trust.why}`)
  }
  if (!trust.value.file.tls_spki_sha256.includes(channel.spki))
    return refuse(
      'wrong_certificate',
      `the TLS key of this controller (${channel.spki}) is not pinned by its trust file`,
    )
  if (trust.value.expired(clock.now()))
    return refuse(
      'trust_expired',
      `the trust file expired at ${trust.value.file.expires_at}; is the clock of this host right?`,
    )
  const parts = {
    hello,
    serverNonce: decodeBase64(challenge.nonce) ?? new Uint8Array(),
    serverTime: challenge.server_time,
    channel: channel.binding,
  }
  const said = challengeMessage('enrol', parts, digest(Buffer.from(JSON.stringify(challenge.trust))))
  const isGateway = trust.value.keyFor(challenge.keyid, 'gateway', clock.now())
  if (!isGateway?.(said, decodeBase64(challenge.sig) ?? new Uint8Array()))
    return refuse('bad_signature', 'the controller did not prove that it holds a gateway key of its trust file')

  const enrolParts = { hello, challenge: raw, channel: channel.binding, publicKey: key.publicKey, facts: request.facts }
  mail.send({
    t: 'enrol_request',
    token_id: tokenIdOf(join.token),
    public_key: encodeBase64(key.publicKey),
    facts: request.facts,
    proof: encodeBase64(enrolProof(tokenKeyOf(join.token), enrolParts)),
    sig: encodeBase64(key.sign(enrolMessage(enrolParts))),
  })
  const answer = await mail.next('enrolled', 2 * WIRE.handshakeMs)
  if (!answer.ok) return answer
  return isRefusal(answer.value) ? refuse(answer.value.code, answer.value.why) : trust
}

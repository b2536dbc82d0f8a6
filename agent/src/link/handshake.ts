/** The agent's side of a session: both prove their keys over this very channel before anything else is said (research 3.3, design 4). */
import { randomBytes } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { challengeMessage, digest, proofMessage, sessionOf } from '@firebreak/shared/trust/handshake.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import type { AgentMessage, ControllerMessage, EntryRefusal } from '@firebreak/shared/wire/messages.ts'
import type { Identity } from '../identity/identity.ts'
import type { TrustStore } from '../identity/trust-store.ts'
import type { Channel } from './channel.ts'
import { isRefusal, openMailbox } from './mailbox.ts'

export type Hello = Omit<Extract<AgentMessage, { t: 'hello' }>, 't' | 'v' | 'nonce' | 'agent_id' | 'trust_version'>

/** An authenticated connection. A command's life is counted from `startedAt`. */
export interface Session {
  readonly id: string
  /** Agent's monotonic clock at the welcome, ms. */
  readonly startedAt: number
  /** The controller's clock at the challenge, signed by it, ms since 1970. */
  readonly serverTime: number
}

export interface Opened {
  readonly session: Session
  readonly welcome: Extract<ControllerMessage, { t: 'welcome' }>
  /** Frames that came right behind the welcome. */
  readonly early: readonly Buffer[]
}

export type HandshakeRefusal = 'unreachable' | 'wrong_certificate' | 'bad_trust_update' | EntryRefusal
export type HandshakeRefused = {
  readonly ok: false
  readonly code: HandshakeRefusal
  readonly why: string
  readonly retryAfterS?: number
}

export async function openSession(
  channel: Channel,
  hello: Hello,
  deps: { readonly identity: Identity; readonly trust: TrustStore; readonly clock: Clock },
): Promise<Result<Opened, HandshakeRefusal> | HandshakeRefused> {
  const { identity, trust, clock } = deps
  const mail = openMailbox(channel.socket)
  const helloRaw = mail.send({
    t: 'hello',
    v: 1,
    agent_id: identity.agentId,
    nonce: encodeBase64(randomBytes(32)),
    trust_version: trust.current().file.version,
    ...hello,
  })
  const challenged = await mail.next('challenge', WIRE.handshakeMs)
  if (!challenged.ok) return challenged
  if (isRefusal(challenged.value)) return refused(challenged.value)
  const { message: challenge, raw: challengeRaw } = challenged.value

  // Newer trust files prove themselves by root signatures, so they are followed before the key of this challenge is looked up in them.
  for (const envelope of challenge.trust_updates) {
    const followed = trust.follow(envelope)
    if (!followed.ok) return refuse('bad_trust_update', followed.why)
  }
  if (!trust.current().file.tls_spki_sha256.includes(channel.spki))
    return refuse('wrong_certificate', 'the newest trust file does not pin the key of this connection any more')
  const serverTime = Date.parse(challenge.server_time)
  if (!Number.isFinite(serverTime)) return refuse('malformed', 'the challenge has no time')
  const said = challengeMessage(
    'session',
    {
      hello: helloRaw,
      serverNonce: decodeBase64(challenge.nonce) ?? new Uint8Array(),
      serverTime: challenge.server_time,
      channel: channel.binding,
    },
    digest(Buffer.from(JSON.stringify(challenge.trust_updates))),
  )
  const isGateway = trust.current().keyFor(challenge.keyid, 'gateway', clock.now())
  if (!isGateway?.(said, decodeBase64(challenge.sig) ?? new Uint8Array()))
    return refuse('bad_signature', 'the controller did not prove that it holds a gateway key of the trust file')

  const sig = encodeBase64(identity.key.sign(proofMessage(helloRaw, challengeRaw, channel.binding)))
  const proofRaw = mail.send({ t: 'proof', sig })
  const welcomed = await mail.next('welcome', WIRE.handshakeMs)
  if (!welcomed.ok) return welcomed
  if (isRefusal(welcomed.value)) return refused(welcomed.value)
  const id = sessionOf(helloRaw, challengeRaw, proofRaw)
  if (welcomed.value.message.session !== id) return refuse('bad_signature', 'the controller names another session')
  return ok({
    session: { id, startedAt: clock.monotonic(), serverTime },
    welcome: welcomed.value.message,
    early: mail.close(),
  })
}

function refused(message: Extract<ControllerMessage, { t: 'refused' }>): HandshakeRefused {
  const { code, why, retry_after_s: retryAfterS } = message
  return { ok: false, code, why, ...(retryAfterS === undefined ? {} : { retryAfterS }) }
}

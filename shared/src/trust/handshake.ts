/**
 * Both sides prove who they are, bound to the TLS channel under them (RFC 5705 / RFC 8446, 7.5 keying material), before anything else
 * is said. What is signed are digests of the raw messages, so there is nothing to canonicalise. Source: design 4.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { HostFacts } from '../wire/messages.ts'
import { preAuthEncoding } from './dsse.ts'

/** Label for `exportKeyingMaterial`; 32 bytes of it are the name of the channel. */
export const CHANNEL_LABEL = 'EXPORTER-firebreak-channel-v1'
export const CHANNEL_BYTES = 32

export interface HelloParts {
  /** Raw bytes of the hello that was sent. */
  readonly hello: Uint8Array
  readonly serverNonce: Uint8Array
  readonly serverTime: string
  /** Keying material of the channel; empty behind a proxy that ends TLS. */
  readonly channel: Uint8Array
}

/** What the controller signs in answer to an agent's hello. `trustDigest`: SHA-256 of the trust envelope it hands over, if any. */
export function challengeMessage(purpose: 'enrol' | 'session', parts: HelloParts, trustDigest: Uint8Array): Uint8Array {
  return preAuthEncoding(
    `fb.handshake.controller.${purpose}.v1`,
    Buffer.concat([
      digest(parts.hello),
      parts.serverNonce,
      digest(Buffer.from(parts.serverTime)),
      trustDigest,
      digest(parts.channel),
    ]),
  )
}

/** What the agent signs: it saw this hello and this challenge on this channel. */
export function proofMessage(hello: Uint8Array, challenge: Uint8Array, channel: Uint8Array): Uint8Array {
  return preAuthEncoding('fb.handshake.agent.v1', Buffer.concat([digest(hello), digest(challenge), digest(channel)]))
}

/** Name of the authenticated connection: commands are made for exactly one. */
export function sessionOf(hello: Uint8Array, challenge: Uint8Array, proof: Uint8Array): string {
  return createHash('sha256')
    .update('fb.session.v1')
    .update(digest(hello))
    .update(digest(challenge))
    .update(digest(proof))
    .digest('hex')
}

export interface EnrolParts {
  readonly hello: Uint8Array
  readonly challenge: Uint8Array
  readonly channel: Uint8Array
  readonly publicKey: Uint8Array
  readonly facts: HostFacts
}

/** Knows the token (HMAC under its key) for exactly this key, host and channel; a relay cannot put its own key in. */
export function enrolProof(tokenKey: Uint8Array, parts: EnrolParts): Uint8Array {
  return createHmac('sha256', tokenKey).update(enrolMessage(parts)).digest()
}

export function isEnrolProof(tokenKey: Uint8Array, parts: EnrolParts, proof: Uint8Array): boolean {
  const expected = enrolProof(tokenKey, parts)
  return proof.length === expected.length && timingSafeEqual(proof, expected)
}

/** What the new key signs to show that the host holds it. */
export function enrolMessage(parts: EnrolParts): Uint8Array {
  return preAuthEncoding(
    'fb.enrol.agent.v1',
    Buffer.concat([
      digest(parts.hello),
      digest(parts.challenge),
      digest(parts.channel),
      parts.publicKey,
      digest(Buffer.from(JSON.stringify(parts.facts))),
    ]),
  )
}

/** What the controller signs to confirm, over the rules just applied, that the host still reaches it. */
export function confirmMessage(session: string, nonce: Uint8Array): Uint8Array {
  return preAuthEncoding('fb.confirm.v1', Buffer.concat([Buffer.from(session, 'hex'), nonce]))
}

export function digest(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

/**
 * `fb1.<token>.<hash of the root keys>`: everything a host needs to join, in one string. The hash lets the agent know its controller
 * before it says anything; the token is proved by HMAC and never travels. Source: design 4.
 */
import { createHash, randomBytes } from 'node:crypto'
import { type Result, ok, refuse } from '../result.ts'
import { decodeBase64Url } from './base64.ts'

export interface JoinString {
  readonly token: Uint8Array
  /** SHA-256 over the root key set (`rootHashOf`). */
  readonly rootHash: Uint8Array
}

export function newJoinToken(): Uint8Array {
  return randomBytes(32)
}

export function formatJoinString({ token, rootHash }: JoinString): string {
  return `fb1.${Buffer.from(token).toString('base64url')}.${Buffer.from(rootHash).toString('base64url')}`
}

export function parseJoinString(text: string): Result<JoinString, 'bad_join_string'> {
  const [version, token64, hash64, ...rest] = text.trim().split('.')
  const token = decodeBase64Url(token64 ?? '')
  const rootHash = decodeBase64Url(hash64 ?? '')
  if (version !== 'fb1' || token?.length !== 32 || rootHash?.length !== 32 || rest.length > 0)
    return refuse('bad_join_string', 'a join string looks like fb1.<43 characters>.<43 characters>; copy it whole')
  return ok({ token, rootHash })
}

/** What the controller keeps of a token, and the key of the proof: K = SHA-256(token). */
export function tokenKeyOf(token: Uint8Array): Uint8Array {
  return createHash('sha256').update('fb.join.key.v1').update(token).digest()
}

/** Finds the token at the controller; says nothing about the token itself. */
export function tokenIdOf(token: Uint8Array): string {
  return createHash('sha256').update('fb.join.id.v1').update(tokenKeyOf(token)).digest('hex').slice(0, 32)
}

/**
 * The trust file: which key may do what, signed by the root keys, which stay offline. Replaced only by the next version signed by the
 * thresholds of the old and of the new root set (The Update Framework specification 1.0, section 5.3).
 */
import { createHash } from 'node:crypto'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { COMMAND_TYPES, type CommandType } from '../commands/catalogue.ts'
import { UUID_PATTERN } from '../ids.ts'
import { type Result, ok, refuse } from '../result.ts'
import { parseStrictJson } from '../wire/strict-json.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { type Envelope, open, seal } from './dsse.ts'
import { isSafePublicKey, type KeyId, keyIdOf, type SigningKey, verifierOf } from './ed25519.ts'

export const TRUST_PAYLOAD_TYPE = 'application/vnd.firebreak.trust+json'
/** gateway: speaks for the controller in handshakes. command: signs commands of its `types`. audit: signs checkpoints. */
export const KEY_ROLES = ['gateway', 'command', 'operator', 'content', 'release', 'audit'] as const
export type KeyRole = (typeof KEY_ROLES)[number]

const PublicKey = Type.String({ minLength: 44, maxLength: 44, description: 'Ed25519 public key, base64.' })
const Time = Type.String({ maxLength: 40, pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$` })

export const TrustFile = Type.Object(
  {
    v: Type.Literal(1),
    deployment_id: Type.String({ pattern: UUID_PATTERN }),
    version: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Goes up by exactly one.' }),
    issued_at: Time,
    expires_at: Time,
    root: Type.Object(
      {
        threshold: Type.Integer({ minimum: 1, maximum: 16 }),
        keys: Type.Array(PublicKey, { minItems: 1, maxItems: 16 }),
      },
      { additionalProperties: false },
    ),
    keys: Type.Array(
      Type.Object(
        {
          public_key: PublicKey,
          roles: Type.Array(Type.Enum([...KEY_ROLES]), { minItems: 1, maxItems: KEY_ROLES.length }),
          types: Type.Array(Type.Enum([...COMMAND_TYPES]), {
            maxItems: 64,
            description: 'Command types that a `command` key may sign.',
          }),
          not_after: Type.Optional(Time),
        },
        { additionalProperties: false },
      ),
      { maxItems: 256 },
    ),
    revoked: Type.Array(Type.String({ pattern: '^[0-9a-f]{32}$' }), {
      maxItems: 1024,
      description: 'Key ids that count for nothing any more.',
    }),
    dual_types: Type.Array(Type.Enum([...COMMAND_TYPES]), {
      maxItems: 64,
      description: "Types that also need an operator's signature.",
    }),
    controllers: Type.Array(Type.String({ maxLength: 256 }), {
      minItems: 1,
      maxItems: 32,
      description: 'host:port of every controller; what an isolated host may still reach.',
    }),
    tls_spki_sha256: Type.Array(Type.String({ minLength: 44, maxLength: 44 }), {
      minItems: 1,
      maxItems: 32,
      description: 'Digests of the public keys of the TLS certificates, base64 (RFC 7469, 2.4).',
    }),
  },
  { additionalProperties: false, description: 'Which key may do what.' },
)
export type TrustFile = Type.Static<typeof TrustFile>
const trustFileSchema = Compile(TrustFile)

export type TrustRefusal =
  | 'malformed'
  | 'wrong_root'
  | 'bad_signature'
  | 'too_few_signatures'
  | 'not_next_version'
  | 'other_deployment'

/** A trust file whose signatures were checked, ready to be asked. */
export interface Trust {
  readonly file: TrustFile
  readonly envelope: Envelope
  readonly rootHash: Uint8Array
  expired(nowMs: number): boolean
  /** Verifier of a key that has this role (and, for `command`, may sign this type) and is neither revoked nor past its end. */
  keyFor(
    kid: KeyId,
    role: KeyRole,
    nowMs: number,
    type?: CommandType,
  ): ((message: Uint8Array, signature: Uint8Array) => boolean) | undefined
  /** Whether the file names this key at all, whatever its rights. */
  knows(kid: KeyId): boolean
}

/** SHA-256 over threshold and sorted root keys: what a join string pins. */
export function rootHashOf(root: TrustFile['root']): Uint8Array {
  const hash = createHash('sha256')
    .update('fb.root.v1')
    .update(Buffer.from([root.threshold, root.keys.length]))
  for (const key of [...root.keys].sort()) hash.update(key)
  return hash.digest()
}

export function sealTrustFile(file: TrustFile, rootKeys: readonly SigningKey[]): Envelope {
  return seal(TRUST_PAYLOAD_TYPE, Buffer.from(JSON.stringify(file)), rootKeys)
}

/** First trust: believed because its root set has the hash that the join string pins. */
export function openTrustFile(envelope: Envelope, rootHash: Uint8Array): Result<Trust, TrustRefusal> {
  const read = readUnverified(envelope)
  if (!read.ok) return read
  if (!Buffer.from(rootHashOf(read.value.root)).equals(rootHash))
    return refuse('wrong_root', 'the controller has other root keys than the join string names')
  const signed = checkThreshold(envelope, read.value.root)
  return signed.ok ? ok(trustOf(read.value, envelope)) : signed
}

/** Next trust: exactly one version on, signed by the thresholds of the old root set and of its own. */
export function followTrustFile(current: Trust, envelope: Envelope): Result<Trust, TrustRefusal> {
  const read = readUnverified(envelope)
  if (!read.ok) return read
  if (read.value.deployment_id !== current.file.deployment_id)
    return refuse('other_deployment', 'the trust file is of another deployment')
  if (read.value.version !== current.file.version + 1)
    return refuse('not_next_version', `version ${read.value.version} does not follow ${current.file.version}`)
  for (const root of [current.file.root, read.value.root]) {
    const signed = checkThreshold(envelope, root)
    if (!signed.ok) return signed
  }
  return ok(trustOf(read.value, envelope))
}

function readUnverified(envelope: Envelope): Result<TrustFile, TrustRefusal> {
  const payload = decodeBase64(envelope.payload)
  if (!payload) return refuse('malformed', 'the payload is not base64')
  const parsed = parseStrictJson(payload)
  if (!parsed.ok) return refuse('malformed', parsed.why)
  if (!trustFileSchema.Check(parsed.value)) return refuse('malformed', 'not a trust file')
  const file = parsed.value
  const keys = [...file.root.keys, ...file.keys.map((key) => key.public_key)].map(decodeBase64)
  if (!keys.every((key) => key !== undefined && isSafePublicKey(key)))
    return refuse('malformed', 'a key is not a safe Ed25519 public key')
  if (new Set(file.root.keys).size !== file.root.keys.length || file.root.threshold > file.root.keys.length)
    return refuse('malformed', 'the root set is not sound')
  return ok(file)
}

function checkThreshold(envelope: Envelope, root: TrustFile['root']): Result<void, TrustRefusal> {
  const verifiers = new Map(
    root.keys.map((key) => [keyIdOf(Buffer.from(key, 'base64')), verifierOf(Buffer.from(key, 'base64'))]),
  )
  const opened = open(envelope, TRUST_PAYLOAD_TYPE, (kid) => verifiers.get(kid))
  if (!opened.ok) return refuse(opened.code === 'unknown_key' ? 'too_few_signatures' : opened.code, opened.why)
  if (opened.value.signers.length < root.threshold)
    return refuse('too_few_signatures', `${opened.value.signers.length} of ${root.threshold} root signatures`)
  return ok()
}

function trustOf(file: TrustFile, envelope: Envelope): Trust {
  const revoked = new Set(file.revoked)
  const keys = new Map(
    file.keys.map((key) => {
      const raw = Buffer.from(key.public_key, 'base64')
      return [
        keyIdOf(raw),
        {
          ...key,
          verifier: verifierOf(raw),
          endsAt: key.not_after === undefined ? Number.POSITIVE_INFINITY : Date.parse(key.not_after),
        },
      ] as const
    }),
  )
  const expiresAt = Date.parse(file.expires_at)
  return {
    file,
    envelope,
    rootHash: rootHashOf(file.root),
    expired: (nowMs) => nowMs >= expiresAt,
    knows: (kid) => keys.has(kid),
    keyFor(kid, role, nowMs, type) {
      const key = keys.get(kid)
      if (!key || revoked.has(kid) || nowMs >= key.endsAt || !key.roles.includes(role)) return undefined
      if (role === 'command' && (type === undefined || !key.types.includes(type))) return undefined
      return key.verifier
    },
  }
}

export function publicKeyText(key: SigningKey): string {
  return encodeBase64(key.publicKey)
}

/**
 * Signed envelopes: DSSE 1.0 (secure-systems-lab/dsse, protocol.md and envelope.md). The signature covers the type and the raw bytes,
 * so there is nothing to canonicalise: verify first, then parse exactly those bytes.
 */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { type Result, ok, refuse } from '../result.ts'
import { parseStrictJson } from '../wire/strict-json.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import type { KeyId, SigningKey } from './ed25519.ts'

const Envelope = Type.Object(
  {
    payloadType: Type.String({ maxLength: 128 }),
    payload: Type.String({ maxLength: 1024 * 1024 }),
    signatures: Type.Array(
      Type.Object(
        { keyid: Type.String({ maxLength: 64 }), sig: Type.String({ minLength: 88, maxLength: 88 }) },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 8 },
    ),
  },
  { additionalProperties: false },
)
export type Envelope = Type.Static<typeof Envelope>
const envelopeSchema = Compile(Envelope)

export interface OpenedEnvelope {
  readonly payload: Uint8Array
  /** Keys whose signature held, each once. */
  readonly signers: readonly KeyId[]
}

/** Pre-authentication encoding: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in bytes, decimal. */
export function preAuthEncoding(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = Buffer.from(payloadType, 'utf8')
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} `), type, Buffer.from(` ${payload.length} `), payload])
}

export function seal(payloadType: string, payload: Uint8Array, keys: readonly SigningKey[]): Envelope {
  const message = preAuthEncoding(payloadType, payload)
  return {
    payloadType,
    payload: encodeBase64(payload),
    signatures: keys.map((key) => ({ keyid: key.kid, sig: encodeBase64(key.sign(message)) })),
  }
}

export function parseEnvelope(bytes: Uint8Array): Result<Envelope, 'malformed'> {
  const parsed = parseStrictJson(bytes)
  if (!parsed.ok) return refuse('malformed', parsed.why)
  return readEnvelope(parsed.value)
}

export function readEnvelope(value: unknown): Result<Envelope, 'malformed'> {
  return envelopeSchema.Check(value) ? ok(value) : refuse('malformed', 'not a signed envelope')
}

/**
 * Opens an envelope of one type. `keyOf` gives the verifier of a key id, or `undefined` for a key that is not trusted for this.
 * `unknown_key`: no signature is by a trusted key. `bad_signature`: one by a trusted key does not hold (one bad signature spoils all).
 */
export function open(
  envelope: Envelope,
  payloadType: string,
  keyOf: (kid: KeyId) => ((message: Uint8Array, signature: Uint8Array) => boolean) | undefined,
): Result<OpenedEnvelope, 'malformed' | 'unknown_key' | 'bad_signature'> {
  if (envelope.payloadType !== payloadType) return refuse('malformed', 'the envelope is of another type')
  const payload = decodeBase64(envelope.payload)
  if (!payload) return refuse('malformed', 'the payload is not base64')
  const message = preAuthEncoding(payloadType, payload)
  const signers = new Set<KeyId>()
  for (const { keyid, sig } of envelope.signatures) {
    const verifier = keyOf(keyid)
    if (!verifier) continue
    const signature = decodeBase64(sig)
    if (!signature || !verifier(message, signature))
      return refuse('bad_signature', `the signature of key ${keyid} does not hold`)
    signers.add(keyid)
  }
  if (signers.size === 0) return refuse('unknown_key', 'no signature is by a key trusted for this')
  return ok({ payload, signers: [...signers] })
}

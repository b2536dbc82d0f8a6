/**
 * Strict Ed25519 (RFC 8032) over `node:crypto`: a signature with S >= L and a public key of small order or in a non-canonical
 * encoding are refused, so that one message has one signature and no key signs everything. Keys travel as 32 raw bytes.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as nodeSign,
  verify as nodeVerify,
} from 'node:crypto'
import { Fault } from '../result.ts'

const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
/** Order of the base point, L = 2^252 + 27742317777372353535851937790883648493 (RFC 8032, 5.1), little endian. */
const GROUP_ORDER = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex')
/** Field prime p = 2^255 - 19, little endian. */
const FIELD_PRIME = Buffer.from('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'hex')
/** y coordinates of the eight points of small order (canonical), little endian, sign bit cleared. */
const SMALL_ORDER_Y = new Set([
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
])

/** First 16 bytes of SHA-256 of the public key, hexadecimal. A hint for finding a key, never a proof. */
export type KeyId = string

export interface SigningKey {
  readonly kid: KeyId
  readonly publicKey: Uint8Array
  sign(message: Uint8Array): Uint8Array
}

export function keyIdOf(publicKey: Uint8Array): KeyId {
  return createHash('sha256').update(publicKey).digest('hex').slice(0, 32)
}

export function generateSeed(): Uint8Array {
  const pkcs8 = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'der' })
  return Uint8Array.from(pkcs8.subarray(PKCS8_PREFIX.length))
}

/** `seed`: the 32 secret bytes of RFC 8032, 5.1.5. */
export function signingKeyOf(seed: Uint8Array): SigningKey {
  if (seed.length !== 32) throw new Fault('bad_key', `an Ed25519 seed has 32 bytes, not ${seed.length}`)
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' })
  const publicKey = Uint8Array.from(
    createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX.length),
  )
  return { kid: keyIdOf(publicKey), publicKey, sign: (message) => nodeSign(null, message, privateKey) }
}

/** True for a canonical encoding of a point that is not of small order. Every key is asked before it is stored or trusted. */
export function isSafePublicKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false
  const y = Buffer.from(publicKey)
  y[31] = (y[31] ?? 0) & 0x7f
  return isBelow(y, FIELD_PRIME) && !SMALL_ORDER_Y.has(y.toString('hex'))
}

/** A public key that can be asked many times; `undefined` for one that is not safe. */
export function verifierOf(
  publicKey: Uint8Array,
): ((message: Uint8Array, signature: Uint8Array) => boolean) | undefined {
  if (!isSafePublicKey(publicKey)) return undefined
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' })
  } catch {
    return undefined // not a point on the curve: the same answer as for any other unsafe key
  }
  return (message, signature) => {
    // S >= L is refused first: otherwise one order has two valid signatures (RFC 8032, 5.1.7 and 8.4).
    if (signature.length !== 64 || !isBelow(signature.subarray(32), GROUP_ORDER)) return false
    return nodeVerify(null, message, key, signature)
  }
}

export function verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  return verifierOf(publicKey)?.(message, signature) ?? false
}

/** Compares two little-endian numbers of 32 bytes. */
function isBelow(number: Uint8Array, limit: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) {
    const a = number[i] ?? 0
    const b = limit[i] ?? 0
    if (a !== b) return a < b
  }
  return false
}

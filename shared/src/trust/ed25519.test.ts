import { createHash } from 'node:crypto'
import nacl from 'tweetnacl'
import { describe, expect, it } from 'vitest'
import { generateSeed, isSafePublicKey, keyIdOf, signingKeyOf, verify } from './ed25519.ts'

const L = 2n ** 252n + 27742317777372353535851937790883648493n
const fromLittleEndian = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
const toLittleEndian = (value: bigint) => Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse()
const SMALL_ORDER = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '0000000000000000000000000000000000000000000000000000000000000000',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
]

describe('Ed25519', () => {
  it('agrees with RFC 8032, 7.1, test 2', () => {
    const key = signingKeyOf(Buffer.from('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', 'hex'))
    expect(Buffer.from(key.publicKey).toString('hex')).toBe(
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    )
    const signature = key.sign(Buffer.of(0x72))
    expect(Buffer.from(signature).toString('hex')).toBe(
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    )
    expect(verify(key.publicKey, Buffer.of(0x72), signature)).toBe(true)
  })

  it('gives the same bytes as tweetnacl, and each accepts what the other signed', () => {
    for (let i = 0; i < 20; i++) {
      const seed = generateSeed()
      const ours = signingKeyOf(seed)
      const theirs = nacl.sign.keyPair.fromSeed(Uint8Array.from(seed))
      const message = createHash('sha256').update(seed).digest()
      expect(Buffer.from(ours.publicKey)).toEqual(Buffer.from(theirs.publicKey))
      expect(Buffer.from(ours.sign(message))).toEqual(Buffer.from(nacl.sign.detached(message, theirs.secretKey)))
      expect(verify(ours.publicKey, message, ours.sign(message))).toBe(true)
    }
  })

  it('refuses the second signature that S + L would make, which tweetnacl accepts', () => {
    const key = signingKeyOf(generateSeed())
    const message = Buffer.from('isolate')
    const signature = Buffer.from(key.sign(message))
    const malleable = Buffer.concat([
      signature.subarray(0, 32),
      toLittleEndian(fromLittleEndian(signature.subarray(32)) + L),
    ])
    expect(nacl.sign.detached.verify(message, malleable, key.publicKey)).toBe(true)
    expect(verify(key.publicKey, message, malleable)).toBe(false)
  })

  it.each(SMALL_ORDER)('refuses the small-order key %s', (hex) => {
    const key = Buffer.from(hex, 'hex')
    expect(isSafePublicKey(key)).toBe(false)
    expect(verify(key, Buffer.from('anything'), Buffer.concat([key, Buffer.alloc(32)]))).toBe(false)
  })

  it('refuses an encoding of a key that is not canonical', () => {
    const p = 2n ** 255n - 19n
    expect(isSafePublicKey(toLittleEndian(p + 3n))).toBe(false)
    expect(isSafePublicKey(Buffer.alloc(31, 7))).toBe(false)
  })

  it('refuses a signature with any bit changed', () => {
    const key = signingKeyOf(generateSeed())
    const message = Buffer.from('release')
    const signature = key.sign(message)
    for (let bit = 0; bit < 512; bit++) {
      const changed = Buffer.from(signature)
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(verify(key.publicKey, message, changed)).toBe(false)
    }
  })

  it('names a key by the digest of its bytes', () => {
    const key = signingKeyOf(generateSeed())
    expect(key.kid).toBe(keyIdOf(key.publicKey))
    expect(key.kid).toMatch(/^[0-9a-f]{32}$/)
  })
})

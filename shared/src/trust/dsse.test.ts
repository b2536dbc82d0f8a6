import { describe, expect, it } from 'vitest'
import { open, parseEnvelope, preAuthEncoding, seal } from './dsse.ts'
import { generateSeed, type SigningKey, signingKeyOf, verifierOf } from './ed25519.ts'

const TYPE = 'application/vnd.example+json'
const alice = signingKeyOf(generateSeed())
const bob = signingKeyOf(generateSeed())
const trusts =
  (...keys: SigningKey[]) =>
  (kid: string) =>
    verifierOf(keys.find((key) => key.kid === kid)?.publicKey ?? new Uint8Array())
const payload = Buffer.from('{"order":"isolate"}')

describe('signed envelope', () => {
  it('encodes before signing as the DSSE protocol says', () => {
    expect(Buffer.from(preAuthEncoding('http://example.com/HelloWorld', Buffer.from('hello world'))).toString()).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    )
  })

  it('opens to the very bytes that were signed, and names who signed', () => {
    const opened = open(seal(TYPE, payload, [alice, bob]), TYPE, trusts(alice, bob))
    expect(opened).toMatchObject({ ok: true, value: { signers: [alice.kid, bob.kid] } })
    expect(opened.ok && Buffer.from(opened.value.payload)).toEqual(payload)
  })

  it('does not open as another type, although the bytes are signed', () => {
    expect(open(seal(TYPE, payload, [alice]), 'application/other', trusts(alice))).toMatchObject({
      ok: false,
      code: 'malformed',
    })
    const renamed = { ...seal(TYPE, payload, [alice]), payloadType: 'application/other' }
    expect(open(renamed, 'application/other', trusts(alice))).toMatchObject({ ok: false, code: 'bad_signature' })
  })

  it('does not open for a key that is not trusted', () => {
    expect(open(seal(TYPE, payload, [bob]), TYPE, trusts(alice))).toMatchObject({ ok: false, code: 'unknown_key' })
  })

  it('counts a key once, however often it signed', () => {
    const opened = open(seal(TYPE, payload, [alice, alice]), TYPE, trusts(alice))
    expect(opened.ok && opened.value.signers).toEqual([alice.kid])
  })

  it('is spoiled by one bad signature of a trusted key', () => {
    const good = seal(TYPE, payload, [alice, bob])
    const [first, second] = good.signatures
    const spoiled = { ...good, signatures: [first!, { keyid: second!.keyid, sig: first!.sig }] }
    expect(open(spoiled, TYPE, trusts(alice, bob))).toMatchObject({ ok: false, code: 'bad_signature' })
  })

  it('refuses base64 that has a second spelling', () => {
    const good = seal(TYPE, Buffer.from('a'), [alice])
    expect(good.payload).toBe('YQ==')
    expect(open({ ...good, payload: 'YR==' }, TYPE, trusts(alice))).toMatchObject({ ok: false, code: 'malformed' })
    expect(open({ ...good, payload: 'YQ' }, TYPE, trusts(alice))).toMatchObject({ ok: false, code: 'malformed' })
  })

  it('refuses text that is not exactly an envelope', () => {
    const good = JSON.stringify(seal(TYPE, payload, [alice]))
    expect(parseEnvelope(Buffer.from(good)).ok).toBe(true)
    for (const bad of [
      '',
      'null',
      '[]',
      '{}',
      good.replace('"payload"', '"payload":"","payload"'),
      good.slice(0, -1),
      `${good} x`,
      good.replace('}', ',"more":1}'),
    ])
      expect(parseEnvelope(Buffer.from(bad))).toMatchObject({ ok: false, code: 'malformed' })
  })
})

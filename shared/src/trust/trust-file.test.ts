import { describe, expect, it } from 'vitest'
import { generateSeed, type SigningKey, signingKeyOf } from './ed25519.ts'
import {
  followTrustFile,
  openTrustFile,
  publicKeyText,
  rootHashOf,
  sealTrustFile,
  type Trust,
  type TrustFile,
} from './trust-file.ts'

const NOW = Date.UTC(2026, 0, 1)
const rootA = signingKeyOf(generateSeed())
const rootB = signingKeyOf(generateSeed())
const command = signingKeyOf(generateSeed())
const gateway = signingKeyOf(generateSeed())

const file = (changes: Partial<TrustFile> = {}): TrustFile => ({
  v: 1,
  deployment_id: '0190a000-0000-7000-8000-000000000000',
  version: 1,
  issued_at: '2026-01-01T00:00:00Z',
  expires_at: '2027-01-01T00:00:00Z',
  root: { threshold: 1, keys: [publicKeyText(rootA)] },
  keys: [
    {
      public_key: publicKeyText(command),
      roles: ['command'],
      types: ['isolate-host'],
      not_after: '2026-06-01T00:00:00Z',
    },
    { public_key: publicKeyText(gateway), roles: ['gateway'], types: [] },
  ],
  revoked: [],
  dual_types: [],
  controllers: ['192.0.2.1:8443'],
  tls_spki_sha256: [Buffer.alloc(32).toString('base64')],
  ...changes,
})
const trusted = (content: TrustFile, ...roots: SigningKey[]): Trust => {
  const opened = openTrustFile(sealTrustFile(content, roots), rootHashOf(content.root))
  if (!opened.ok) throw new Error(opened.why)
  return opened.value
}

describe('trust file', () => {
  it('is believed only when its root keys are those of the join string', () => {
    expect(openTrustFile(sealTrustFile(file(), [rootA]), rootHashOf(file().root)).ok).toBe(true)
    const foreign = file({ root: { threshold: 1, keys: [publicKeyText(rootB)] } })
    expect(openTrustFile(sealTrustFile(foreign, [rootB]), rootHashOf(file().root))).toMatchObject({
      ok: false,
      code: 'wrong_root',
    })
  })

  it('is not believed when a root key did not sign exactly it', () => {
    const sealed = sealTrustFile(file(), [rootA])
    const changed = { ...sealed, payload: Buffer.from(JSON.stringify(file({ version: 2 }))).toString('base64') }
    expect(openTrustFile(changed, rootHashOf(file().root))).toMatchObject({ ok: false, code: 'bad_signature' })
    expect(openTrustFile(sealTrustFile(file(), [command]), rootHashOf(file().root))).toMatchObject({
      ok: false,
      code: 'too_few_signatures',
    })
  })

  it('lets a key do what it is listed for, until its end, and nothing else', () => {
    const trust = trusted(file(), rootA)
    expect(trust.keyFor(command.kid, 'command', NOW, 'isolate-host')).toBeDefined()
    expect(trust.keyFor(command.kid, 'command', NOW, 'kill-process')).toBeUndefined()
    expect(trust.keyFor(command.kid, 'command', NOW)).toBeUndefined()
    expect(trust.keyFor(command.kid, 'gateway', NOW)).toBeUndefined()
    expect(trust.keyFor(gateway.kid, 'command', NOW, 'isolate-host')).toBeUndefined()
    expect(trust.keyFor(command.kid, 'command', Date.UTC(2026, 5, 2), 'isolate-host')).toBeUndefined()
    expect(trust.keyFor('0'.repeat(32), 'command', NOW, 'isolate-host')).toBeUndefined()
  })

  it('lets a revoked key do nothing', () => {
    const trust = trusted(file({ revoked: [command.kid] }), rootA)
    expect(trust.keyFor(command.kid, 'command', NOW, 'isolate-host')).toBeUndefined()
    expect(trust.knows(command.kid)).toBe(true)
  })

  it('expires', () => {
    expect(trusted(file(), rootA).expired(NOW)).toBe(false)
    expect(trusted(file(), rootA).expired(Date.UTC(2027, 0, 1))).toBe(true)
  })

  it('is followed by the next version only, signed by the old and the new root set', () => {
    const first = trusted(file(), rootA)
    const handover = file({ version: 2, root: { threshold: 1, keys: [publicKeyText(rootB)] } })
    expect(followTrustFile(first, sealTrustFile(handover, [rootB]))).toMatchObject({
      ok: false,
      code: 'too_few_signatures',
    })
    expect(followTrustFile(first, sealTrustFile(handover, [rootA]))).toMatchObject({
      ok: false,
      code: 'too_few_signatures',
    })
    expect(followTrustFile(first, sealTrustFile(handover, [rootA, rootB])).ok).toBe(true)
    expect(followTrustFile(first, sealTrustFile(file({ version: 1 }), [rootA]))).toMatchObject({
      ok: false,
      code: 'not_next_version',
    })
    expect(followTrustFile(first, sealTrustFile(file({ version: 3 }), [rootA]))).toMatchObject({
      ok: false,
      code: 'not_next_version',
    })
    const other = file({ version: 2, deployment_id: '0190a000-0000-7000-8000-000000000001' })
    expect(followTrustFile(first, sealTrustFile(other, [rootA]))).toMatchObject({ ok: false, code: 'other_deployment' })
  })

  it('needs as many root signatures as its threshold', () => {
    const two = file({ root: { threshold: 2, keys: [publicKeyText(rootA), publicKeyText(rootB)] } })
    expect(openTrustFile(sealTrustFile(two, [rootA, rootA]), rootHashOf(two.root))).toMatchObject({
      ok: false,
      code: 'too_few_signatures',
    })
    expect(openTrustFile(sealTrustFile(two, [rootA, rootB]), rootHashOf(two.root)).ok).toBe(true)
  })

  it('refuses a root set that could never agree, twice the same key and unsafe keys', () => {
    const refused = (changes: Partial<TrustFile>) =>
      openTrustFile(sealTrustFile(file(changes), [rootA]), rootHashOf(file(changes).root))
    expect(refused({ root: { threshold: 2, keys: [publicKeyText(rootA)] } })).toMatchObject({ code: 'malformed' })
    expect(refused({ root: { threshold: 1, keys: [publicKeyText(rootA), publicKeyText(rootA)] } })).toMatchObject({
      code: 'malformed',
    })
    const zero = Buffer.alloc(32).toString('base64')
    expect(refused({ keys: [{ public_key: zero, roles: ['command'], types: [] }] })).toMatchObject({
      code: 'malformed',
    })
  })
})

import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import {
  openTrustFile,
  publicKeyText,
  rootHashOf,
  sealTrustFile,
  type TrustFile,
} from '@firebreak/shared/trust/trust-file.ts'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { ensureIdentity, readBootId, readIdentity } from './identity.ts'
import { openTrustStore, saveFirstTrust } from './trust-store.ts'
import { AGENT_VERSION } from './version.ts'

const folder = () => temporaryFolder()
const make = () => signingKeyOf(generateSeed())

it('makes its key once, for its owner alone, and is the same host ever after', () => {
  const dir = folder()
  const first = ensureIdentity(dir)
  const second = ensureIdentity(dir)
  expect(first.ok && second.ok && first.value.agentId === second.value.agentId).toBe(true)
  expect(statSync(join(dir, 'agent.key')).mode & 0o777).toBe(0o600)
})

it('does not use a key that others could have read, and does not replace one that it cannot read', () => {
  const dir = folder()
  ensureIdentity(dir)
  const path = join(dir, 'agent.key')
  chmodSync(path, 0o640)
  expect(ensureIdentity(dir)).toMatchObject({ ok: false, code: 'exposed_key' })
  chmodSync(path, 0o600)
  writeFileSync(path, 'nonsense')
  expect(ensureIdentity(dir)).toMatchObject({ ok: false, code: 'bad_key' })
  expect(readFileSync(path, 'utf8')).toBe('nonsense')
  expect(readIdentity(folder())).toMatchObject({ ok: false, code: 'no_key' })
})

function trusted(dir: string) {
  const root = make()
  const file: TrustFile = {
    v: 1,
    deployment_id: '3d9f4c1e-0000-4000-8000-000000000001',
    version: 1,
    issued_at: '2026-01-01T00:00:00Z',
    expires_at: '2027-01-01T00:00:00Z',
    root: { threshold: 1, keys: [publicKeyText(root)] },
    keys: [],
    revoked: [],
    dual_types: [],
    controllers: ['a:1'],
    tls_spki_sha256: [Buffer.alloc(32).toString('base64')],
  }
  const opened = openTrustFile(sealTrustFile(file, [root]), rootHashOf(file.root))
  if (!opened.ok) throw new Error(opened.why)
  const enrolment = {
    agent_id: 'a'.repeat(26),
    deployment_id: file.deployment_id,
    controller: 'https://a:1',
    enrolled_at: '2026-01-01T00:00:00Z',
  }
  saveFirstTrust(dir, enrolment, opened.value)
  return { root, file }
}

it('remembers a trust file with new root keys over a restart, and takes none that the old root did not sign', () => {
  const dir = folder()
  const { root, file } = trusted(dir)
  const store = openTrustStore(dir)
  if (!store.ok) throw new Error(store.why)
  const successor = make()
  const rotated: TrustFile = { ...file, version: 2, root: { threshold: 1, keys: [publicKeyText(successor)] } }
  expect(store.value.follow(sealTrustFile(rotated, [successor]))).toMatchObject({ ok: false })
  expect(store.value.follow(sealTrustFile(rotated, [root, successor]))).toMatchObject({ ok: true })
  const again = openTrustStore(dir)
  expect(again.ok && again.value.current().file.version).toBe(2)
  expect(again.ok && again.value.follow(sealTrustFile({ ...rotated, version: 3 }, [successor]))).toMatchObject({
    ok: true,
  })
})

it('says that the host must join again when its trust file is gone or changed, and uses neither', () => {
  for (const change of [
    (text: string) => text.slice(0, 40),
    (text: string) => text.replace(/"sig":"./, (start) => `${start.slice(0, -1)}${start.endsWith('A') ? 'B' : 'A'}`),
    () => '{}',
  ]) {
    const dir = folder()
    trusted(dir)
    const path = join(dir, 'trust.json')
    writeFileSync(path, change(readFileSync(path, 'utf8')))
    expect(openTrustStore(dir)).toMatchObject({ ok: false, code: 'bad_state' })
  }
  expect(openTrustStore(folder())).toMatchObject({ ok: false, code: 'not_enrolled' })
})

it('names the running boot, and the version of its package', () => {
  expect(readBootId()).toMatch(/^[0-9a-f-]{36}$/)
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
    version: string
  }
  expect(AGENT_VERSION).toBe(manifest.version)
})

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { formatJoinString, newJoinToken } from '@firebreak/shared/trust/join-string.ts'
import { rootHashOf } from '@firebreak/shared/trust/trust-file.ts'
import type { HostFacts } from '@firebreak/shared/wire/messages.ts'
import { afterEach, expect, it } from 'vitest'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { readHostFacts } from '../facts/host-facts.ts'
import { readIdentity } from '../identity/identity.ts'
import { openTrustStore } from '../identity/trust-store.ts'
import { silentLog } from '../log.ts'
import { openAddressBook } from './addresses.ts'
import { makeCertificate } from './certificate.fake.ts'
import { FakeController, makeKeys } from './controller.fake.ts'
import { enrol } from './enrol.ts'

const started: FakeController[] = []
afterEach(async () => {
  await Promise.all(started.splice(0).map((controller) => controller.stop()))
})

async function controller(options: ConstructorParameters<typeof FakeController>[0] = {}): Promise<FakeController> {
  const made = await new FakeController(options).start()
  started.push(made)
  return made
}

const facts: HostFacts = readHostFacts()

function joinHost(url: string, joinString: string, stateDir = temporaryFolder()) {
  return enrol(
    { controller: url, joinString, stateDir, facts },
    { clock: systemClock, addresses: openAddressBook({ log: silentLog, stateDir }) },
  )
}

it('joins with one string and keeps key and trust for root alone', async () => {
  const there = await controller()
  const stateDir = temporaryFolder()
  const joined = await joinHost(there.url, there.joinString, stateDir)
  expect(joined).toMatchObject({ ok: true, value: { deploymentId: there.trustFile.deployment_id } })
  const identity = readIdentity(stateDir)
  expect(identity.ok && [...there.agents.keys()]).toEqual([identity.ok && identity.value.agentId])
  const trust = openTrustStore(stateDir)
  expect(trust.ok && trust.value.current().file.version).toBe(1)
  for (const name of readdirSync(stateDir)) expect(statSync(join(stateDir, name)).mode & 0o077).toBe(0)
  expect(await joinHost(there.url, there.joinString, stateDir)).toMatchObject({ ok: false, code: 'already_enrolled' })
})

it('says nothing but hello to a controller with other root keys, another TLS key or without a gateway key', async () => {
  const good = await controller()
  const otherRoot = await controller()
  const otherTls = await controller({ keys: good.keys, certificate: makeCertificate() })
  otherTls.trustFile = good.trustFile
  otherTls.trustChain = good.trustChain
  const noGateway = await controller({ keys: good.keys, certificate: good.certificate })
  noGateway.behaviour.challengeKey = makeKeys().gateway
  const cases = [
    [otherRoot, 'wrong_root'],
    [otherTls, 'wrong_certificate'],
    [noGateway, 'bad_signature'],
  ] as const
  for (const [there, code] of cases) {
    const stateDir = temporaryFolder()
    const joinString = formatJoinString({ token: there.token, rootHash: rootHashOf(good.trustFile.root) })
    expect(await joinHost(there.url, joinString, stateDir)).toMatchObject({ ok: false, code })
    expect(there.preAuth.length).toBe(1)
    expect(there.preAuth[0]?.includes('enrol_hello')).toBe(true)
    expect(openTrustStore(stateDir)).toMatchObject({ ok: false, code: 'not_enrolled' })
  }
})

it('never sends the token, not even to its own controller', async () => {
  const there = await controller()
  await joinHost(there.url, there.joinString)
  const sent = Buffer.concat(there.preAuth).toString('latin1')
  for (const form of ['base64', 'base64url', 'hex', 'latin1'] as const)
    expect(sent).not.toContain(Buffer.from(there.token).toString(form).replace(/=+$/, ''))
})

it('names why the controller does not let it in', async () => {
  const there = await controller()
  const wrongToken = formatJoinString({ token: newJoinToken(), rootHash: rootHashOf(there.trustFile.root) })
  expect(await joinHost(there.url, wrongToken)).toMatchObject({ ok: false, code: 'bad_token' })
  for (const code of ['token_expired', 'token_used_up', 'too_many'] as const) {
    there.behaviour.tokenRefusal = code
    expect(await joinHost(there.url, there.joinString)).toMatchObject({ ok: false, code })
  }
})

it('tells a bad join string, a bad address, an absent controller and an expired trust file apart', async () => {
  const expired = await controller({ file: { expires_at: new Date(Date.now() - 1_000).toISOString() } })
  expect(await joinHost(expired.url, 'fb1.short.text')).toMatchObject({ ok: false, code: 'bad_join_string' })
  expect(await joinHost('ftp://x', expired.joinString)).toMatchObject({ ok: false, code: 'bad_url' })
  expect(await joinHost('https://127.0.0.1:1', expired.joinString)).toMatchObject({ ok: false, code: 'unreachable' })
  expect(await joinHost(expired.url, expired.joinString)).toMatchObject({ ok: false, code: 'trust_expired' })
})

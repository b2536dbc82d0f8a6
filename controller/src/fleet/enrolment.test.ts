import { mkdtempSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { generateSeed, type SigningKey, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { enrolMessage, enrolProof } from '@firebreak/shared/trust/handshake.ts'
import { parseJoinString, tokenIdOf, tokenKeyOf } from '@firebreak/shared/trust/join-string.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AuditLog, createAuditLog } from '../audit/audit-log.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { type ControllerTrust, openControllerTrust } from '../trust/controller-trust.ts'
import { createEnrolment, type EnrolRequest } from './enrolment.ts'
import { createJoinTokens, type JoinTokens } from './join-tokens.ts'

let dir: string
let state: StateStore
let audit: AuditLog
let trust: ControllerTrust
let tokens: JoinTokens
const clock = new FakeClock()

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-enrol-'))
  state = await openStateStore(join(dir, 'state.db'))
  trust = await openControllerTrust({ stateDir: dir, publicAddresses: ['c:1'], ownAddresses: [], nowMs: clock.now() })
  audit = createAuditLog(state, clock, trust.auditKey)
  tokens = createJoinTokens(state, audit, trust, clock)
})
afterEach(async () => {
  await state.close()
  rmSync(dir, { recursive: true, force: true })
})

const transcript = { hello: Buffer.from('hello'), challenge: Buffer.from('challenge'), channel: randomBytes(32) }
const facts = { hostname: 'web-1', os: 'linux', architecture: 'x64', addresses: ['10.0.0.7'], agent_version: '0.1.0' }

function request(token: Uint8Array, key: SigningKey, seen = transcript): EnrolRequest {
  const parts = { ...seen, publicKey: key.publicKey, facts }
  return {
    t: 'enrol_request',
    token_id: tokenIdOf(token),
    public_key: encodeBase64(key.publicKey),
    facts,
    proof: encodeBase64(enrolProof(tokenKeyOf(token), parts)),
    sig: encodeBase64(key.sign(enrolMessage(parts))),
  }
}
const newToken = async (maxUses = 1, lifeS = 3_600) => {
  const { joinString, tokenId } = await tokens.create({ group: 'web', lifeS, maxUses }, 'user:ann')
  const parsed = parseJoinString(joinString)
  if (!parsed.ok) throw new Error(parsed.why)
  return { token: parsed.value.token, tokenId }
}
const newKey = () => signingKeyOf(generateSeed())
const hosts = async () => (await state.db.selectFrom('hosts').select('agent_id').execute()).length
const enrol = (given: EnrolRequest, seen = transcript) =>
  createEnrolment(state, audit, trust, clock).enrol(given, seen, '10.0.0.7')

describe('joining', () => {
  it('lets a host in once, writes it down, and answers the same to the same key when the answer was lost', async () => {
    const { token } = await newToken()
    const key = newKey()
    const joined = await enrol(request(token, key))
    expect(joined.ok).toBe(true)
    expect(await enrol(request(token, key))).toEqual(joined)
    expect(await tokens.list()).toMatchObject([{ uses: 1, state: 'used_up' }])
    expect((await state.db.selectFrom('audit').select('action').execute()).map((r) => r.action)).toEqual([
      'fleet.join_token.created',
      'fleet.host.enrolled',
    ])
    expect(JSON.stringify(await state.db.selectFrom('join_tokens').selectAll().execute())).not.toContain(
      Buffer.from(token).toString('base64'),
    )
  })

  it('lets exactly one of 50 hosts in that use a one-use token at the same time', async () => {
    const { token } = await newToken()
    const results = await Promise.all(Array.from({ length: 50 }, () => enrol(request(token, newKey()))))
    expect(results.filter((r) => r.ok)).toHaveLength(1)
    expect(results.filter((r) => !r.ok && r.code === 'token_used_up')).toHaveLength(49)
    expect(await hosts()).toBe(1)
  })

  it('refuses by name what it cannot believe, and lets nobody in', async () => {
    const { token, tokenId } = await newToken(10)
    const key = newKey()
    const good = request(token, key)
    const code = async (given: EnrolRequest, seen = transcript) => {
      const result = await enrol(given, seen)
      return result.ok ? 'in' : result.code
    }
    expect(await code(request(randomBytes(32), key))).toBe('bad_token')
    expect(await code({ ...request(randomBytes(32), key), token_id: tokenId })).toBe('bad_proof')
    expect(await code({ ...good, facts: { ...facts, hostname: 'db-1' } })).toBe('bad_proof')
    expect(await code({ ...good, public_key: encodeBase64(newKey().publicKey) })).toBe('bad_proof')
    expect(await code(good, { ...transcript, channel: randomBytes(32) })).toBe('bad_proof')
    expect(await code({ ...good, sig: encodeBase64(newKey().sign(Buffer.from('x'))) })).toBe('bad_signature')
    const weak = { ...key, publicKey: new Uint8Array(32) }
    expect(await code(request(token, weak))).toBe('unsafe_key')
    await tokens.revoke(tokenId, 'user:ann')
    expect(await code(good)).toBe('bad_token')
    const late = await newToken(1, 60)
    await clock.advance(60_000)
    expect(await code(request(late.token, key))).toBe('token_expired')
    expect(await hosts()).toBe(0)
  })
})

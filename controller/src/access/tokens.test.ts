import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { generateSeed, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createAuditLog } from '../audit/audit-log.ts'
import { ROLES } from '../orders/orders.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { ensureAdminToken } from './first-token.ts'
import { createGuessLimit } from './guess-limit.ts'
import { RIGHTS, ROLE_RIGHTS } from './rights.ts'
import { createTokens, type Tokens } from './tokens.ts'

let dir: string
let state: StateStore
let tokens: Tokens
const clock = new FakeClock()
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-access-'))
  state = await openStateStore(join(dir, 'state.db'))
  tokens = createTokens({ state, audit: createAuditLog(state, clock, signingKeyOf(generateSeed())), clock })
})
afterEach(async () => {
  await state.close()
  rmSync(dir, { recursive: true })
})

describe('the first admin token', () => {
  it('lies in a file that only its owner can read, is valid, and is made once', async () => {
    const first = await ensureAdminToken(tokens, dir)
    expect(first).toEqual({ made: true, path: join(dir, 'admin.token') })
    expect(statSync(first.path).mode & 0o777).toBe(0o600)
    const secret = readFileSync(first.path, 'utf8').trim()
    expect(await tokens.authenticate(secret)).toMatchObject({ ok: true, value: { role: 'admin' } })
    expect(await ensureAdminToken(tokens, dir)).toEqual({ made: false, path: first.path })
    expect(readFileSync(first.path, 'utf8').trim()).toBe(secret)
  })

  it('is made again when a crash came between the file and the state, and when nobody is an admin any more', async () => {
    writeFileSync(join(dir, 'admin.token'), 'fb_pat_of_a_start_that_died\n')
    expect((await ensureAdminToken(tokens, dir)).made).toBe(true)
    const [token] = await tokens.list()
    await tokens.revoke(token?.id ?? '', 'user:admin')
    expect((await ensureAdminToken(tokens, dir)).made).toBe(true)
    const secret = readFileSync(join(dir, 'admin.token'), 'utf8').trim()
    expect(await tokens.authenticate(secret)).toMatchObject({ ok: true })
  })

  it('is in no table, in no audit record and in no part of the state file', async () => {
    await ensureAdminToken(tokens, dir)
    const secret = readFileSync(join(dir, 'admin.token'), 'utf8').trim()
    for (const name of ['state.db', 'state.db-wal'])
      expect(readFileSync(join(dir, name)).includes(secret), name).toBe(false)
  })
})

describe('a token', () => {
  it('is refused in every form but its own', async () => {
    const { secret } = await tokens.create({ name: 'ann', role: 'viewer' }, 'system')
    for (const wrong of ['', 'x', secret.slice(0, -1), `${secret}a`, secret.toUpperCase(), ` ${secret}`, 'fb_pat_'])
      expect(await tokens.authenticate(wrong), wrong).toMatchObject({ ok: false, code: 'unauthenticated' })
  })

  it('of a role that this version does not know holds nothing more than the least', async () => {
    const { secret, token } = await tokens.create({ name: 'ann', role: 'admin' }, 'system')
    await state.write(async (tx) => {
      await tx.updateTable('api_tokens').set({ role: 'superuser' }).where('id', '=', token.id).execute()
    })
    expect(await tokens.authenticate(secret)).toMatchObject({ ok: true, value: { role: 'viewer' } })
  })

  it('stops opening doors the moment it is revoked or over, also for connections that are open', async () => {
    const { token, secret } = await tokens.create({ name: 'ann', role: 'viewer', lifeS: 60 }, 'system')
    expect(await tokens.stillValid(token.id)).toBe(true)
    await clock.advance(60_000)
    expect(await tokens.stillValid(token.id)).toBe(false)
    expect(await tokens.authenticate(secret)).toMatchObject({ code: 'token_expired' })
    const other = await tokens.create({ name: 'bob', role: 'viewer' }, 'system')
    await tokens.revoke(other.token.id, 'user:admin')
    expect(await tokens.stillValid(other.token.id)).toBe(false)
    expect(await tokens.revoke('no-such-id', 'user:admin')).toMatchObject({ code: 'not_found' })
  })
})

describe('roles', () => {
  it('hold all that the role before them holds, and only an admin holds all', () => {
    for (const [at, role] of ROLES.entries()) {
      const before = ROLES[at - 1]
      if (before !== undefined) expect(ROLE_RIGHTS[role]).toEqual(expect.arrayContaining([...ROLE_RIGHTS[before]]))
      expect(ROLE_RIGHTS[role].includes('admin')).toBe(role === 'admin')
    }
    expect(ROLE_RIGHTS.admin).toEqual(RIGHTS)
  })
})

describe('the guess limit', () => {
  it('forgets the oldest address rather than grow without bounds', () => {
    const limit = createGuessLimit(new FakeClock(), { max: 1, windowMs: 1_000, maxAddresses: 2 })
    expect([limit.failed('a'), limit.failed('a')]).toEqual([0, 1_000])
    limit.failed('b')
    limit.failed('c')
    expect(limit.failed('a'), 'a was pushed out').toBe(0)
  })
})

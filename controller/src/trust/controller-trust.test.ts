import { chmodSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { followTrustFile, openTrustFile } from '@firebreak/shared/trust/trust-file.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openControllerTrust } from './controller-trust.ts'
import { createWrap } from './wrap.ts'

let stateDir: string
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'fb-trust-'))
})
afterEach(() => rmSync(stateDir, { recursive: true, force: true }))

const NOW = Date.UTC(2026, 5, 1)
const open = (publicAddresses: string[] = ['c1:8421'], nowMs = NOW) =>
  openControllerTrust({ stateDir, publicAddresses, ownAddresses: ['10.0.0.1:8421'], nowMs })

describe("the controller's trust", () => {
  it('makes its keys once, for nobody else to read, and is the same after a restart', async () => {
    const first = await open()
    for (const name of readdirSync(join(stateDir, 'keys')))
      expect(statSync(join(stateDir, 'keys', name)).mode & 0o777).toBe(0o600)
    const again = await open()
    expect(again.deploymentId).toBe(first.deploymentId)
    expect(again.commandKey.kid).toBe(first.commandKey.kid)
    expect(again.tls.spkiSha256).toBe(first.tls.spkiSha256)
    expect(again.trust().file.version).toBe(1)
    expect(openTrustFile(again.trust().envelope, first.trust().rootHash)).toMatchObject({ ok: true })
    expect(again.wrap.open(first.wrap.seal(Buffer.from('x'), 'c'), 'c').toString()).toBe('x')
    expect(first.advice.join()).toMatch(/move it to a safe place/)
  })

  it('issues the next trust file when its addresses change, and agents can follow it', async () => {
    const first = await open()
    const next = await open(['c1:8421', 'c2:8421'])
    const [update] = next.updatesAfter(1)
    if (!update) throw new Error('no update')
    const followed = followTrustFile(first.trust(), update)
    expect(followed).toMatchObject({ ok: true, value: { file: { version: 2, controllers: ['c1:8421', 'c2:8421'] } } })
    expect(next.updatesAfter(0)).toHaveLength(2)
    expect(next.updatesAfter(2)).toEqual([])
    expect((await open([])).trust().file.version).toBe(2)
  })

  it('says what to do when the root key is away and a change needs it, and works on without it otherwise', async () => {
    await open()
    renameSync(join(stateDir, 'keys', 'root.seed'), join(stateDir, 'root.seed'))
    expect((await open()).advice).toEqual([])
    await expect(open(['c9:8421'])).rejects.toMatchObject({
      code: 'root_key_absent',
      message: /put it back at .*root\.seed/,
    })
    expect((await open(['c1:8421'], NOW + 300 * 86_400_000)).advice.join()).toMatch(/expires on/)
    expect((await open()).trust().file.version).toBe(1)
  })

  it('renews the trust file in time while the root key is there', async () => {
    await open()
    expect((await open(['c1:8421'], NOW + 300 * 86_400_000)).trust().file.version).toBe(2)
  })

  it('does not start with a key lost, readable by others, or a trust file changed', async () => {
    await open()
    chmodSync(join(stateDir, 'keys', 'command.seed'), 0o640)
    await expect(open()).rejects.toMatchObject({ code: 'key_exposed' })
    rmSync(join(stateDir, 'keys', 'command.seed'))
    await expect(open()).rejects.toMatchObject({ code: 'key_missing' })
    const trust = join(stateDir, 'trust', '1.json')
    writeFileSync(trust, '{}')
    await expect(open()).rejects.toMatchObject({ code: 'trust_damaged' })
  })
})

describe('a sealed secret', () => {
  it('opens only under its key, in its place and unchanged', () => {
    const wrap = createWrap(Buffer.alloc(32, 1))
    const sealed = wrap.seal(Buffer.from('release code'), 'command:1')
    expect(Buffer.from(wrap.open(sealed, 'command:1')).toString()).toBe('release code')
    expect(() => wrap.open(sealed, 'command:2')).toThrow(/does not open/)
    expect(() => createWrap(Buffer.alloc(32, 2)).open(sealed, 'command:1')).toThrow(/does not open/)
    const bytes = Buffer.from(sealed, 'base64')
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(() => wrap.open(changed.toString('base64'), 'command:1')).toThrow()
    }
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ApiUnderTest, startApi } from '../api/api.fixture.ts'
import { openControllerTrust } from '../trust/controller-trust.ts'
import { runWith } from './cli.fixture.ts'

let door: ApiUnderTest
let dir: string
let url: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-tls-'))
  const own = { stateDir: dir, publicAddresses: ['192.0.2.1:8421'], ownAddresses: [], nowMs: Date.now() }
  const { tls } = await openControllerTrust(own)
  door = await startApi({ tls })
  url = await door.api.listen({ host: '127.0.0.1', port: 0 })
  writeFileSync(join(dir, 'admin.token'), door.secretOf('admin'), { mode: 0o600 })
})
afterAll(async () => {
  await door.stop()
  rmSync(dir, { recursive: true })
})

describe('an API that is not on loopback', () => {
  it('speaks TLS, and the command line believes exactly the certificate of its controller', async () => {
    expect(url).toMatch(/^https:/)
    const known = await runWith(['hosts', 'list', '--json', '--api', url, '--state-dir', dir], {}, '/')
    expect([known.code, known.out], known.err).toEqual([0, '[]\n'])
    const named = await runWith(
      ['hosts', 'list', '--api', url, '--ca', join(dir, 'tls.crt')],
      { FIREBREAK_TOKEN: door.secretOf('admin') },
      '/',
    )
    expect(named.code, named.err).toBe(0)
  })

  it('gets no token when it shows another certificate, or one that nobody vouches for', async () => {
    const env = { FIREBREAK_TOKEN: door.secretOf('admin'), FIREBREAK_STATE_DIR: '/nowhere' }
    const unknown = await runWith(['hosts', 'list', '--api', url], env, '/')
    expect([unknown.code, unknown.err]).toEqual([6, expect.stringContaining('no controller answers')])
    // The certificate of the fixture's own trust is another one.
    const other = await runWith(['hosts', 'list', '--api', url, '--ca', join(door.dir, 'tls.crt')], env, '/')
    expect(other.code).toBe(6)
  })
})

import { INVENTORY_KINDS } from '@firebreak/shared/events/inventory.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { AGENT } from '../api/api.fixture.ts'
import { takeInventory } from '../fleet/inventory.ts'
import { startCli } from './cli.fixture.ts'

let cli: Awaited<ReturnType<typeof startCli>>
beforeAll(async () => {
  cli = await startCli()
  await cli.door.addHost(AGENT, 'web-1')
  const told = (kind: string, key: string, item: object) =>
    JSON.stringify({
      '@timestamp': '2026-11-24T11:59:00.000Z',
      event: { kind: 'state' },
      message: `${key} in a line`,
      firebreak: { inventory: { kind, change: 'present', key, item, snapshot: 's' } },
    })
  const lines = [
    told('packages', 'openssl', { name: 'openssl', version: '3.0.1', type: 'deb' }),
    told('packages', 'evil', { name: 'evil\u001b[2Jname', version: '1', type: 'npm', path: '/srv' }),
    told('sudoers', 'r', { users: ['alice', 'bob'], run_as: ['ALL'], commands: ['/bin/sh'], no_password: true }),
  ]
  await cli.door.state.write((tx) => takeInventory(tx, AGENT, Buffer.from(lines.join('\n'))))
})
afterAll(async () => {
  await cli.stop()
})

it('shows what is known of a host, kind by kind', async () => {
  const ran = await cli.run(['hosts', 'inventory', 'web-1'])
  expect(ran.out).toMatch(/packages +2 /)
  expect(ran.out).toMatch(/sudoers +1 /)
})

it('shows what a host has, safe for a terminal, and finds it by its line', async () => {
  const packages = await cli.run(['hosts', 'inventory', 'web-1', 'packages'])
  expect(packages.out).toMatch(/^openssl +3\.0\.1 +deb/m)
  expect(packages.out).not.toContain('\u001b')
  const found = await cli.run(['hosts', 'inventory', 'web-1', 'packages', '--text', 'OPENSSL', '--json'])
  expect(found.json()).toMatchObject([{ key: 'openssl', facts: { version: '3.0.1' } }])
  expect((await cli.run(['hosts', 'inventory', 'web-1', 'sudoers'])).out).toMatch(/alice, bob +ALL +\/bin\/sh +yes/)
})

it.each(INVENTORY_KINDS)('has a table for %s', async (kind) => {
  const ran = await cli.run(['hosts', 'inventory', 'web-1', kind])
  expect(ran.code).toBe(0)
})

it('names the kinds when one is asked for that there is not', async () => {
  const ran = await cli.run(['hosts', 'inventory', 'web-1', 'software'])
  expect(ran.code).toBe(2)
  expect(ran.err).toContain('ssh-keys')
})

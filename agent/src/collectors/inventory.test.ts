import os from 'node:os'
import { systemClock } from '@firebreak/shared/clock.ts'
import { classOf } from '@firebreak/shared/events/classes.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { RecordedEmit } from './collector.fake.ts'
import type { Collector } from './collector.ts'
import { createInventoryCollector } from './inventory.ts'
import { parseApkParagraph, parseDpkgParagraph } from './packages.ts'
import { BOOT_ID, FakeProcfs } from './procfs.fake.ts'

const running: Collector[] = []
afterEach(async () => {
  for (const collector of running.splice(0)) await collector.stop()
})

async function watch(
  roots: { procRoot: string; root: string },
  changes: { max_packages?: number; interval_h?: number } = {},
) {
  const collector = createInventoryCollector(
    { clock: systemClock, hostName: 'web-1', platform: 'linux', ...roots },
    { enabled: true, interval_h: 24, change_check_s: 0.05, max_packages: 100, ...changes },
  )
  running.push(collector)
  const emit = new RecordedEmit()
  await collector.start(emit)
  return { collector, emit }
}
const deb = (name: string, version: string) =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\nDescription: x\n y\n`
const actionOn =
  (action: string, name: string) =>
  (event: {
    event: { action: string }
    package?: { name: string } | undefined
    user?: { name?: string } | undefined
    group?: { name?: string } | undefined
  }) =>
    event.event.action === action && [event.package?.name, event.user?.name, event.group?.name].includes(name)

describe('of a recorded host', () => {
  it('tells everything once as state, then only what came, changed and went', async () => {
    using fake = new FakeProcfs()
    fake.write('etc/os-release', 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n')
    fake.write('etc/group', 'root:x:0:\nsudo:x:27:alice\n')
    fake.write(
      'var/lib/dpkg/status',
      [
        deb('openssl', '3.0.1'),
        deb('curl', '7.88'),
        'Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n',
      ].join('\n'),
    )
    const { emit } = await watch(fake)
    const host = await emit.find('the host', (event) => event.event.action === 'host-facts-present')
    expect(host.host).toMatchObject({
      name: 'web-1',
      boot: { id: BOOT_ID },
      os: { type: 'linux', name: 'Debian GNU/Linux', version: '12' },
    })
    expect(host.host?.uptime).toBeGreaterThan(0)
    await emit.find('the group', actionOn('group-present', 'sudo'))
    expect(emit.events.filter((event) => event.package).map((event) => event.package)).toEqual([
      { name: 'openssl', version: '3.0.1', type: 'deb', architecture: 'amd64' },
      { name: 'curl', version: '7.88', type: 'deb', architecture: 'amd64' },
    ])
    expect(emit.events.every((event) => event.event.kind === 'state')).toBe(true)
    const first = emit.events.length
    fake.write('var/lib/dpkg/status', [deb('openssl', '3.0.2'), deb('netcat', '1')].join('\n'))
    fake.write('etc/passwd', 'root:x:0:0:root:/root:/bin/bash\nevil:x:0:0::/tmp:/bin/sh\n')
    fake.write('etc/group', 'root:x:0:\nsudo:x:27:alice,evil\n')
    expect((await emit.find('the new version', actionOn('package-changed', 'openssl'))).package?.version).toBe('3.0.2')
    expect((await emit.find('the new package', actionOn('package-added', 'netcat'))).event.type).toEqual([
      'installation',
    ])
    expect((await emit.find('the package that went', actionOn('package-removed', 'curl'))).event.type).toEqual([
      'deletion',
    ])
    expect(await emit.find('the new account', actionOn('account-added', 'evil'))).toMatchObject({
      event: { category: ['iam'], type: ['user', 'creation'] },
      user: { id: '0' },
    })
    await emit.find('the account that went', actionOn('account-removed', 'alice'))
    expect((await emit.find('the group', actionOn('group-changed', 'sudo'))).message).toContain('evil')
    expect(emit.events.length - first).toBe(6)
    expect(emit.events.every((event) => classOf(event) === 'inventory')).toBe(true)
  })

  it('tells ports that open and close', async () => {
    using fake = new FakeProcfs()
    const line = (port: string) =>
      `   0: 00000000:${port} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9 1`
    fake.setTable('tcp', [line('0016')])
    const { emit } = await watch(fake)
    const port = (action: string, number: number) =>
      emit.find(`${action} ${number}`, (event) => event.event.action === action && event.source?.port === number)
    await port('listening-port-present', 22)
    fake.setTable('tcp', [line('115C')])
    await port('listening-port-added', 4444)
    await port('listening-port-removed', 22)
  })

  it('counts packages past the limit', async () => {
    using fake = new FakeProcfs()
    fake.write('var/lib/dpkg/status', Array.from({ length: 12 }, (_, n) => deb(`p${n}`, '1')).join('\n'))
    const { collector, emit } = await watch(fake, { max_packages: 10 })
    await emit.find('a package', (event) => event.package !== undefined)
    expect(collector.health().lost).toBe(2)
  })
})

it.skipIf(process.platform !== 'linux')('tells what this very host is', async () => {
  const { emit } = await watch({ procRoot: '/proc', root: '/' })
  await emit.find('root', actionOn('account-present', 'root'))
  expect(emit.events[0]?.host).toMatchObject({ hostname: os.hostname(), architecture: os.machine() })
})

it('reads paragraphs of dpkg and apk, and leaves out what is not installed', () => {
  expect(parseDpkgParagraph(deb('a', '1:2-3'))).toEqual({
    type: 'deb',
    name: 'a',
    version: '1:2-3',
    architecture: 'amd64',
  })
  expect(parseDpkgParagraph('Package: a\nStatus: deinstall ok config-files\nVersion: 1')).toBeUndefined()
  expect(parseDpkgParagraph('')).toBeUndefined()
  expect(parseApkParagraph('C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\nT:the musl')).toEqual({
    type: 'apk',
    name: 'musl',
    version: '1.2.4-r2',
    architecture: 'x86_64',
  })
})

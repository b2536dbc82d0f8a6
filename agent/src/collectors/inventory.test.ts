import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { type Clock, systemClock } from '@firebreak/shared/clock.ts'
import { classOf } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { INVENTORY_KINDS } from '@firebreak/shared/events/inventory.ts'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RecordedEmit, waitFor } from './collector.fake.ts'
import type { Collector } from './collector.ts'
import { createInventoryCollector } from './inventory.ts'
import { BOOT_ID, FakeProcfs } from './procfs.fake.ts'

vi.setConfig({ testTimeout: 60_000 })
const running: Collector[] = []
let host: FakeProcfs
beforeEach(() => {
  host = new FakeProcfs()
})
afterEach(async () => {
  for (const collector of running.splice(0)) await collector.stop()
  host[Symbol.dispose]()
})

interface Options {
  readonly changeCheckS?: number
  readonly fastCheckS?: number
  readonly maxPackages?: number
  readonly clock?: Clock
  readonly roots?: { readonly root: string; readonly procRoot: string }
  /** In place of one that looks at every event. */
  readonly onEvent?: (event: Event) => void
}

/** Resolves when the first telling, or the first look, is over. */
async function watch(options: Options = {}): Promise<{ collector: Collector; emit: RecordedEmit }> {
  const { changeCheckS = 3_600, fastCheckS = 0.1, maxPackages = 100, clock = systemClock, roots = host } = options
  const collector = createInventoryCollector(
    {
      clock,
      hostName: 'web-1',
      platform: 'linux',
      procRoot: roots.procRoot,
      root: roots.root,
      stateFolder: host.folder,
    },
    {
      enabled: true,
      interval_h: 24,
      change_check_s: changeCheckS,
      fast_check_s: fastCheckS,
      max_packages: maxPackages,
      npm_sites: ['/usr/lib/node_modules'],
      python_sites: ['/usr/lib/python3/dist-packages'],
    },
  )
  running.push(collector)
  const emit = new RecordedEmit()
  const { onEvent } = options
  await collector.start(onEvent ? { event: onEvent, lost: () => undefined } : emit)
  return { collector, emit }
}

async function toldWhole(emit: RecordedEmit, times = 1): Promise<void> {
  await waitFor(
    'everything to be told',
    () => completes(emit).length >= times * INVENTORY_KINDS.length || undefined,
    30_000,
  )
}

const completes = (emit: RecordedEmit) => emit.events.filter((event) => part(event)?.change === 'complete')
const part = (event: Event) => event.firebreak?.inventory
const differences = (emit: RecordedEmit) =>
  emit.events.filter((event) => ['added', 'changed', 'removed'].includes(part(event)?.change ?? ''))
const action = (name: string) => (event: Event) => event.event.action === name

const deb = (name: string, version: string) =>
  `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\nDescription: x\n y\n`
const listening = (port: string) =>
  `   0: 00000000:${port} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 ${Number.parseInt(port, 16)} 9 1`
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0Zm9ydGVzdHNvbmx5bm9ib2R5aGFzdGhla2V5ISEh eve@laptop'

describe('of a host', () => {
  beforeEach(() => {
    host.write('etc/os-release', 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\n')
    host.write('etc/group', 'root:x:0:\nsudo:x:27:alice\n')
    host.write('etc/sudoers', 'root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n')
    host.write('etc/crontab', '17 * * * * root cd / && run-parts --report /etc/cron.hourly\n')
    host.write(
      'usr/lib/systemd/system/ssh.service',
      '[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\n',
    )
    host.write('var/lib/dpkg/status', [deb('openssl', '3.0.1'), deb('curl', '7.88')].join('\n'))
    host.setTable('tcp', [listening('0016')])
    writeFileSync(join(host.procRoot, 'modules'), 'ext4 1019904 1 - Live 0x0000000000000000\n')
    mkdirSync(join(host.procRoot, '1'))
    writeFileSync(join(host.procRoot, '1/mountinfo'), '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n')
    for (const folder of ['etc/sudoers.d', 'etc/systemd/system', 'root/.ssh', 'etc/cron.d'])
      mkdirSync(join(host.root, folder), { recursive: true })
  })

  it('is told whole at first, each kind with an end that counts it', async () => {
    const { emit, collector } = await watch()
    await toldWhole(emit)
    expect(emit.events.every((event) => event.event.kind === 'state' && classOf(event) === 'inventory')).toBe(true)
    expect(differences(emit)).toEqual([])
    for (const end of completes(emit)) {
      const { kind, items, snapshot } = part(end) ?? {}
      const told = emit.events.filter((event) => part(event)?.kind === kind && part(event)?.change === 'present')
      expect(told.length).toBe(items)
      expect(told.every((event) => part(event)?.snapshot === snapshot)).toBe(true)
    }
    const facts = await emit.find('the host', action('host-facts-present'))
    expect(facts.host).toMatchObject({
      name: 'web-1',
      boot: { id: BOOT_ID },
      os: { name: 'Debian GNU/Linux', version: '12' },
    })
    expect(emit.events.filter((event) => event.package).map((event) => event.package)).toEqual([
      { name: 'openssl', version: '3.0.1', type: 'deb', architecture: 'amd64' },
      { name: 'curl', version: '7.88', type: 'deb', architecture: 'amd64' },
    ])
    expect(collector.health()).toMatchObject({ state: 'running', lost: 0 })
  })

  it('tells what came, changed and went within seconds, with what it was before', async () => {
    const { emit } = await watch()
    await toldWhole(emit)
    host.write('var/lib/dpkg/status', [deb('openssl', '3.0.2'), deb('netcat', '1')].join('\n'))
    host.write('etc/passwd', 'root:x:0:0:root:/root:/bin/bash\nevil:x:0:0::/tmp:/bin/sh\n')
    host.write('etc/group', 'root:x:0:\nsudo:x:27:alice,evil\n')
    host.write('etc/sudoers.d/evil', 'evil ALL=(ALL) NOPASSWD: ALL\n')
    host.write('root/.ssh/authorized_keys', `no-pty ${KEY}\n`)
    host.write('etc/cron.d/evil', '* * * * * root /tmp/.x\n')
    symlinkSync('/usr/lib/systemd/system/ssh.service', join(host.root, 'etc/systemd/system/sshd.service'))
    mkdirSync(join(host.root, 'etc/systemd/system/multi-user.target.wants'))
    symlinkSync(
      '/usr/lib/systemd/system/ssh.service',
      join(host.root, 'etc/systemd/system/multi-user.target.wants/ssh.service'),
    )
    host.setTable('tcp', [listening('115C')])
    writeFileSync(join(host.procRoot, 'modules'), 'ext4 1019904 1 - Live 0x0\nrootkit 12288 0 - Live 0x0 (OE)\n')
    writeFileSync(
      join(host.procRoot, '1/mountinfo'),
      '22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n99 22 0:9 / /mnt/a\\040b rw - tmpfs tmpfs rw\n',
    )
    await waitFor('all of it', () => differences(emit).length >= 14 || undefined, 8_000).catch(() => undefined)
    const told = differences(emit).map((event) => `${event.event.action}: ${event.message}`)
    expect(told.toSorted()).toEqual(
      [
        'cron-job-added: * * * * * root: /tmp/.x',
        'group-changed: sudo (27): alice, evil; before: members alice; members_count 1',
        'listening-port-closed: tcp 0.0.0.0:22',
        'listening-port-opened: tcp 0.0.0.0:4444',
        'module-loaded: rootkit (OE)',
        'mount-added: /mnt/a b tmpfs from tmpfs',
        'package-installed: netcat 1',
        'package-removed: curl 7.88',
        'package-updated: openssl 3.0.2; before: version 3.0.1',
        'ssh-key-added: root: ssh-ed25519 SHA256:ZKHDepbjHBkVKo2yBi7UZiP5SGit0SJCQuOZlG6PqIw eve@laptop',
        'sudoers-changed: evil ALL=(ALL) NOPASSWD: ALL',
        'unit-enabled: ssh.service enabled; before: enabled disabled',
        'user-created: evil (0)',
        'user-deleted: alice (1000)',
      ].toSorted(),
    )
    const updated = emit.events.find(action('package-updated'))
    expect(updated).toMatchObject({
      event: { category: ['package'], type: ['change'] },
      package: { name: 'openssl', version: '3.0.2' },
      firebreak: { inventory: { change: 'changed', before: { version: '3.0.1' } } },
    })
    expect(emit.events.find(action('user-created'))).toMatchObject({
      event: { type: ['user', 'creation'] },
      user: { id: '0' },
    })
    expect(emit.events.find(action('package-installed'))?.event.type).toEqual(['installation'])
  })

  it('tells after a restart what changed meanwhile, and nothing twice', async () => {
    const first = await watch()
    await toldWhole(first.emit)
    await first.collector.stop()
    host.write('var/lib/dpkg/status', [deb('openssl', '3.0.1'), deb('curl', '8.0')].join('\n'))
    const second = await watch()
    await second.emit.find('the new version', action('package-updated'))
    await second.collector.stop()
    expect(second.emit.events).toHaveLength(1)
    const third = await watch()
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(third.emit.events).toEqual([])
  })

  it('tells everything again when what was kept on disk is damaged, and says so', async () => {
    const first = await watch()
    await toldWhole(first.emit)
    await first.collector.stop()
    truncateSync(join(host.folder, 'inventory.json.zst'), 40)
    const second = await watch({ fastCheckS: 3_600 })
    await toldWhole(second.emit)
    expect(second.emit.events.length).toBe(first.emit.events.length)
  })

  it('tells everything again after a day, also when the clock was set back', async () => {
    let offsetMs = 0
    const clock: Clock = {
      now: () => systemClock.now() + offsetMs,
      monotonic: () => systemClock.monotonic(),
      sleep: (ms, signal) => systemClock.sleep(ms, signal),
    }
    const { emit } = await watch({ clock })
    await toldWhole(emit)
    offsetMs = 25 * 3_600_000
    await toldWhole(emit, 2)
    offsetMs = -100 * 3_600_000
    await toldWhole(emit, 3)
    expect(differences(emit)).toEqual([])
    expect(new Set(completes(emit).map((event) => part(event)?.snapshot)).size).toBe(3)
  })

  it.each([
    ['1 GB of it', (path: string) => truncateSync(path, 1_000_000_000), /larger than/],
    ['a FIFO in its place', (path: string) => (rmSync(path), execFileSync('mkfifo', [path])), /no regular file/],
    ['a device in its place', (path: string) => (rmSync(path), symlinkSync('/dev/zero', path)), /no regular file/],
    ['a loop of links', (path: string) => (rmSync(path), symlinkSync(path, path)), /ELOOP/],
    ['lines that are none', (path: string) => writeFileSync(path, 'nonsense\nroot ALL=(ALL:ALL) ALL\n'), /1 lines of/],
  ])('says so and takes nothing for gone when sudoers cannot be read: %s', async (_what, spoil, why) => {
    const { emit, collector } = await watch({ changeCheckS: 0.1 })
    await toldWhole(emit)
    spoil(join(host.root, 'etc/sudoers'))
    await waitFor('the trouble', () => why.test(collector.health().why ?? '') || undefined)
    expect(collector.health().state).toBe('degraded')
    expect(differences(emit)).toEqual([])
    host.write('etc/sudoers', 'root ALL=(ALL:ALL) ALL\n')
    expect((await emit.find('the rule that went', action('sudoers-changed'))).event.type).toEqual(['deletion'])
    expect(differences(emit)).toHaveLength(1)
    expect(collector.health().state).toBe('running')
  })

  it('counts packages past the limit, once', async () => {
    host.write('var/lib/dpkg/status', Array.from({ length: 12 }, (_, n) => deb(`p${n}`, '1')).join('\n'))
    const { collector, emit } = await watch({ maxPackages: 10 })
    await toldWhole(emit)
    expect(collector.health().lost).toBe(2)
    expect(completes(emit).find((event) => part(event)?.kind === 'packages')).toMatchObject({
      event: { reason: expect.stringContaining('2 more than the limit of 10') },
      firebreak: { inventory: { items: 10, is_whole: false } },
    })
  })

  it('takes 100,000 packages without holding up the agent', async () => {
    host.write('var/lib/dpkg/status', Array.from({ length: 100_000 }, (_, n) => deb(`package-${n}`, '1.0')).join('\n'))
    // Processor time between two turns of the event loop: what others take of a busy machine does not count.
    let longestMs = 0
    let last = process.threadCpuUsage()
    const beat = setInterval(() => {
      const { user, system } = process.threadCpuUsage(last)
      longestMs = Math.max(longestMs, (user + system) / 1_000)
      last = process.threadCpuUsage()
    }, 5)
    let told: number | undefined
    const onEvent = (event: Event) => {
      const { kind, change, items } = part(event) ?? {}
      if (kind === 'packages' && change === 'complete') told = items
    }
    await watch({ maxPackages: 200_000, fastCheckS: 3_600, onEvent })
    expect(await waitFor('all of it', () => told, 50_000)).toBe(100_000)
    clearInterval(beat)
    expect(longestMs).toBeLessThan(1_000)
  })
})

it.skipIf(process.platform !== 'linux')('tells what this very host is, as its own tools do', async () => {
  const { emit } = await watch({ roots: { root: '/', procRoot: '/proc' }, fastCheckS: 3_600, maxPackages: 20_000 })
  await toldWhole(emit)
  expect(emit.events[0]?.host).toMatchObject({ hostname: os.hostname(), architecture: os.machine() })
  expect(emit.events.find((event) => event.user?.name === 'root' && part(event)?.kind === 'users')).toBeDefined()
  const shown = execFileSync(
    'dpkg-query',
    ['-W', '-f', '${db:Status-Status}|${Package}|${Version}|${Architecture}\\n'],
    {
      encoding: 'utf8',
    },
  )
  const installed = shown
    .split('\n')
    .filter((line) => line.startsWith('installed|'))
    .map((line) => line.slice(10))
  const told = emit.events
    .filter((event) => event.package?.type === 'deb')
    .map((event) => `${event.package?.name}|${event.package?.version}|${event.package?.architecture}`)
  expect(told.toSorted()).toEqual(installed.toSorted())
})

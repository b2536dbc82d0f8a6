import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLab, labSupport, skipWithout } from '../lab/lab.ts'
import type { Lab, LabHost, LabNode } from '../lab/lab.ts'
import { run } from '../lab/program.ts'

const support = await labSupport()

describe.skipIf(skipWithout(support, 11, 'the lab'))('a lab of real hosts', () => {
  let lab: Lab
  let web1: LabHost
  let web2: LabHost
  let attacker: LabNode

  beforeAll(async () => {
    lab = await createLab({ name: 'selftest' })
    attacker = await lab.node('attacker', { programs: 'debian' })
    ;[web1, web2] = await Promise.all([lab.host('web-1'), lab.host('web-2')])
  }, 15 * 60_000)

  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]()
  })

  it('boots Debian 12 with systemd, and no unit has failed', async () => {
    expect(await web1.readFile('/etc/os-release')).toContain('VERSION_ID="12"')
    expect((await web1.exec(['systemctl', 'list-units', '--state=failed', '--no-legend', '--plain'])).stdout).toBe('')
    expect((await web1.exec(['hostname'])).stdout).toBe('web-1\n')
    expect(await web1.bootId()).not.toBe(await web2.bootId())
  })

  it('lets hosts and nodes reach each other by name, IPv4 and IPv6, and a capture outside of the host sees it', async () => {
    await using capture = await lab.capture({ on: web2, filter: 'icmp or icmp6' })
    for (const target of [web2.address4, web2.address6, 'web-2'])
      await web1.exec(['ping', '-c', '1', '-W', '5', target])
    for (const target of [web2.address4, web2.address6]) await attacker.exec(['ping', '-c', '1', '-W', '5', target])
    const packets = await capture.stop()
    const requests = packets.filter(({ icmpType }) => icmpType === 8 || icmpType === 128)
    expect(requests.filter(({ source }) => source === web1.address4 || source === web1.address6)).toHaveLength(3)
    expect(requests.filter(({ source }) => source === attacker.address4 || source === attacker.address6)).toHaveLength(
      2,
    )
    expect(requests.every(({ destinationMac }) => destinationMac === web2.mac)).toBe(true)
    expect(
      packets.filter(({ icmpType, sourceMac }) => (icmpType === 0 || icmpType === 129) && sourceMac === web2.mac),
    ).toHaveLength(5)
  })

  it('runs programs in a host with input, exit code and both outputs, and ends them at the timeout', async () => {
    expect(await web1.exec(['sh', '-c', 'cat; echo bad >&2; exit 3'], { input: 'in', check: false })).toEqual({
      code: 3,
      stdout: 'in',
      stderr: 'bad\n',
    })
    await expect(web1.exec(['false'])).rejects.toMatchObject({ code: 'lab_command_failed' })
    await expect(web1.exec(['no-such-program'], { check: false })).resolves.toMatchObject({ code: 127 })
    await expect(
      web1.exec(['sh', '-c', 'sleep 987 & setsid sleep 986; wait'], { timeoutMs: 500 }),
    ).rejects.toMatchObject({ code: 'lab_timed_out' })
    expect((await web1.exec(['pgrep', '-fx', 'sleep 987'], { check: false })).stdout).toBe('')

    await using sleeper = web1.spawn(['sleep', '985'])
    const pid = await sleeper.pidInside()
    expect(await web1.readFile(`/proc/${pid}/cmdline`)).toBe(['sleep', '985', ''].join('\0'))
    await web1.exec(['kill', String(pid)])
    expect((await sleeper.exited).code).toBe(143)
  })

  it('never follows a link of a host out of the host', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'fblab-outside-'))
    await web1.exec(['ln', '-s', join(outside, 'file'), '/root/link'])
    await web1.exec(['mkdir', '-p', outside])
    await web1.writeFile('/root/link', 'inside')
    expect(existsSync(join(outside, 'file'))).toBe(false)
    expect(await web1.readFile(join(outside, 'file'))).toBe('inside')
    await rm(outside, { recursive: true })
  })

  it('installs a package whose service starts and is written down in the journal', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fblab-deb-'))
    const files = {
      'DEBIAN/control':
        'Package: lab-probe\nVersion: 1\nArchitecture: all\nMaintainer: Lab <lab@example.invalid>\nDescription: probe\n',
      'DEBIAN/postinst': '#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl enable --now lab-probe.service\n',
      'lib/systemd/system/lab-probe.service':
        '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/echo probe speaks\n[Install]\nWantedBy=multi-user.target\n',
    }
    for (const [name, content] of Object.entries(files)) {
      await mkdir(join(directory, 'tree', name, '..'), { recursive: true })
      await writeFile(join(directory, 'tree', name), content, { mode: name.endsWith('postinst') ? 0o755 : 0o644 })
    }
    const deb = join(directory, 'lab-probe.deb')
    await run(
      { argv: ['dpkg-deb', '--root-owner-group', '--build', join(directory, 'tree'), deb], wrapped: false },
      'dpkg-deb',
    )
    await web2.installPackage(deb)
    await rm(directory, { recursive: true })
    expect((await web2.exec(['systemctl', 'is-active', 'lab-probe'])).stdout).toBe('active\n')
    expect(await web2.journal('lab-probe')).toContain('probe speaks')
  })

  it('stops all traffic of a host whose cable is pulled, visibly to the host, until it is plugged again', async () => {
    await web2.pullCable()
    expect((await web2.exec(['ip', 'link', 'show', 'eth0'])).stdout).toContain('NO-CARRIER')
    expect((await web1.exec(['ping', '-c', '1', '-W', '1', web2.address4], { check: false })).code).not.toBe(0)
    expect((await web2.exec(['ping', '-c', '1', '-W', '1', web1.address6], { check: false })).code).not.toBe(0)
    await web2.plugCable()
    await web1.exec(['ping', '-c', '1', '-W', '5', web2.address4])
    await web2.exec(['ping', '-c', '1', '-W', '5', web1.address6])
  })

  it('reboots as a machine does: new boot id, no firewall rules, the same files, and a capture that stays', async () => {
    await using capture = await lab.capture({ on: web1 })
    await web1.writeFile('/var/lib/kept', 'kept')
    await web1.exec(['nft', 'add', 'table', 'inet', 'old'])
    await web1.exec(['ip', 'route', 'add', '192.0.2.0/24', 'via', web2.address4])
    const before = await web1.bootId()
    await web1.reboot()
    expect(await web1.bootId()).not.toBe(before)
    expect(await web1.readFile('/var/lib/kept')).toBe('kept')
    expect((await web1.exec(['nft', 'list', 'ruleset'])).stdout).toBe('')
    expect((await web1.exec(['ip', 'route', 'show', '192.0.2.0/24'])).stdout).toBe('')
    await web1.exec(['ping', '-c', '1', '-W', '5', web2.address4])
    await capture.waitFor(({ icmpType, source }) => icmpType === 8 && source === web1.address4)
    expect((await capture.stop()).every(({ sourceMac, destinationMac }) => sourceMac !== destinationMac)).toBe(true)
  })

  it('starts again by itself when a host reboots by itself, and stays off after a power-off', async () => {
    const since = web2.boots
    await web2.exec(['systemd-run', '--on-active=1', '--timer-property=AccuracySec=100ms', 'systemctl', 'reboot'])
    await web2.waitForReboot(since)
    expect(await web2.journal('lab-probe')).toMatch(/probe speaks[^]*probe speaks/)
    await web2.powerOff()
    expect(web2.running).toBe(false)
    await expect(web2.exec(['true'])).rejects.toMatchObject({ code: 'lab_not_running' })
    await web2.boot()
    expect(web2.running).toBe(true)
  })

  it('cuts the power without a farewell on the wire', async () => {
    await using server = attacker.spawn(['nc', '-l', '-p', '4444'], { keepInputOpen: true })
    await using capture = await lab.capture({ on: web2, filter: 'tcp port 4444' })
    await using client = web2.spawn(['sh', '-c', 'for i in 1 2 3 4 5; do nc attacker 4444 && break; sleep 0.2; done'], {
      keepInputOpen: true,
    })
    client.write('hello\n')
    await server.waitForOutput(/hello/)
    await web2.kill()
    expect(web2.running).toBe(false)
    const packets = await capture.stop()
    expect(packets.some(({ payloadLength }) => (payloadLength ?? 0) > 0)).toBe(true)
    expect(packets.filter(({ flags, sourceMac }) => sourceMac === web2.mac && /[FR]/.test(flags ?? ''))).toEqual([])
    await web2.boot()
  })

  it('shows everything that leaves a host from before it boots, and that rules set before the network hold it back', async () => {
    await attacker.exec(['ip', 'address', 'add', '203.0.113.5/32', 'dev', 'lo'])
    const chatter =
      '[Unit]\nAfter=network.target\n[Service]\nExecStart=/bin/ping -i 0.2 203.0.113.5\n[Install]\nWantedBy=multi-user.target\n'
    const wall =
      '[Unit]\nDefaultDependencies=no\nAfter=local-fs.target\nBefore=network-pre.target\nWants=network-pre.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/sbin/nft "add table inet wall; add chain inet wall out { type filter hook output priority 0; policy drop; }"\n'
    const host = await lab.host('chatty', {
      gateway: attacker,
      boot: false,
      files: { '/etc/systemd/system/chatter.service': chatter, '/etc/systemd/system/wall.service': wall },
    })

    await using open = await lab.capture({ on: host, filter: 'ip or ip6' })
    await host.boot()
    await host.exec(['systemctl', 'enable', '--now', 'chatter.service'])
    await open.waitFor(({ icmpType, destination }) => icmpType === 8 && destination === '203.0.113.5')
    await open.waitFor(({ icmpType, source }) => icmpType === 0 && source === '203.0.113.5')
    await host.exec([
      'ln',
      '-s',
      '/etc/systemd/system/wall.service',
      '/etc/systemd/system/sysinit.target.wants/wall.service',
    ])
    await host.powerOff()
    await open.stop()

    await using walled = await lab.capture({ on: host, filter: `ether src ${host.mac} and (ip or ip6)` })
    await host.boot()
    expect((await host.exec(['systemctl', 'is-active', 'wall', 'chatter'])).stdout).toBe('active\nactive\n')
    expect(await walled.stop()).toEqual([])
  })

  it('keeps labs apart, though their members have the same names and addresses', async () => {
    await using other = await createLab({ name: 'other' })
    const twin = await other.node('attacker', { programs: 'debian' })
    await other.node('neighbour')
    expect(twin.address4).toBe(attacker.address4)
    expect((await twin.exec(['ping', '-c', '1', '-W', '1', web2.address4], { check: false })).code).not.toBe(0)
    await twin.exec(['ping', '-c', '1', '-W', '5', 'neighbour'])
    await expect(lab.node('web-1')).rejects.toMatchObject({ code: 'lab_bad_name' })
    await expect(lab.node('../up')).rejects.toMatchObject({ code: 'lab_bad_name' })
  })
})

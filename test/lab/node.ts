import { join } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'
import { Cable, INTERFACE } from './cable.ts'
import type { Station } from './cable.ts'
import { NetworkNamespace } from './network-namespace.ts'
import { identify } from './process-table.ts'
import { run, start } from './program.ts'
import type { Entry, ExecOptions, Finished, Running, SpawnOptions } from './program.ts'
import type { Territory } from './territory.ts'

/** A place on the lab's network in which programs of this machine run: same files, own network, own process numbers, and they end with the lab. */
export interface LabNode extends Station {
  readonly kind: 'node'
  exec(argv: readonly string[], options?: ExecOptions): Promise<Finished>
  spawn(argv: readonly string[], options?: SpawnOptions): Running
  pullCable(): Promise<void>
  plugCable(): Promise<void>
}

// /sys shows the network namespace it was mounted in; cgroups are put back where programs look for them.
const HOLDER = `
set -e
mount --rbind /sys/fs/cgroup "$1/ns/cgroup"
mount -t sysfs -o ro sysfs /sys
mount --rbind "$1/ns/cgroup" /sys/fs/cgroup
mount --bind "$1/hosts.txt" /etc/hosts
hostname "$2"
ip link set lo up
echo held
exec 1>&-
exec sleep infinity
`

export async function openNode(territory: Territory, station: Station): Promise<LabNode> {
  const cable = new Cable(territory, station)
  await cable.lay()
  const namespace = await NetworkNamespace.create(territory, station.name)
  await cable.connect(namespace.path)
  await territory.exec(['mkdir', '-p', join(territory.directory, 'ns', 'cgroup')])
  const holder = start(
    territory.entry([
      'nsenter',
      `--net=${namespace.path}`,
      'unshare',
      '--mount',
      '--uts',
      'sh',
      '-c',
      HOLDER,
      'fblab-node',
      territory.directory,
      station.name,
    ]),
  )
  await holder.waitForOutput(/^held$/m)
  const leader = holder.pidOutside()
  if (leader === undefined)
    throw new Fault('lab_boot_failed', `${station.name}: its namespaces could not be made: ${holder.stderr}`)
  const node = new NetworkNode(station, cable, leader)
  // No duplicate address detection: the lab gives each address once, and a test shall not wait a second for it.
  await node.exec(['sh', '-c', `echo 0 > /proc/sys/net/ipv6/conf/${INTERFACE}/accept_dad`])
  const commands = [
    `addr add ${station.address4}/24 dev ${INTERFACE}`,
    `addr add ${station.address6}/64 dev ${INTERFACE} nodad`,
    `link set ${INTERFACE} up`,
  ]
  await node.exec(['ip', '-batch', '-'], { input: `${commands.join('\n')}\n` })
  const identity = identify(leader)
  await territory.record({
    kind: 'node',
    name: station.name,
    address4: station.address4,
    address6: station.address6,
    port: station.port,
    ...(identity === undefined ? {} : { leader: identity }),
  })
  return node
}

/** How to enter a node by hand or by program: its network, mounts and name, and the lab's process numbers. */
export function nodeEntry(
  leader: number,
  argv: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> },
): Entry {
  const env = Object.entries({
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    ...options.env,
  })
  const inside = [
    'env',
    '-i',
    '-C',
    options.cwd ?? process.cwd(),
    ...env.map(([name, value]) => `${name}=${value}`),
    ...argv,
  ]
  return { argv: ['nsenter', '-t', String(leader), '-p', '-m', '-n', '-u', '--', ...inside], wrapped: true }
}

class NetworkNode implements LabNode {
  readonly kind = 'node'
  readonly name: string
  readonly index: number
  readonly address4: string
  readonly address6: string
  readonly mac: string
  readonly port: string
  readonly #cable: Cable
  readonly #leader: number

  constructor(station: Station, cable: Cable, leader: number) {
    this.name = station.name
    this.index = station.index
    this.address4 = station.address4
    this.address6 = station.address6
    this.mac = station.mac
    this.port = station.port
    this.#cable = cable
    this.#leader = leader
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    return await run(nodeEntry(this.#leader, argv, options), `${this.name}: ${argv.join(' ')}`, options)
  }

  spawn(argv: readonly string[], options: SpawnOptions = {}): Running {
    return start(nodeEntry(this.#leader, argv, options), options)
  }

  async pullCable(): Promise<void> {
    await this.#cable.pull()
  }

  async plugCable(): Promise<void> {
    await this.#cable.plug()
  }
}

import { join } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'
import { Cable, INTERFACE } from './cable.ts'
import type { Station } from './cable.ts'
import { NetworkNamespace } from './network-namespace.ts'
import { identify, isAlive } from './process-table.ts'
import type { ProcessIdentity } from './process-table.ts'
import { run, start } from './program.ts'
import type { Entry, ExecOptions, Finished, Running, SpawnOptions } from './program.ts'
import type { Territory } from './territory.ts'

/** Which programs a node runs. `machine`: those of this machine, with its files, for the controller from the working tree. `debian`: those
 * of the root image that the hosts have (ping, nc, curl, ssh, python3), read-only, the same on every machine: for attackers and neighbours. */
export type NodePrograms = 'machine' | 'debian'

export interface NodeOptions {
  /** Default `machine`. */
  readonly programs?: NodePrograms
}

/** A light place on the lab's network: own interface, own process numbers, no system of its own. Its programs end with the lab. */
export interface LabNode extends Station {
  readonly kind: 'node'
  exec(argv: readonly string[], options?: ExecOptions): Promise<Finished>
  spawn(argv: readonly string[], options?: SpawnOptions): Running
  pullCable(): Promise<void>
  plugCable(): Promise<void>
}

// /sys shows the network namespace it was mounted in; cgroups are put back where programs look for them. No duplicate address detection:
// the lab gives each address once, and a test shall not wait a second for it.
const HOLDER = `
set -e
lab=$1 name=$2 address4=$3 address6=$4 image=$5 root=/
mount --rbind /sys/fs/cgroup "$lab/ns/cgroup"
mount -t sysfs -o ro sysfs /sys
mount --rbind "$lab/ns/cgroup" /sys/fs/cgroup
if [ -n "$image" ]; then
  root=$lab/ns/cgroup
  mount --bind "$image" "$root"
  mount -o remount,bind,ro "$root"
  for shared in proc sys dev; do mount --rbind "/$shared" "$root/$shared"; done
  for own in tmp run root; do mount -t tmpfs fblab "$root/$own"; done
fi
mount --bind "$lab/hosts.txt" "$root/etc/hosts"
hostname "$name"
echo 0 > /proc/sys/net/ipv6/conf/${INTERFACE}/accept_dad
ip link set lo up
ip address add "$address4/24" dev ${INTERFACE}
ip address add "$address6/64" dev ${INTERFACE} nodad
ip link set ${INTERFACE} up
exec chroot "$root" sh -c 'echo held; exec 1>&-; exec sleep infinity'
`

/** `image`: the root image whose programs it runs, or nothing for those of this machine. */
export async function openNode(territory: Territory, station: Station, image: string | undefined): Promise<LabNode> {
  const { name, address4, address6, port } = station
  const cable = new Cable(territory, station)
  await cable.lay()
  const namespace = await NetworkNamespace.create(territory, name)
  await cable.connect(namespace.path)
  await territory.exec(['mkdir', '-p', join(territory.directory, 'ns', 'cgroup')])
  const script = ['sh', '-c', HOLDER, 'fblab-node', territory.directory, name, address4, address6, image ?? '']
  const holder = start(
    territory.entry(['nsenter', `--net=${namespace.path}`, 'unshare', '--mount', '--uts', ...script]),
  )
  await holder.waitForOutput(/^held$/m)
  const leader = holder.pidOutside()
  if (leader === undefined)
    throw new Fault('lab_boot_failed', `${name}: its namespaces could not be made: ${holder.stderr}`)
  const identity = identify(leader)
  if (identity === undefined) throw new Fault('lab_boot_failed', `${name} ended at once: ${holder.stderr}`)
  const node = new NetworkNode(station, cable, identity, image === undefined ? process.cwd() : '/root')
  await territory.record({
    kind: 'node',
    name,
    address4,
    address6,
    port,
    leader: identity,
  })
  return node
}

/** How to enter a node by hand or by program: its network, mounts and name, and the lab's process numbers. */
export function nodeEntry(
  leader: number,
  argv: readonly string[],
  options: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Entry {
  const env = Object.entries({
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    LANG: 'C.UTF-8',
    ...options.env,
  })
  const inside = ['env', '-i', '-C', options.cwd, ...env.map(([name, value]) => `${name}=${value}`), ...argv]
  return { argv: ['nsenter', '-t', String(leader), '-p', '-m', '-n', '-u', '-r', '--', ...inside], wrapped: true }
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
  readonly #leader: ProcessIdentity
  readonly #directory: string

  constructor(station: Station, cable: Cable, leader: ProcessIdentity, directory: string) {
    this.name = station.name
    this.index = station.index
    this.address4 = station.address4
    this.address6 = station.address6
    this.mac = station.mac
    this.port = station.port
    this.#cable = cable
    this.#leader = leader
    this.#directory = directory
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    return await run(
      nodeEntry(this.#mustRun(), argv, { cwd: this.#directory, ...options }),
      `${this.name}: ${argv.join(' ')}`,
      options,
    )
  }

  spawn(argv: readonly string[], options: SpawnOptions = {}): Running {
    return start(nodeEntry(this.#mustRun(), argv, { cwd: this.#directory, ...options }), options)
  }

  #mustRun(): number {
    if (!isAlive(this.#leader)) throw new Fault('lab_not_running', `${this.name} is gone with its lab`)
    return this.#leader.pid
  }

  async pullCable(): Promise<void> {
    await this.#cable.pull()
  }

  async plugCable(): Promise<void> {
    await this.#cable.plug()
  }
}

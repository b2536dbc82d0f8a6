import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'
import { stationOf } from './cable.ts'
import type { Station } from './cable.ts'
import { openCapture } from './capture.ts'
import type { Capture } from './capture.ts'
import { rackHost } from './host.ts'
import type { LabHost } from './host.ts'
import type { HostOptions } from './host-options.ts'
import type { Machine } from './machine.ts'
import { openNode } from './node.ts'
import type { LabNode, NodeOptions } from './node.ts'
import { labPlaces } from './places.ts'
import type { Places } from './places.ts'
import { sweep } from './remains.ts'
import { ensureRootImage } from './root-image.ts'
import { claimTerritory } from './territory.ts'
import type { Territory } from './territory.ts'

export type { Capture } from './capture.ts'
export type { LabHost } from './host.ts'
export type { HostOptions } from './host-options.ts'
export type { LabNode, NodeOptions } from './node.ts'
export type { Packet } from './packet.ts'
export type { Running } from './program.ts'
export { labSupport, skipWithout } from './support.ts'

export interface CaptureOptions {
  /** A member's port, or the switch itself, where everything between the members passes once. */
  readonly on: LabHost | LabNode | 'bridge'
  /** pcap-filter(7), such as `not arp`; default everything. */
  readonly filter?: string
}

/** A network of its own with real Debian hosts and light nodes on one switch; nothing of it is visible to the machine's own network.
 * Dispose it: everything is gone then. It is gone too when this process is killed. */
export interface Lab extends AsyncDisposable {
  readonly id: string
  readonly directory: string
  /** Makes a Debian host and boots it to multi-user. */
  host(name: string, options?: HostOptions): Promise<LabHost>
  /** Makes a light place on the network in which programs run without a system of their own (controller, attacker, neighbour). */
  node(name: string, options?: NodeOptions): Promise<LabNode>
  capture(options: CaptureOptions): Promise<Capture>
}

export interface LabOptions {
  /** Part of the lab's id, for people who list labs. */
  readonly name?: string
  /** Where images and labs are kept; default `labPlaces()`. */
  readonly places?: Places
  /** Marks a lab that `pnpm lab down` may end. */
  readonly interactive?: boolean
}

/** Faults of the lab carry a code that starts with `lab_`; ask `labSupport()` first whether labs run here. */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  const places = options.places ?? labPlaces()
  await sweep(places)
  const territory = await claimTerritory(places, options.name, options.interactive === true)
  try {
    await writeFile(hostsFile(territory), '127.0.0.1 localhost\n::1 localhost ip6-localhost\n', { mode: 0o644 })
  } catch (cause) {
    await territory[Symbol.asyncDispose]()
    throw cause
  }
  return new SwitchedLab(territory, places)
}

/** Names of all members, shown as /etc/hosts in each of them. */
function hostsFile(territory: Territory): string {
  return join(territory.directory, 'hosts.txt')
}

class SwitchedLab implements Lab {
  readonly id: string
  readonly directory: string
  readonly #territory: Territory
  readonly #places: Places
  readonly #names = new Set<string>()
  readonly #machines: Machine[] = []
  readonly #captures: Capture[] = []
  #captureCount = 0

  constructor(territory: Territory, places: Places) {
    this.id = territory.id
    this.directory = territory.directory
    this.#territory = territory
    this.#places = places
  }

  async host(name: string, options: HostOptions = {}): Promise<LabHost> {
    const station = this.#allot(name)
    const image = await this.#image()
    await this.#announce(station)
    return await rackHost(this.#territory, station, image, options, (machine) => this.#machines.push(machine))
  }

  async node(name: string, options: NodeOptions = {}): Promise<LabNode> {
    const station = this.#allot(name)
    const image = options.programs === 'debian' ? await this.#image() : undefined
    await this.#announce(station)
    return await openNode(this.#territory, station, image)
  }

  async capture({ on, filter = '' }: CaptureOptions): Promise<Capture> {
    const port = on === 'bridge' ? 'br0' : on.port
    const capture = await openCapture(
      this.#territory,
      port,
      filter,
      join(this.directory, 'captures', `${this.#captureCount++}-${port}.pcap`),
    )
    this.#captures.push(capture)
    return capture
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const machine of this.#machines) machine.abandon()
    for (const capture of this.#captures) await capture[Symbol.asyncDispose]()
    await this.#territory[Symbol.asyncDispose]()
  }

  async #image(): Promise<string> {
    return (await ensureRootImage(this.#places, (line) => console.warn(`lab: ${line}`))).path
  }

  #allot(name: string): Station {
    if (this.#names.has(name)) throw new Fault('lab_bad_name', `${name} is in this lab already`)
    const station = stationOf(name, this.#names.size)
    this.#names.add(name)
    return station
  }

  // In place, not by renaming: the members have this very file mounted.
  async #announce({ name, address4, address6 }: Station): Promise<void> {
    await appendFile(hostsFile(this.#territory), `${address4} ${name}\n${address6} ${name}\n`)
  }
}

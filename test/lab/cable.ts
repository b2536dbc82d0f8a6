import { Fault } from '@firebreak/shared/result.ts'
import type { Territory } from './territory.ts'

/** What a member is called and where it is on the lab's network. */
export interface Station {
  readonly name: string
  readonly index: number
  readonly address4: string
  readonly address6: string
  readonly mac: string
  /** The interface on the switch's side on which everything that leaves or reaches the member passes. It is there before the member
   * boots and stays through its reboots, so a capture on it misses nothing. */
  readonly port: string
}

export const INTERFACE = 'eth0'

export function stationOf(name: string, index: number): Station {
  if (!/^[a-z][a-z0-9-]{0,30}$/.test(name))
    throw new Fault(
      'lab_bad_name',
      `${name} cannot name a host: a small letter, then small letters, digits and dashes, at most 31`,
    )
  const number = 10 + index
  if (number > 250) throw new Fault('lab_bad_request', 'a lab has room for 240 members')
  const hex = number.toString(16)
  return {
    name,
    index,
    address4: `10.66.0.${number}`,
    address6: `fd66:6662:6c61::${hex}`,
    mac: `02:fb:00:00:00:${hex.padStart(2, '0')}`,
    port: `port${index}`,
  }
}

/** A member's way to the switch:
 *
 *     eth0 (in the member) == cable<i> - segment<i> - port<i> == uplink<i> - br0
 *
 * `==` is a veth pair, `-` a bridge. The outer pair and the segment live as long as the lab; the inner pair is made anew at each boot,
 * together with the member's network namespace, and vanishes with the power. */
export class Cable {
  readonly #territory: Territory
  readonly #station: Station
  #plugged = true
  #connected = false

  constructor(territory: Territory, station: Station) {
    this.#territory = territory
    this.#station = station
  }

  get plugged(): boolean {
    return this.#plugged
  }

  async lay(): Promise<void> {
    const { index, port } = this.#station
    await this.#territory.ip([
      `link add segment${index} type bridge forward_delay 0 mcast_snooping 0`,
      `link add ${port} type veth peer name uplink${index}`,
      `link set ${port} master segment${index}`,
      `link set uplink${index} master br0`,
      ...[`segment${index}`, port, `uplink${index}`].map((link) => `link set ${link} up`),
    ])
  }

  /** Gives the network namespace its end of a new cable; the interface is there, down and without an address. */
  async connect(namespace: string): Promise<void> {
    const { index, mac } = this.#station
    await this.#territory.ip([
      `link add cable${index} type veth peer name ${INTERFACE} address ${mac} netns ${namespace}`,
      `link set cable${index} master segment${index}`,
      `link set cable${index} ${this.#plugged ? 'up' : 'down'}`,
    ])
    this.#connected = true
  }

  /** Takes the interface away, as a power cut does: nothing more gets out, no connection is closed politely. */
  async cut(): Promise<void> {
    if (!this.#connected) return
    this.#connected = false
    await this.#territory.ip([`link del cable${this.#station.index}`])
  }

  /** The member sees its carrier go. Stays so through reboots. */
  async pull(): Promise<void> {
    await this.#set(false)
  }

  async plug(): Promise<void> {
    await this.#set(true)
  }

  async #set(plugged: boolean): Promise<void> {
    this.#plugged = plugged
    if (this.#connected) await this.#territory.ip([`link set cable${this.#station.index} ${plugged ? 'up' : 'down'}`])
  }
}

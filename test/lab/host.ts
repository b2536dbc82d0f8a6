import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '@firebreak/shared/result.ts'
import { Cable } from './cable.ts'
import type { Station } from './cable.ts'
import type { HostOptions } from './host-options.ts'
import { Machine, hostEntry } from './machine.ts'
import { run, start } from './program.ts'
import type { ExecOptions, Finished, Running, SpawnOptions } from './program.ts'
import type { Territory } from './territory.ts'

/** A Debian host of its own: systemd, packages, users, network configuration, reboots. Its disk keeps what was written; its network
 * namespace (addresses, routes, firewall rules, connections) is new at each boot. */
export interface LabHost extends Station {
  readonly kind: 'host'
  readonly running: boolean
  exec(argv: readonly string[], options?: ExecOptions): Promise<Finished>
  spawn(argv: readonly string[], options?: SpawnOptions): Running
  readFile(path: string): Promise<string>
  writeFile(path: string, content: string | Uint8Array, mode?: number): Promise<void>
  /** Copies a file of this machine into the host. */
  copyIn(from: string, to: string, mode?: number): Promise<void>
  /** `dpkg -i` of a file of this machine; its dependencies must be in the root image. */
  installPackage(path: string): Promise<Finished>
  /** Journal of a unit (all boots) or of everything, oldest first. */
  journal(unit?: string): Promise<string>
  /** What it wrote to its console since it was made; it outlives the boots and says why one failed. */
  console(): Promise<string>
  bootId(): Promise<string>
  /** Resolves when multi-user is reached. */
  boot(): Promise<void>
  /** `systemctl reboot`; resolves when multi-user is reached again. */
  reboot(): Promise<void>
  /** Resolves when multi-user is reached again after a reboot that the host did by itself. */
  waitForReboot(since: number, timeoutMs?: number): Promise<void>
  /** How often it was started. */
  readonly boots: number
  powerOff(): Promise<void>
  /** Power cut: the network goes first, then every process at once. What was written to files stays, also without fsync: the kernel
   * underneath goes on, so this says nothing about lost disk writes. */
  kill(): Promise<void>
  /** Carrier lost, seen from the switch and from the host; stays so through reboots. */
  pullCable(): Promise<void>
  plugCable(): Promise<void>
}

export async function rackHost(
  territory: Territory,
  station: Station,
  image: string,
  options: HostOptions,
  racked: (machine: Machine) => void,
): Promise<LabHost> {
  const cable = new Cable(territory, station)
  await cable.lay()
  const machine = new Machine(territory, station, cable, image, options.bootTimeoutMs ?? 60_000)
  racked(machine)
  await machine.install(options)
  const host = new DebianHost(station, cable, machine)
  if (options.boot !== false) await host.boot()
  return host
}

class DebianHost implements LabHost {
  readonly kind = 'host'
  readonly name: string
  readonly index: number
  readonly address4: string
  readonly address6: string
  readonly mac: string
  readonly port: string
  readonly #cable: Cable
  readonly #machine: Machine

  constructor(station: Station, cable: Cable, machine: Machine) {
    this.name = station.name
    this.index = station.index
    this.address4 = station.address4
    this.address6 = station.address6
    this.mac = station.mac
    this.port = station.port
    this.#cable = cable
    this.#machine = machine
  }

  get running(): boolean {
    return this.#machine.leader !== undefined
  }

  get boots(): number {
    return this.#machine.boots
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    return await run(
      hostEntry(this.#machine.mustRun(), this.#machine.cgroup, argv, options),
      `${this.name}: ${argv.join(' ')}`,
      options,
    )
  }

  spawn(argv: readonly string[], options: SpawnOptions = {}): Running {
    return start(hostEntry(this.#machine.mustRun(), this.#machine.cgroup, argv, options), options)
  }

  // Through a program inside, never by /proc/PID/root: an absolute symbolic link in the host would lead out of it.
  async readFile(path: string): Promise<string> {
    return (await this.exec(['cat', '--', path])).stdout
  }

  async writeFile(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
    const script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
    await this.exec(['sh', '-c', script, 'write', path, mode.toString(8)], { input: content })
  }

  async copyIn(from: string, to: string, mode = 0o644): Promise<void> {
    await this.writeFile(to, await readFile(from), mode)
  }

  async installPackage(path: string): Promise<Finished> {
    const inside = `/root/${basename(path)}`
    await this.copyIn(path, inside)
    return await this.exec(['dpkg', '--install', inside], {
      timeoutMs: 180_000,
      env: { DEBIAN_FRONTEND: 'noninteractive' },
    })
  }

  async journal(unit?: string): Promise<string> {
    const selection = unit === undefined ? [] : [`--unit=${unit}`]
    return (await this.exec(['journalctl', '--no-pager', '--output=short-iso-precise', ...selection])).stdout
  }

  async console(): Promise<string> {
    return await this.#machine.console()
  }

  async bootId(): Promise<string> {
    return (await this.readFile('/proc/sys/kernel/random/boot_id')).trim()
  }

  async boot(): Promise<void> {
    await this.#machine.boot()
  }

  async reboot(): Promise<void> {
    const before = this.boots
    // The answer may be cut short by the shutdown itself.
    await this.exec(['systemctl', 'reboot'], { check: false })
    await this.waitForReboot(before)
  }

  async waitForReboot(since: number, timeoutMs = 120_000): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (this.boots === since) {
      if (performance.now() > deadline)
        throw new Fault(
          'lab_timed_out',
          `${this.name} did not reboot within ${timeoutMs} ms\n${await this.#machine.console()}`,
        )
      await sleep(20)
    }
    await this.#machine.booted()
  }

  async powerOff(): Promise<void> {
    await this.exec(['systemctl', 'poweroff'], { check: false })
    await this.#machine.stopped()
  }

  async kill(): Promise<void> {
    await this.#machine.cutPower()
  }

  async pullCable(): Promise<void> {
    await this.#cable.pull()
  }

  async plugCable(): Promise<void> {
    await this.#cable.plug()
  }
}

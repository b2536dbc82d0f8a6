/** The test network with somebody at every place. */
import { generateKeyPairSync } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { IsolateHost } from '@firebreak/shared/commands/isolate-host.ts'
import type { HostCall, HostSettings } from './host.child.ts'
import { ADDRESSES, Namespaces, type Place } from './namespaces.ts'
import type { PeerCall } from './peer.child.ts'
import { Remote } from './remote.ts'

export const CONTROLLER_PORT = 7443
export const ISOLATE: IsolateHost = { hold_s: 3600, on_controller_loss: 'hold' }
export const CONTROLLERS = [
  { ip: ADDRESSES.controller.v4, port: CONTROLLER_PORT },
  { ip: ADDRESSES.controller.v6, port: CONTROLLER_PORT },
]

export class Network {
  readonly namespaces = new Namespaces()
  readonly #folder = mkdtempSync(join(tmpdir(), 'fbt-'))
  readonly #keys = generateKeyPairSync('ed25519')
  readonly #peers = new Map<Place, Remote<PeerCall>>()
  readonly #idle: Remote<HostCall>[] = []
  readonly #usual = new WeakSet<Remote<HostCall>>()
  #commands = 0

  async start(): Promise<this> {
    writeFileSync(join(this.#folder, 'resolv.conf'), `nameserver ${ADDRESSES.stranger.v4}\n`)
    writeFileSync(join(this.#folder, 'lease'), `SERVER_ADDRESS=${ADDRESSES.controller.v4}\n`)
    const privateKey = this.#keys.privateKey.export({ type: 'pkcs8', format: 'pem' })
    for (const place of ['host', 'controller', 'stranger', 'inner'] as const) {
      const args = place === 'controller' ? [Buffer.from(privateKey).toString('base64url')] : []
      const script = fileURLToPath(new URL('peer.child.ts', import.meta.url))
      this.#peers.set(place, new Remote<PeerCall>(this.namespaces.spawn(place, script, args)))
    }
    await Promise.all([...this.#peers.values()].map((peer) => peer.ready))
    return this
  }

  at(place: Place, call: PeerCall): Promise<string> {
    const peer = this.#peers.get(place)
    if (!peer) throw new Error(`nobody at ${place}`)
    return peer.call<string>(call)
  }

  newStateDir(): string {
    return mkdtempSync(join(this.#folder, 'state-'))
  }

  copyOf(stateDir: string): string {
    const copy = `${stateDir}-copy`
    cpSync(stateDir, copy, { recursive: true, preserveTimestamps: true })
    return copy
  }

  /** The actions of an agent on the host, on this state. */
  async agent(stateDir: string, settings: Partial<HostSettings> = {}): Promise<Remote<HostCall>> {
    const publicKey = this.#keys.publicKey.export({ type: 'spki', format: 'pem' })
    const all: HostSettings = {
      stateDir,
      publicKey: Buffer.from(publicKey).toString('base64url'),
      controllers: CONTROLLERS,
      resolvConf: join(this.#folder, 'resolv.conf'),
      leaseFolders: [this.#folder],
      ...settings,
      // Everybody here answers within a millisecond or never.
      timing: { tcpProbeMs: 200, ...settings.timing },
    }
    // `ip netns exec` gives each program mounts of its own.
    const readOnly = ['sh', '-c', 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"', stateDir]
    const without = [
      ...(all.readOnlyState ? readOnly : []),
      ...(all.unprivileged ? ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'] : []),
    ]
    const script = fileURLToPath(new URL('host.child.ts', import.meta.url))
    const idle = without.length === 0 ? this.#idle.pop() : undefined
    const agent = idle ?? new Remote<HostCall>(this.namespaces.spawn('host', script, [], without))
    if (without.length === 0) this.#usual.add(agent)
    await agent.ready
    await agent.call({ call: 'open', settings: all })
    return agent
  }

  /** Ends these agents as a stop does; those that live are used again. */
  async giveBack(agents: readonly Remote<HostCall>[]): Promise<void> {
    for (const agent of agents) {
      if (!agent.isAlive) continue
      await agent.call({ call: 'close' })
      if (!this.#usual.has(agent)) continue
      agent.told.length = 0
      this.#idle.push(agent)
    }
  }

  newCommandId(): string {
    return `01900000-0000-7000-8000-${String(++this.#commands).padStart(12, '0')}`
  }

  /** What a reboot does to the rules: all are gone, and the boot unit loads the file when it is there. */
  reboot(stateDir: string): void {
    this.namespaces.nft('host', 'flush ruleset\n')
    const bootFile = join(stateDir, 'isolation.nft')
    if (existsSync(bootFile)) this.namespaces.nft('host', readFileSync(bootFile, 'utf8'))
  }

  async destroy(): Promise<boolean> {
    const untouched = await this.namespaces.destroy()
    rmSync(this.#folder, { recursive: true, force: true })
    return untouched
  }
}

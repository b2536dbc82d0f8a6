/**
 * Connections and listening ports, by reading /proc/net every `interval_ms`. A connection that opens and closes between two looks is
 * seen only where it leaves a TIME_WAIT behind, and then without its process. Source: proc_net(5).
 */
import { accessSync, constants } from 'node:fs'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { AccountNames } from './accounts.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { NetworkConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { PollLoop } from './poll-loop.ts'
import { present } from './present.ts'
import { ProcessLookup } from './process-lookup.ts'
import {
  type Socket,
  TABLES,
  TCP,
  type Table,
  firstEphemeralPort,
  isListening,
  isUdpClient,
  readSocketTable,
} from './procfs-sockets.ts'
import { SocketOwners } from './socket-owners.ts'
import type { Sources } from './sources.ts'

export const NETWORK_ACTIONS = [
  'connection-existing',
  'listening-existing',
  'connection-attempted',
  'connection-accepted',
  'listening-started',
] as const
export type NetworkAction = (typeof NETWORK_ACTIONS)[number]

/** New sockets told in one look at most; what is above is counted as lost. */
const MAX_NEW = 5_000
/** Between two looks while another source tells connections: they only keep the memory small. */
const STANDBY_MS = 600_000

export interface NetworkDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  readonly procRoot: string
  readonly root: string
  readonly sources: Sources
}

export function createNetworkCollector(deps: NetworkDeps, config: Static<typeof NetworkConfig>): Collector {
  return new NetworkCollector(deps, config)
}

class NetworkCollector implements Collector {
  readonly name = 'network'
  readonly classes = ['network'] as const
  readonly source = 'polling'
  readonly #deps: NetworkDeps
  readonly #config: Static<typeof NetworkConfig>
  readonly #out = new EmitTally()
  readonly #accounts: AccountNames
  readonly #owners: SocketOwners
  readonly #loop: PollLoop
  #processes: ProcessLookup | undefined
  #known: ReadonlySet<string> | undefined
  /** Connections that the kernel made and no program has accepted yet: told with their process at the next look, or then without. */
  #waiting: ReadonlySet<string> = new Set()
  #unread: readonly Table[] = []
  #adopts = false

  constructor(deps: NetworkDeps, config: Static<typeof NetworkConfig>) {
    this.#deps = deps
    this.#config = config
    this.#accounts = new AccountNames(deps.clock, deps.root)
    this.#owners = new SocketOwners(deps.procRoot)
    this.#loop = new PollLoop(
      deps.clock,
      () => (this.#speaks ? config.interval_ms : STANDBY_MS),
      () => this.#look(),
    )
    deps.sources.onChange((eventClass) => {
      if (eventClass !== 'network' || !this.#out.isOpen || !this.#known) return
      // What is open at the change was told by the other, or is counted as what nobody saw.
      this.#adopts = true
      this.#loop.wake()
    })
  }

  /** Nobody better does. */
  get #speaks(): boolean {
    return !this.#deps.sources.hasBetter('network', this.source)
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.network.enabled is false')
    if (this.#deps.platform !== 'linux') return refuse('unsupported_system', 'only Linux has /proc/net')
    try {
      accessSync(`${this.#deps.procRoot}/net/tcp`, constants.R_OK)
      return ok()
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      const why = `${this.#deps.procRoot}/net/tcp cannot be read: ${code ?? 'unknown'}`
      return code === 'EACCES' || code === 'EPERM' ? refuse('no_permission', why) : refuse('missing_source', why)
    }
  }

  async start(emit: Emit): Promise<void> {
    this.#processes = new ProcessLookup(this.#deps.clock, this.#accounts, this.#deps.procRoot)
    this.#out.open(emit)
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    await this.#loop.stop()
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    if (this.#loop.trouble !== undefined) return this.#out.health('degraded', this.#loop.trouble)
    if (this.#unread.length > 0) {
      return this.#out.health('degraded', `too many sockets to read to the end: ${this.#unread.join(', ')}`)
    }
    if (!this.#speaks) return this.#out.health('running', 'stands by: a better source tells connections')
    const { cutSearches } = this.#owners
    const blind = `by polling: a connection shorter than ${this.#config.interval_ms} ms can be missed or have no process`
    return this.#out.health(
      'running',
      cutSearches > 0 ? `${blind}; ${cutSearches} searches for owners were cut` : blind,
    )
  }

  #look(): void {
    const sockets = this.#readAll()
    const listening = new Set(sockets.filter(isListening).map((socket) => listenKey(socket.local.ip, socket)))
    const ephemeralFrom = firstEphemeralPort(this.#deps.procRoot)
    const seen = new Set<string>()
    const waiting = new Set<string>()
    const fresh: Seen[] = []
    for (const socket of sockets) {
      const news = newsOf(socket, listening, ephemeralFrom, this.#known === undefined)
      if (news === undefined || (!this.#config.loopback && isLoopback(socket.remote.ip))) continue
      const key = keyOf(socket)
      if (seen.has(key)) continue
      if (isUnclaimed(socket) && !this.#waiting.has(key) && !this.#known?.has(key)) {
        waiting.add(key)
        continue
      }
      seen.add(key)
      if (!this.#known?.has(key)) fresh.push(news)
    }
    this.#waiting = waiting
    this.#owners.keepOnly(new Set(sockets.map((socket) => socket.inode)))
    this.#known = seen
    if (!this.#adopts) this.#tell(fresh)
    this.#adopts = !this.#speaks
  }

  #readAll(): Socket[] {
    const all: Socket[] = []
    const unread: Table[] = []
    for (const name of TABLES) {
      const table = readSocketTable(this.#deps.procRoot, name)
      if (!table) continue
      for (const socket of table.sockets) all.push(socket)
      if (!table.isWhole) unread.push(name)
    }
    this.#unread = unread
    return all
  }

  #tell(fresh: readonly Seen[]): void {
    if (fresh.length === 0 || !this.#processes) return
    const told = fresh.slice(0, MAX_NEW)
    this.#out.lost('network', fresh.length - told.length)
    this.#owners.search(
      told.map(({ socket }) => socket.inode),
      this.#processes.pids(),
    )
    const at = new Date(this.#deps.clock.now()).toISOString()
    for (const news of told) {
      const { socket } = news
      const pid = this.#owners.pidOf(socket.inode)
      const process = pid === undefined ? undefined : this.#processes.of(pid)
      this.#out.event(networkEvent(news, at, process, this.#userOf(socket), this.#deps.hostName))
    }
  }

  #userOf(socket: Socket): Event['user'] {
    // The kernel shows 0 for a socket that no process holds any more.
    if (socket.inode === '0') return undefined
    return { id: socket.uid, ...present({ name: this.#accounts.nameOf(socket.uid) }) }
  }
}

interface Seen {
  readonly socket: Socket
  readonly action: NetworkAction
  readonly direction: 'ingress' | 'egress' | undefined
}

function networkEvent(
  { socket, action, direction }: Seen,
  at: string,
  process: Event['process'],
  user: Event['user'],
  hostName: string,
): Event {
  const isListen = direction === undefined
  const isIngress = direction === 'ingress'
  return {
    '@timestamp': at,
    event: {
      category: ['network'],
      type: action.endsWith('-existing') ? ['info'] : isListen ? ['start'] : ['connection', 'start'],
      action,
      dataset: 'firebreak.network',
      provider: 'procfs',
      ...present({ outcome: outcomeOf(action, socket) }),
    },
    host: { name: hostName },
    source: isIngress ? { ...socket.remote } : { ...socket.local },
    network: {
      transport: socket.transport,
      type: socket.local.ip.includes(':') ? 'ipv6' : 'ipv4',
      ...present({ direction }),
    },
    ...present({
      destination: isListen ? undefined : { ...(isIngress ? socket.local : socket.remote) },
      process,
      user,
    }),
  }
}

function outcomeOf(action: NetworkAction, socket: Socket): 'success' | 'unknown' | undefined {
  if (action !== 'connection-attempted' && action !== 'connection-accepted') return undefined
  return socket.transport === 'udp' || socket.state === TCP.synSent ? 'unknown' : 'success'
}

/** What a socket that was not there before means; undefined for one that is no news. */
function newsOf(
  socket: Socket,
  listening: ReadonlySet<string>,
  ephemeralFrom: number,
  isFirst: boolean,
): Seen | undefined {
  if (isListening(socket)) {
    if (isUdpClient(socket, ephemeralFrom)) return undefined
    return { socket, action: isFirst ? 'listening-existing' : 'listening-started', direction: undefined }
  }
  // Half open from outside: a flood of these is no connection.
  if (socket.remote.port === 0 || (socket.transport === 'tcp' && socket.state === TCP.synReceived)) return undefined
  if (isFirst && socket.state === TCP.timeWait) return undefined
  const isAccepted =
    socket.transport === 'tcp' && ['0.0.0.0', '::', socket.local.ip].some((ip) => listening.has(listenKey(ip, socket)))
  const direction = isAccepted ? 'ingress' : 'egress'
  if (isFirst) return { socket, action: 'connection-existing', direction }
  return { socket, action: isAccepted ? 'connection-accepted' : 'connection-attempted', direction }
}

function isUnclaimed(socket: Socket): boolean {
  return socket.transport === 'tcp' && socket.state === TCP.established && socket.inode === '0'
}

function listenKey(ip: string, socket: Socket): string {
  return `${socket.transport}|${ip}|${socket.local.port}`
}

function keyOf({ transport, local, remote }: Socket): string {
  return `${transport}|${local.ip}|${local.port}|${remote.ip}|${remote.port}`
}

function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1'
}

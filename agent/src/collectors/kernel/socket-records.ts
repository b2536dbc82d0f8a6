/**
 * Connections of the kernel as network events. A connect is told when it is known how it ended, or after a second; its end is told with
 * bytes and time. Who opened a socket is remembered, because the kernel closes it in nobody's name.
 */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { EmitTally } from '../emit-tally.ts'
import { present } from '../present.ts'
import { ipv6Text } from '../procfs-sockets.ts'
import { DnsLookups } from './dns-lookups.ts'
import { errnoName } from './errno.ts'
import type { Doer, ProcessRecords } from './process-records.ts'
import { type RecordTimes, isoOf } from './record-times.ts'
import type { SensorSocket } from './sensor-records.ts'

export const SOCKET_ACTIONS = [
  'connection-attempted',
  'connection-accepted',
  'connection-closed',
  'listening-started',
  'listening-ended',
  'dns-lookup',
] as const
export type SocketAction = (typeof SOCKET_ACTIONS)[number]

/** How long a connect is waited for before it is told as one whose outcome is not known. */
const ANSWER_MS = 1_000
/** Sockets that are remembered; past it the oldest is told of without its process when it closes. */
const MAX_OPEN = 16_384
const DNS_PORT = 53
const FIRST_EPHEMERAL = 32_768
const TCP_SYN_SENT = 2
const TCP_LISTEN = 10

interface Opened {
  readonly doer: Doer
  readonly direction: 'ingress' | 'egress' | undefined
}
interface Asked {
  readonly record: SensorSocket
  readonly doer: Doer
  readonly dueMs: number
}

export interface SocketRecordsDeps {
  readonly out: EmitTally
  readonly times: RecordTimes
  readonly hostName: string
  readonly processes: ProcessRecords
  readonly loopback: boolean
}

export class SocketRecords {
  readonly #deps: SocketRecordsDeps
  readonly #open = new Map<bigint, Opened>()
  readonly #asked = new Map<bigint, Asked>()
  readonly #lookups: DnsLookups
  /** Taken once a batch, monotonic. */
  nowMs = 0

  constructor(deps: SocketRecordsDeps) {
    this.#deps = deps
    this.#lookups = new DnsLookups({
      lookup: (record, doer, dns, durationMs) => this.#tellLookup(record, doer, dns, durationMs),
      other: (record, doer) => this.#tell('connection-attempted', record, doer, directionOf(record), 'unknown'),
    })
  }

  get nextDueMs(): number | undefined {
    const [oldest] = this.#asked.values()
    const lookup = this.#lookups.nextDueMs
    if (oldest === undefined || lookup === undefined) return oldest?.dueMs ?? lookup
    return Math.min(oldest.dueMs, lookup)
  }

  take(record: SensorSocket): void {
    if (!this.#deps.loopback && isLoopback(record)) return
    switch (record.kind) {
      case 'tcp-connect':
        this.#connect(record)
        return
      case 'tcp-established':
        this.#established(record)
        return
      case 'tcp-accept':
        this.#accepted(record)
        return
      case 'tcp-listen': {
        const doer = this.#deps.processes.doer(record.actor)
        this.#remember(record.socketId, { doer, direction: undefined })
        this.#tell('listening-started', record, doer, undefined, undefined)
        return
      }
      case 'tcp-close':
        this.#closed(record)
        return
      case 'udp-flow':
        // Datagrams to port 53 come once more, with what was asked.
        if (record.remotePort !== DNS_PORT)
          this.#tell(
            'connection-attempted',
            record,
            this.#deps.processes.doer(record.actor),
            directionOf(record),
            'unknown',
          )
        return
      case 'dns-sent':
        this.#lookups.sent(record, this.#deps.processes.doer(record.actor), this.nowMs)
        return
      case 'dns-received':
        this.#lookups.received(record, this.#deps.processes.doer(record.actor))
        return
      default:
        throw new TypeError(`unhandled record ${JSON.stringify(record.kind satisfies never)}`)
    }
  }

  /** Tells what was waited for in vain; everything when `nowMs` is left out. */
  flush(nowMs = Number.POSITIVE_INFINITY): void {
    for (const [id, { record, doer, dueMs }] of this.#asked) {
      if (dueMs > nowMs) break
      this.#asked.delete(id)
      this.#tell('connection-attempted', record, doer, 'egress', 'unknown')
    }
    this.#lookups.flush(nowMs)
  }

  #connect(record: SensorSocket): void {
    const doer = this.#deps.processes.doer(record.actor)
    this.#remember(record.socketId, { doer, direction: 'egress' })
    this.#asked.set(record.socketId, { record, doer, dueMs: this.nowMs + ANSWER_MS })
  }

  #established(record: SensorSocket): void {
    const asked = this.#asked.get(record.socketId)
    if (!asked) return
    this.#asked.delete(record.socketId)
    this.#tell('connection-attempted', asked.record, asked.doer, 'egress', 'success')
  }

  #accepted(record: SensorSocket): void {
    const doer = this.#deps.processes.doer(record.actor)
    this.#remember(record.socketId, { doer, direction: 'ingress' })
    this.#tell('connection-accepted', record, doer, 'ingress', 'success')
  }

  #closed(record: SensorSocket): void {
    const opened = this.#open.get(record.socketId)
    this.#open.delete(record.socketId)
    const doer = opened?.doer ?? this.#deps.processes.doer(record.actor)
    const asked = this.#asked.get(record.socketId)
    this.#asked.delete(record.socketId)
    if (record.oldState === TCP_SYN_SENT) {
      const reason = record.error > 0 ? errnoName(record.error) : undefined
      this.#tell('connection-attempted', record, doer, 'egress', 'failure', { reason })
      return
    }
    if (asked) this.#tell('connection-attempted', asked.record, doer, 'egress', 'success')
    if (record.oldState === TCP_LISTEN) this.#tell('listening-ended', record, doer, undefined, undefined)
    else
      this.#tell('connection-closed', record, doer, opened?.direction ?? directionOf(record), undefined, {
        isEnd: true,
      })
  }

  #remember(socketId: bigint, opened: Opened): void {
    this.#open.set(socketId, opened)
    if (this.#open.size <= MAX_OPEN) return
    for (const oldest of this.#open.keys()) {
      this.#open.delete(oldest)
      return
    }
  }

  #tell(
    action: SocketAction,
    record: SensorSocket,
    doer: Doer,
    direction: Opened['direction'],
    outcome: Event['event']['outcome'],
    extra: { readonly reason?: string | undefined; readonly isEnd?: boolean } = {},
  ): void {
    const local = { ip: ipText(record.localAddress), port: record.localPort }
    const remote = { ip: ipText(record.remoteAddress), port: record.remotePort }
    const isIngress = direction === 'ingress'
    const isListen = direction === undefined
    const counted = (bytes: number) => (extra.isEnd ? { bytes } : {})
    const sent = counted(record.bytesSent)
    const received = counted(record.bytesReceived)
    this.#deps.out.event({
      '@timestamp': isoOf(this.#deps.times.wallMs(record.monotonicNs)),
      event: {
        category: ['network'],
        type: typesOf(action),
        action,
        dataset: 'firebreak.network',
        provider: 'kernel',
        ...present({
          outcome,
          reason: extra.reason,
          duration_ms: extra.isEnd ? Number(record.durationNs) / 1e6 : undefined,
        }),
      },
      host: { name: this.#deps.hostName },
      source: isIngress ? { ...remote, ...received } : { ...local, ...sent },
      network: {
        transport: record.protocol,
        type: local.ip.includes(':') ? 'ipv6' : 'ipv4',
        ...present({ direction, bytes: extra.isEnd ? record.bytesSent + record.bytesReceived : undefined }),
      },
      ...present({
        destination: isListen ? undefined : isIngress ? { ...local, ...sent } : { ...remote, ...received },
      }),
      ...doer,
    })
  }

  #tellLookup(record: SensorSocket, doer: Doer, dns: NonNullable<Event['dns']>, durationMs: number | undefined): void {
    const isAnswered = dns.type === 'answer'
    const outcome = !isAnswered ? 'unknown' : dns.response_code === 'NOERROR' ? 'success' : 'failure'
    this.#deps.out.event({
      '@timestamp': isoOf(this.#deps.times.wallMs(record.monotonicNs)),
      event: {
        category: ['network'],
        type: ['protocol', 'info'],
        action: 'dns-lookup',
        dataset: 'firebreak.network',
        provider: 'kernel',
        outcome,
        ...present({ duration_ms: durationMs }),
      },
      host: { name: this.#deps.hostName },
      source: { ip: ipText(record.localAddress), port: record.localPort },
      destination: { ip: ipText(record.remoteAddress), port: record.remotePort },
      network: {
        transport: 'udp',
        type: record.family === 'ipv4' ? 'ipv4' : 'ipv6',
        direction: 'egress',
        protocol: 'dns',
      },
      dns,
      ...doer,
    })
  }
}

function typesOf(action: SocketAction): Event['event']['type'] {
  switch (action) {
    case 'connection-attempted':
    case 'connection-accepted':
      return ['connection', 'start']
    case 'connection-closed':
      return ['connection', 'end']
    case 'listening-started':
      return ['start']
    case 'listening-ended':
      return ['end']
    case 'dns-lookup':
      return ['protocol', 'info']
    default:
      throw new TypeError(`unhandled action ${JSON.stringify(action satisfies never)}`)
  }
}

/** Who answers from a service's port to a client's was asked first. */
function directionOf({ localPort, remotePort }: SensorSocket): 'ingress' | 'egress' {
  return localPort < FIRST_EPHEMERAL && remotePort >= FIRST_EPHEMERAL ? 'ingress' : 'egress'
}

function isLoopback({ remoteAddress, localAddress }: SensorSocket): boolean {
  const ip = ipText(remoteAddress)
  const own = ipText(localAddress)
  return ip.startsWith('127.') || ip === '::1' || own.startsWith('127.') || own === '::1'
}

function ipText(bytes: Uint8Array): string {
  return bytes.length === 4 ? bytes.join('.') : ipv6Text([...bytes])
}

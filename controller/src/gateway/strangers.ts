/** Limits on whoever has not shown who they are: how many at once, how often from one address, how long, how many bytes (threat T3). */
import type { Socket } from 'node:net'
import { isIPv6 } from 'node:net'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import type { GatewayMetrics } from './log-names.ts'

const BURST_FACTOR = 5
const MAX_ADDRESSES = 10_000

export interface StrangerLimits {
  readonly preauth_sockets: number
  readonly connections_per_address_per_s: number
}

/** One connection before its proof. */
export interface Stranger {
  readonly address: string
  /** It has shown who it is: the limits end. */
  known(): void
}

export class Strangers {
  readonly #limits: StrangerLimits
  readonly #metrics: GatewayMetrics
  readonly #now: () => number
  readonly #waiting = new Map<string, Stranger>()
  readonly #buckets = new Map<string, { tokens: number; at: number }>()

  constructor(limits: StrangerLimits, metrics: GatewayMetrics, now: () => number) {
    this.#limits = limits
    this.#metrics = metrics
    this.#now = now
  }

  /** At the TCP connection, before TLS has cost anything. */
  take(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress)
    if (this.#waiting.size >= this.#limits.preauth_sockets) return this.#turnAway(socket, 'too_many_unproved')
    if (!this.#mayConnect(bucketOf(address))) return this.#turnAway(socket, 'too_often')
    const key = keyOf(socket)
    const timer = setTimeout(() => {
      this.#metrics.turnedAway.inc({ why: 'too_slow' })
      socket.destroy()
    }, WIRE.handshakeMs)
    const forget = () => {
      clearTimeout(timer)
      this.#waiting.delete(key)
      this.#metrics.waiting.set(this.#waiting.size)
    }
    this.#waiting.set(key, { address, known: forget })
    this.#metrics.waiting.set(this.#waiting.size)
    socket.once('close', forget)
  }

  /** The connection of this TLS socket; `undefined` when its time is over. */
  find(socket: Socket): Stranger | undefined {
    return this.#waiting.get(keyOf(socket))
  }

  #turnAway(socket: Socket, why: string): void {
    this.#metrics.turnedAway.inc({ why })
    socket.destroy()
  }

  #mayConnect(bucket: string): boolean {
    const perSecond = this.#limits.connections_per_address_per_s
    const burst = perSecond * BURST_FACTOR
    const now = this.#now()
    const known = this.#buckets.get(bucket)
    const tokens = known ? Math.min(burst, known.tokens + ((now - known.at) / 1_000) * perSecond) : burst
    // Whoever has waited long enough for a full bucket needs none; the rest is kept in the order of the last try.
    this.#buckets.delete(bucket)
    this.#buckets.set(bucket, { tokens: Math.max(0, tokens - 1), at: now })
    if (this.#buckets.size > MAX_ADDRESSES) {
      const oldest = this.#buckets.keys().next()
      if (!oldest.done) this.#buckets.delete(oldest.value)
    }
    return tokens >= 1
  }
}

export function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '')
}

/** A host of IPv6 has a whole /64 to itself (RFC 4291, 2.5.1). */
function bucketOf(address: string): string {
  if (!isIPv6(address)) return address
  const [head = '', tail = ''] = address.split('::')
  const left = head.split(':').filter((part) => part !== '')
  const right = tail.split(':').filter((part) => part !== '')
  const zeros = Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0')
  return [...left, ...zeros, ...right].slice(0, 4).join(':')
}

function keyOf(socket: Socket): string {
  return `${socket.remoteAddress}|${socket.remotePort}`
}

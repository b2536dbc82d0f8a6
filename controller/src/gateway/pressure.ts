/** When too much waits to be stored, agents are not read from: their spools hold what we cannot, and TCP tells them. */
import type { WebSocket } from 'ws'
import type { GatewayMetrics } from './log-names.ts'

const LOOK_AGAIN_MS = 50

export class Pressure {
  readonly #limit: number
  readonly #backlogged: () => boolean
  readonly #metrics: GatewayMetrics
  readonly #paused = new Set<WebSocket>()
  #waiting = 0
  #timer: NodeJS.Timeout | undefined

  constructor(limit: number, backlogged: () => boolean, metrics: GatewayMetrics) {
    this.#limit = limit
    this.#backlogged = backlogged
    this.#metrics = metrics
  }

  /** A batch of this connection waits to be stored. */
  add(socket: WebSocket): void {
    this.#waiting++
    if (this.#waiting < this.#limit && !this.#backlogged()) return
    if (this.#paused.has(socket)) return
    this.#paused.add(socket)
    this.#metrics.paused.inc()
    socket.pause()
    this.#timer ??= setInterval(() => this.#relax(), LOOK_AGAIN_MS)
  }

  remove(): void {
    this.#waiting--
    if (this.#paused.size > 0) this.#relax()
  }

  #relax(): void {
    if (this.#waiting > this.#limit / 2 || this.#backlogged()) return
    clearInterval(this.#timer)
    this.#timer = undefined
    for (const socket of this.#paused) socket.resume()
    this.#paused.clear()
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const socket of this.#paused) socket.resume()
    this.#paused.clear()
  }
}

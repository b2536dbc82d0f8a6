/** One authenticated connection: batches in and acks out, commands out and receipts in, a signed answer to every confirm. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { confirmMessage } from '@firebreak/shared/trust/handshake.ts'
import {
  batchMessage,
  decodeFrame,
  encodeCommand,
  encodeControl,
  type SealedBatch,
} from '@firebreak/shared/wire/frame.ts'
import { CLOSE, WIRE } from '@firebreak/shared/wire/limits.ts'
import {
  type AgentMessage,
  type ControllerMessage,
  type Credit,
  parseAgentMessage,
} from '@firebreak/shared/wire/messages.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import type { WebSocket } from 'ws'
import type { Fleet } from '../fleet/index.ts'
import type { Ingest } from '../ingest/index.ts'
import type { AgentLink, OrdersDoor } from '../orders/index.ts'
import type { ControllerTrust } from '../trust/index.ts'
import type { Admission, Lane } from './admission.ts'
import type { Admitted } from './entry.ts'
import type { GatewayLog, GatewayMetrics } from './log-names.ts'

export interface SessionDeps {
  readonly trust: ControllerTrust
  readonly fleet: Fleet
  readonly ingest: Ingest
  readonly orders: OrdersDoor
  readonly clock: Pick<Clock, 'monotonic'>
  /** ms for intervals of this process, asked for every frame: cheap, and may stand still while the machine sleeps. */
  readonly tick: () => number
  readonly log: GatewayLog
  readonly metrics: GatewayMetrics
  readonly admission: Admission
}

const MAX_CONTROL_OPEN = 64
const CONTROL_PER_S = 50
const CONTROL_BURST = 500
/** An agent that takes nothing off the wire is not kept in memory. */
const MAX_BUFFERED_BYTES = MiB
const GOODBYE_MS = 1_000

export type CloseName = keyof typeof CLOSE | 'going_away'

export class AgentSession implements AgentLink {
  readonly agentId: AgentId
  readonly session: string
  readonly #deps: SessionDeps
  readonly #socket: WebSocket
  readonly #admitted: Admitted
  readonly #startedAt: number
  readonly #work = new Set<Promise<void>>()
  #lastHeard: number
  readonly #lane: Lane
  #control = 0
  #tokens = CONTROL_BURST
  #tokensAt: number
  #closing = false
  #beat: NodeJS.Timeout | undefined

  constructor(deps: SessionDeps, socket: WebSocket, admitted: Admitted) {
    this.#deps = deps
    this.#socket = socket
    this.#admitted = admitted
    this.agentId = admitted.agentId
    this.session = admitted.session
    this.#startedAt = deps.clock.monotonic()
    this.#lastHeard = deps.tick()
    this.#tokensAt = this.#lastHeard
    this.#lane = deps.admission.join({
      agentId: this.agentId,
      credit: (credit) => this.send({ t: 'credit', credit }),
      pause: () => socket.pause(),
      resume: () => socket.resume(),
    })
  }

  start(): void {
    this.#socket.on('pong', () => this.#heard())
    this.#socket.on('ping', () => this.#heard())
    this.#beat = setInterval(() => this.#ping(), WIRE.pingMs)
  }

  /** What the agent may have on the way, for the welcome. */
  credit(): Credit {
    return this.#lane.credit
  }

  sinceHandshakeMs(): number {
    return Math.max(0, this.#deps.clock.monotonic() - this.#startedAt)
  }

  sendCommand(envelope: Uint8Array): void {
    this.#sendFrame(encodeCommand(envelope))
  }

  send(message: ControllerMessage): void {
    this.#sendFrame(encodeControl(message))
  }

  take(data: Buffer, isBinary: boolean): void {
    if (this.#closing) return
    this.#heard()
    this.#deps.metrics.bytes.inc(data.length)
    if (!isBinary) return this.refuse('malformed', 'a text message')
    const frame = decodeFrame(data)
    if (!frame.ok) return this.refuse(frame.code, frame.why)
    switch (frame.value.kind) {
      case 'batch':
        return this.#takeBatch(frame.value.batch, data.length)
      case 'control':
        return this.#takeControl(frame.value.bytes)
      case 'command':
        return this.refuse('malformed', 'a command from an agent')
      default:
        throw new TypeError(`unhandled frame ${String(frame.value satisfies never)}`)
    }
  }

  /** Closes with a code that says why; counted. */
  refuse(name: keyof typeof CLOSE, why: string): void {
    if (this.#closing) return
    this.#deps.metrics.refusedFrames.inc({ code: name })
    this.#deps.log.warn('gateway.frame.refused', { 'host.id': this.agentId, code: name, why })
    this.close(name, why)
  }

  close(name: CloseName, why: string): void {
    if (this.#closing) return
    this.#closing = true
    this.#lane.leave()
    this.#socket.resume()
    // RFC 6455, 5.5: a control frame carries at most 125 bytes, two of them the code.
    this.#socket.close(name === 'going_away' ? 1001 : CLOSE[name], Buffer.from(why).subarray(0, 120).toString('latin1'))
    setTimeout(() => this.#socket.terminate(), GOODBYE_MS).unref()
  }

  /** After the socket is closed: nothing of this session is under way when it resolves. */
  async ended(): Promise<void> {
    this.#closing = true
    this.#lane.leave()
    clearInterval(this.#beat)
    await Promise.allSettled(this.#work)
  }

  #takeBatch(batch: SealedBatch, bytes: number): void {
    const store = () => this.#do(() => this.#store(batch))
    if (!this.#lane.offer({ events: batch.header.count, bytes, store }))
      this.refuse('too_many', 'more batches than the window allows')
  }

  /** When it is its turn: only then is anything spent on it, its signature first. */
  async #store(batch: SealedBatch): Promise<void> {
    if (this.#closing) return
    if (!this.#admitted.verifier(batchMessage(this.session, batch.headerBytes, batch.body), batch.signature))
      return this.refuse('unauthenticated', 'the signature of a batch does not hold')
    const taken = await this.#deps.ingest.accept(this.agentId, batch)
    if (taken.ok) this.send({ t: 'ack', ...taken.value })
    else this.refuse(taken.code, taken.why)
  }

  #takeControl(bytes: Uint8Array): void {
    const parsed = parseAgentMessage(bytes)
    if (!parsed.ok) return this.refuse(parsed.code, parsed.why)
    if (!this.#maySpeak() || this.#control >= MAX_CONTROL_OPEN) return this.refuse('too_many', 'too many messages')
    this.#control++
    void this.#do(async () => {
      try {
        await this.#obey(parsed.value)
      } finally {
        this.#control--
      }
    })
  }

  async #obey(message: AgentMessage): Promise<void> {
    const { fleet, orders, trust } = this.#deps
    switch (message.t) {
      case 'receipt': {
        const taken = await orders.receipt(this.agentId, message.envelope)
        if (taken.ok) this.send({ t: 'receipt_ack', receipt_seq: taken.value })
        else this.refuse(taken.code, taken.why)
        return
      }
      case 'status':
        await fleet.report(this.agentId, message)
        return
      case 'confirm': {
        const nonce = decodeBase64(message.nonce)
        if (nonce?.length !== 32) return this.refuse('malformed', 'a nonce has 32 bytes')
        const sig = encodeBase64(trust.gatewayKey.sign(confirmMessage(this.session, nonce)))
        this.send({ t: 'confirmed', nonce: message.nonce, keyid: trust.gatewayKey.kid, sig })
        return
      }
      case 'hello':
      case 'proof':
      case 'enrol_hello':
      case 'enrol_request':
        return this.refuse('malformed', `a ${message.t} inside a session`)
      default:
        throw new TypeError(`unhandled message ${String(message satisfies never)}`)
    }
  }

  /** The boundary of a frame: what is thrown here is the controller's own trouble, and the agent keeps what was not acked. */
  #do(work: () => Promise<void>): Promise<void> {
    const done = work().catch((thrown: unknown) => {
      this.#deps.log.error('gateway.session.failed', { 'host.id': this.agentId, why: reasonOf(thrown) })
      this.close('internal', 'the controller cannot take this now')
    })
    this.#work.add(done)
    void done.finally(() => this.#work.delete(done))
    return done
  }

  #sendFrame(frame: Uint8Array): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return
    if (this.#socket.bufferedAmount > MAX_BUFFERED_BYTES) return this.#socket.terminate()
    this.#socket.send(frame)
  }

  #heard(): void {
    this.#lastHeard = this.#deps.tick()
  }

  #ping(): void {
    // While it is not read from, nothing of it can be heard.
    if (this.#socket.isPaused) this.#heard()
    if (this.#deps.tick() - this.#lastHeard > WIRE.deadMs) this.#socket.terminate()
    else if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping()
  }

  #maySpeak(): boolean {
    const now = this.#deps.tick()
    this.#tokens = Math.min(CONTROL_BURST, this.#tokens + ((now - this.#tokensAt) / 1_000) * CONTROL_PER_S)
    this.#tokensAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

/** The door for agents: TLS 1.3, WebSocket with limits, proof of identity, then a session. */
import type { IncomingMessage } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '@firebreak/shared/clock.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { EntryRefusal } from '@firebreak/shared/wire/messages.ts'
import { CHANNEL_BYTES, CHANNEL_LABEL } from '@firebreak/shared/trust/handshake.ts'
import { encodeControl } from '@firebreak/shared/wire/frame.ts'
import { CLOSE, WIRE, WS_LIMITS } from '@firebreak/shared/wire/limits.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import type { Registry } from 'prom-client'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Machine } from '../fleet/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { Admission } from './admission.ts'
import { AgentSession, type SessionDeps } from './agent-session.ts'
import { Doorman } from './doorman.ts'
import { type Admitted, Entry, type EntryDeps, type Step } from './entry.ts'
import type { GatewayConfig } from './gateway-config.ts'
import type { Gateway } from './index.ts'
import { type GatewayMetrics, gatewayMetrics } from './log-names.ts'
import { Sessions } from './sessions.ts'
import { Strangers } from './strangers.ts'

export interface GatewayDeps
  extends Omit<SessionDeps, 'metrics' | 'admission' | 'clock'>,
    Omit<EntryDeps, 'trust' | 'clock' | 'fleet' | 'doorman'> {
  readonly state: StateStore
  readonly clock: Clock
  readonly bus: Bus
  readonly metrics: Registry
}

/** Somebody who has not shown who they are. */
interface Caller {
  readonly socket: WebSocket
  readonly address: string
  readonly kind: string
  readonly known: () => void
}

const GOODBYE_MS = 1_000
/** At most 120 bytes; shown by `firebreak-agent status`. */
const ADVICE_FOR_A_COPY =
  'another machine uses this key; on the copy: stop the agent, firebreak-agent reset-identity, join again'
const STOP_MS = 5_000

export function createGateway(deps: GatewayDeps, config: GatewayConfig): Gateway {
  return new TlsGateway(deps, config)
}

class TlsGateway implements Gateway {
  readonly #deps: GatewayDeps
  readonly #config: GatewayConfig
  readonly #metrics: GatewayMetrics
  readonly #strangers: Strangers
  readonly #sessions: Sessions
  readonly #admission: Admission
  readonly #doorman: Doorman
  readonly #server: Server
  readonly #webSockets: WebSocketServer
  readonly #sockets = new Set<Socket>()
  /** Which machine is at the other end. */
  readonly #machines = new WeakMap<AgentSession, Machine>()
  /** Agents whose key two machines used at once. */
  readonly #twins = new Set<AgentId>()
  /** Ends of sessions that are being written down. */
  readonly #leaving = new Set<Promise<void>>()
  #unsubscribe: (() => void) | undefined
  #tidy: NodeJS.Timeout | undefined

  constructor(deps: GatewayDeps, config: GatewayConfig) {
    const { trust, ingest } = deps
    this.#deps = deps
    this.#config = config
    this.#metrics = gatewayMetrics(deps.metrics)
    this.#strangers = new Strangers(config, this.#metrics, deps.tick)
    this.#sessions = new Sessions(deps.tick)
    this.#admission = new Admission(config, ingest, this.#metrics, deps.tick, (state) => this.#tellOfIntake(state))
    this.#doorman = new Doorman(config.entries_per_s, deps.tick)
    this.#server = createServer({
      key: trust.tls.key,
      cert: trust.tls.cert,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      handshakeTimeout: WIRE.handshakeMs,
      headersTimeout: WIRE.handshakeMs,
      requestTimeout: WIRE.handshakeMs,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 8 * KiB,
    })
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      ...WS_LIMITS,
      handleProtocols: (offered) => (offered.has(WIRE.subprotocol) ? WIRE.subprotocol : false),
    })
  }

  async start(): Promise<{ readonly port: number }> {
    const server = this.#server
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      this.#strangers.take(socket)
    })
    server.on('tlsClientError', (_error, socket) => {
      this.#metrics.turnedAway.inc({ why: 'no_tls' })
      socket.destroy()
    })
    server.on('clientError', (_error, socket) => socket.destroy())
    server.on('request', (_request, response) => {
      response.writeHead(426, { connection: 'close', 'content-type': 'text/plain' })
      response.end('This is the door for Firebreak agents.\n')
    })
    server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    const { host, port } = this.#config
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause) =>
        reject(new Fault('gateway_unavailable', `cannot listen on ${host}:${port}: ${reasonOf(cause)}`, { cause })),
      )
      server.listen(port, host, resolve)
    })
    server.on('error', (error) => this.#deps.log.error('gateway.server.failed', { why: reasonOf(error) }))
    this.#unsubscribe = this.#deps.bus.subscribe('host.changed', ({ agentId }) => this.#recheck(agentId))
    this.#tidy = setInterval(() => this.#sessions.tidy(), 60_000)
    const bound = server.address()
    const actual = typeof bound === 'object' && bound !== null ? bound.port : port
    this.#deps.log.info('gateway.server.started', { host, port: actual })
    return { port: actual }
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    clearInterval(this.#tidy)
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    for (const session of this.#sessions.all()) session.close('going_away', 'the controller stops')
    const force = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy()
    }, GOODBYE_MS)
    const late = setTimeout(() => this.#server.closeAllConnections(), STOP_MS)
    await closed
    clearTimeout(force)
    clearTimeout(late)
    this.#admission.stop()
    while (this.#leaving.size > 0) await Promise.allSettled(this.#leaving)
  }

  connected(): number {
    return this.#sessions.size()
  }

  #upgrade(request: IncomingMessage, duplex: Duplex, head: Buffer): void {
    const socket = duplex as TLSSocket
    socket.on('error', () => socket.destroy())
    const stranger = this.#strangers.find(socket)
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    if (!stranger || request.url !== WIRE.path || !offered.includes(WIRE.subprotocol)) {
      this.#metrics.turnedAway.inc({ why: 'not_an_agent' })
      socket.end('HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n')
      return
    }
    const watch = limitBytes(socket, head.length, () => this.#metrics.turnedAway.inc({ why: 'too_much' }))
    // RFC 8446, 7.5: without a context and with an empty one the value is the same; both sides give an empty one.
    const channel = socket.exportKeyingMaterial(CHANNEL_BYTES, CHANNEL_LABEL, Buffer.alloc(0))
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      this.#greet(webSocket, channel, stranger.address, () => {
        watch.end()
        stranger.known()
      })
    })
  }

  /** Until the proof: one message at a time, anything out of turn ends it. */
  #greet(socket: WebSocket, channel: Uint8Array, address: string, known: () => void): void {
    const entry = new Entry({ ...this.#deps, doorman: this.#doorman }, channel, address)
    let session: AgentSession | undefined
    let busy = false
    socket.on('error', (error: Error & { code?: string }) => {
      // What ws itself refuses: a bad opcode, too many fragments, a message over the limit. It closes the connection.
      const code = error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' ? 'too_large' : 'malformed'
      this.#metrics.refusedFrames.inc({ code })
      this.#deps.log.warn('gateway.frame.refused', { 'host.id': session?.agentId, address, code, why: error.message })
      setTimeout(() => socket.terminate(), GOODBYE_MS).unref()
    })
    socket.on('message', (data: RawData, isBinary: boolean) => {
      const bytes = bufferOf(data)
      if (session) {
        session.take(bytes, isBinary)
        return
      }
      const kind = entry.kind()
      if (busy) {
        this.#turnBack(socket, kind, 'malformed', 'a message out of turn', address)
        return
      }
      busy = true
      void this.#hear(entry, bytes, isBinary, { socket, address, kind, known }).then((opened) => {
        session = opened
        busy = false
        return undefined
      })
    })
  }

  /** One message before the proof; the boundary where what is thrown becomes `internal`. */
  async #hear(entry: Entry, bytes: Uint8Array, isBinary: boolean, from: Caller): Promise<AgentSession | undefined> {
    const { socket, kind, address } = from
    try {
      const step = await entry.take(bytes, isBinary)
      if (!step.ok) this.#turnBack(socket, kind, step.code, step.why, address)
      else if (step.value.next === 'later') this.#sendAway(socket, kind, step.value.retryAfterS)
      else if (socket.readyState === socket.OPEN) return await this.#follow(step.value, from)
    } catch (thrown) {
      this.#deps.log.error('gateway.entry.failed', { address, why: reasonOf(thrown) })
      this.#turnBack(socket, kind, 'internal', 'the controller cannot let you in now', address)
    }
    return undefined
  }

  async #follow(
    step: Exclude<Step, { next: 'later' }>,
    { socket, kind, address, known }: Caller,
  ): Promise<AgentSession | undefined> {
    switch (step.next) {
      case 'challenge':
        socket.send(encodeControl(step.reply))
        return undefined
      case 'enrolled':
        this.#metrics.entries.inc({ kind, result: 'enrolled' })
        this.#deps.log.info('gateway.agent.enrolled', { 'host.id': step.agentId, address })
        socket.send(encodeControl({ t: 'enrolled', agent_id: step.agentId }))
        socket.close(1000)
        return undefined
      case 'admitted':
        this.#metrics.entries.inc({ kind, result: 'connected' })
        known()
        return this.#open(socket, step.admitted, address)
      default:
        throw new TypeError(`unhandled step ${String(step satisfies never)}`)
    }
  }

  async #open(socket: WebSocket, admitted: Admitted, address: string): Promise<AgentSession | undefined> {
    const { ingest, state, fleet, orders, log } = this.#deps
    const { agentId, session: name, hello } = admitted
    const session = new AgentSession(
      { ...this.#deps, metrics: this.#metrics, admission: this.#admission },
      socket,
      admitted,
    )
    socket.once('close', (code: number) => this.#left(session, code))
    this.#machines.set(session, { hello, address })
    const { old, cloned } = this.#sessions.put(session)
    if (old) {
      log.warn('gateway.agent.replaced', { 'host.id': agentId, address, cloned })
      old.close('replaced', this.#twins.has(agentId) ? ADVICE_FOR_A_COPY : 'another connection of this agent took over')
      // What the old one had on the way is stored before the cursors are read, so the agent sends nothing twice.
      await old.ended()
    }
    const cursors = await ingest.cursors(agentId)
    const host = await state.db
      .selectFrom('hosts')
      .select('receipt_seq')
      .where('agent_id', '=', agentId)
      .executeTakeFirstOrThrow()
    if (socket.readyState !== socket.OPEN) return undefined
    session.start()
    session.send({
      t: 'welcome',
      session: name,
      cursors: [...cursors],
      receipt_seq: host.receipt_seq,
      credit: session.credit(),
    })
    this.#metrics.agents.set(this.#sessions.size())
    log.info('gateway.agent.connected', { 'host.id': agentId, address, session: name })
    this.#background(agentId, async () => {
      await fleet.connected(agentId, name, hello)
      if (this.#sessions.get(agentId) === session) await orders.connected(agentId, session, hello.command)
      if (cloned && old) await this.#twice(old, session)
    })
    return session
  }

  #left(session: AgentSession, code: number): void {
    const { fleet, orders, log } = this.#deps
    this.#sessions.delete(session)
    this.#metrics.agents.set(this.#sessions.size())
    orders.disconnected(session.agentId, session.session)
    log.info('gateway.agent.disconnected', { 'host.id': session.agentId, session: session.session, close_code: code })
    this.#background(session.agentId, async () => {
      const live = this.#sessions.get(session.agentId)
      // One agent has one connection: who answers the goodbye to the old one while there is a new one is another machine.
      if (code === CLOSE.replaced && live) await this.#twice(session, live)
      await session.ended()
      await fleet.disconnected(session.agentId, session.session)
    })
  }

  async #twice(one: AgentSession, other: AgentSession): Promise<void> {
    const [a, b] = [this.#machines.get(one), this.#machines.get(other)]
    this.#twins.add(one.agentId)
    if (a && b) await this.#deps.fleet.cloned(one.agentId, a, b)
  }

  #turnBack(socket: WebSocket, kind: string, code: EntryRefusal, why: string, address: string): void {
    this.#metrics.entries.inc({ kind, result: code })
    this.#deps.log.warn('gateway.entry.refused', { address, kind, code, why })
    if (socket.readyState === socket.OPEN) {
      socket.send(encodeControl({ t: 'refused', code, why }))
      socket.close(closeCodeOf(code))
    }
    setTimeout(() => socket.terminate(), GOODBYE_MS).unref()
  }

  #tellOfIntake(state: 'stopped' | 'resumed'): void {
    const { log } = this.#deps
    if (state === 'stopped')
      log.error('gateway.intake.stopped', { why: 'the stores do not take what waits: agents keep their events' })
    else log.info('gateway.intake.resumed', {})
  }

  /** Nothing is wrong with it; in a storm a line in the log for each would be one more flood. */
  #sendAway(socket: WebSocket, kind: string, retryAfterS: number): void {
    this.#metrics.entries.inc({ kind, result: 'later' })
    if (socket.readyState === socket.OPEN) {
      const why = 'too many come at once'
      socket.send(encodeControl({ t: 'refused', code: 'too_many', why, retry_after_s: retryAfterS }))
      socket.close(CLOSE.too_many)
    }
    setTimeout(() => socket.terminate(), GOODBYE_MS).unref()
  }

  async #recheck(agentId: Parameters<Sessions['get']>[0]): Promise<void> {
    const session = this.#sessions.get(agentId)
    if (!session) return
    const admitted = await this.#deps.fleet.admit(agentId)
    if (!admitted.ok) session.close('refused', admitted.code)
  }

  #background(agentId: string, work: () => Promise<void>): void {
    const done = work().catch((thrown: unknown) => {
      this.#deps.log.error('gateway.session.failed', { 'host.id': agentId, why: reasonOf(thrown) })
    })
    this.#leaving.add(done)
    void done.finally(() => this.#leaving.delete(done))
  }
}

/** Bytes off the wire before the proof: ws alone would keep a whole message of the later limit for a stranger. */
function limitBytes(socket: TLSSocket, already: number, tooMuch: () => void): { end(): void } {
  let left = WIRE.maxPreAuthFrameBytes - already
  const count = (data: Buffer) => {
    left -= data.length
    if (left >= 0) return
    tooMuch()
    socket.destroy()
  }
  socket.on('data', count)
  return { end: () => socket.off('data', count) }
}

function closeCodeOf(code: EntryRefusal): number {
  switch (code) {
    case 'malformed':
    case 'too_large':
    case 'too_many':
    case 'timeout':
    case 'internal':
      return CLOSE[code]
    case 'bad_token':
    case 'token_expired':
    case 'token_used_up':
    case 'bad_proof':
    case 'bad_signature':
    case 'unsafe_key':
    case 'unknown_agent':
      return CLOSE.unauthenticated
    case 'revoked_agent':
      return CLOSE.refused
    default:
      throw new TypeError(`unhandled refusal ${String(code satisfies never)}`)
  }
}

function bufferOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}

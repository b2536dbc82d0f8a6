/** A controller that speaks the real protocol over real TLS and does what a test tells it to. */
import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import {
  COMMAND_PAYLOAD_TYPE,
  type Command,
  RECEIPT_PAYLOAD_TYPE,
  type Receipt,
} from '@firebreak/shared/commands/command.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { agentIdOf, uuidv7 } from '@firebreak/shared/ids.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { type Envelope, open, seal } from '@firebreak/shared/trust/dsse.ts'
import { generateSeed, type SigningKey, signingKeyOf, verifierOf } from '@firebreak/shared/trust/ed25519.ts'
import {
  CHANNEL_BYTES,
  CHANNEL_LABEL,
  challengeMessage,
  confirmMessage,
  digest,
  enrolMessage,
  isEnrolProof,
  proofMessage,
  sessionOf,
} from '@firebreak/shared/trust/handshake.ts'
import { formatJoinString, newJoinToken, tokenIdOf, tokenKeyOf } from '@firebreak/shared/trust/join-string.ts'
import { publicKeyText, rootHashOf, sealTrustFile, type TrustFile } from '@firebreak/shared/trust/trust-file.ts'
import {
  batchLines,
  batchMessage,
  batchSequence,
  decodeFrame,
  encodeCommand,
  encodeControl,
} from '@firebreak/shared/wire/frame.ts'
import { WIRE, WS_LIMITS } from '@firebreak/shared/wire/limits.ts'
import {
  type AgentMessage,
  type ControllerMessage,
  type Credit,
  type EntryRefusal,
  parseAgentMessage,
} from '@firebreak/shared/wire/messages.ts'
import { type WebSocket, WebSocketServer } from 'ws'
import { type FakeCertificate, makeCertificate } from './certificate.fake.ts'

type Message<T extends AgentMessage['t']> = Extract<AgentMessage, { t: T }>

export interface Keys {
  readonly root: SigningKey
  readonly gateway: SigningKey
  readonly command: SigningKey
}

export function makeKeys(): Keys {
  const make = () => signingKeyOf(generateSeed())
  return { root: make(), gateway: make(), command: make() }
}

export interface LiveAgent {
  readonly agentId: string
  readonly session: string
  readonly hello: Message<'hello'>
  readonly socket: WebSocket
  readonly startedAt: number
}

export interface Behaviour {
  /** What is presented on TLS and what the trust file pins, when they differ. */
  pinned: readonly string[]
  acks: boolean
  /** Told in the welcome. */
  credit?: Credit
  receiptAcks: boolean
  confirms: 'signed' | 'forged' | 'silent'
  /** Answer to a hello instead of a challenge. */
  refuse: EntryRefusal | undefined
  challengeKey: SigningKey
  tokenRefusal: EntryRefusal | undefined
}

export class FakeController {
  readonly keys: Keys
  readonly certificate: FakeCertificate
  readonly token = newJoinToken()
  readonly deploymentId = randomUUID()
  readonly behaviour: Behaviour
  trustFile: TrustFile
  trustChain: Envelope[]
  readonly agents = new Map<string, Uint8Array>()
  /** `class:epoch:seq` → message of the event, or the reason of the gap. */
  readonly stored = new Map<string, string>()
  readonly cursors = new Map<string, number>()
  /** What came, in order. */
  readonly frames: ('batch' | AgentMessage['t'])[] = []
  readonly receipts: Receipt[] = []
  readonly statuses: Message<'status'>[] = []
  /** Messages that came before a handshake was whole, as JSON text: what an impostor could have seen. */
  readonly preAuth: Buffer[] = []
  sessions: LiveAgent[] = []
  connections = 0
  #receiptSeq = 0
  /** As each batch said, by its place and its last number. */
  readonly #chains = new Map<string, number | undefined>()
  #server: Server | undefined
  #seq = 0
  #listeners = new Set<() => void>()

  constructor(
    options: { readonly keys?: Keys; readonly certificate?: FakeCertificate; readonly file?: Partial<TrustFile> } = {},
  ) {
    this.keys = options.keys ?? makeKeys()
    this.certificate = options.certificate ?? makeCertificate()
    this.behaviour = {
      pinned: [this.certificate.spki],
      acks: true,
      receiptAcks: true,
      confirms: 'signed',
      refuse: undefined,
      challengeKey: this.keys.gateway,
      tokenRefusal: undefined,
    }
    this.trustFile = this.#firstFile(options.file ?? {})
    this.trustChain = [sealTrustFile(this.trustFile, [this.keys.root])]
  }

  get joinString(): string {
    return formatJoinString({ token: this.token, rootHash: rootHashOf(this.trustFile.root) })
  }

  get port(): number {
    const address = this.#server?.address() as AddressInfo | undefined
    return address?.port ?? 0
  }

  get url(): string {
    return `https://127.0.0.1:${this.port}`
  }

  get live(): LiveAgent {
    const last = this.sessions.at(-1)
    if (!last) throw new Error('no agent is connected')
    return last
  }

  async start(port = 0): Promise<this> {
    this.#server = createServer({ ...this.certificate, minVersion: 'TLSv1.3' })
    const sockets = new WebSocketServer({
      ...WS_LIMITS,
      server: this.#server,
      path: WIRE.path,
      handleProtocols: () => WIRE.subprotocol,
    })
    sockets.on('connection', (socket, request) => this.#meet(socket, request.socket as TLSSocket))
    await new Promise<void>((resolve) => this.#server?.listen(port, '127.0.0.1', () => resolve()))
    return this
  }

  async stop(): Promise<void> {
    for (const { socket } of this.sessions) socket.terminate()
    this.sessions = []
    this.#server?.closeAllConnections()
    await new Promise<void>((resolve) => {
      if (this.#server) this.#server.close(() => resolve())
      else resolve()
    })
  }

  /** Resolves when `condition` holds; looked at after everything that comes from agents. */
  async until(condition: () => boolean, what = 'the condition', timeoutMs = 10_000): Promise<void> {
    if (condition()) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#listeners.delete(look)
        reject(new Error(`${what} did not come about in ${timeoutMs} ms`))
      }, timeoutMs)
      const look = () => {
        if (!condition()) return
        clearTimeout(timer)
        this.#listeners.delete(look)
        resolve()
      }
      this.#listeners.add(look)
    })
  }

  /** The next trust file, signed by the root. */
  rotate(change: Partial<TrustFile>): Envelope {
    this.trustFile = { ...this.trustFile, ...change, version: this.trustFile.version + 1 }
    const envelope = sealTrustFile(this.trustFile, [this.keys.root])
    this.trustChain.push(envelope)
    return envelope
  }

  command(
    type: CommandType,
    args: object,
    change: Partial<Command> = {},
    key: SigningKey = this.keys.command,
  ): Uint8Array {
    const { agentId, session, startedAt } = this.live
    this.#seq = change.seq ?? this.#seq + 1
    const command: Command = {
      v: 1,
      cmd_id: uuidv7(Date.now()),
      deployment_id: this.trustFile.deployment_id,
      agent_id: agentId,
      session,
      lease: 1,
      seq: this.#seq,
      trust_version: this.trustFile.version,
      issued_at: new Date().toISOString(),
      ttl_s: 300,
      issued_mono_ms: performance.now() - startedAt,
      type,
      args: args as Command['args'],
      reason: { text: 'test' },
      actor: 'user:test',
      ...change,
    }
    return Buffer.from(JSON.stringify(seal(COMMAND_PAYLOAD_TYPE, Buffer.from(JSON.stringify(command)), [key])))
  }

  sendCommand(envelope: Uint8Array): void {
    this.live.socket.send(encodeCommand(envelope))
  }

  send(message: ControllerMessage): void {
    this.live.socket.send(encodeControl(message))
  }

  #firstFile(change: Partial<TrustFile>): TrustFile {
    return {
      v: 1,
      deployment_id: this.deploymentId,
      version: 1,
      issued_at: new Date().toISOString(),
      expires_at: new Date(Date.now() + 86_400_000).toISOString(),
      root: { threshold: 1, keys: [publicKeyText(this.keys.root)] },
      keys: [
        { public_key: publicKeyText(this.keys.gateway), roles: ['gateway'], types: [] },
        {
          public_key: publicKeyText(this.keys.command),
          roles: ['command'],
          types: ['isolate-host', 'release-host', 'kill-process'],
        },
      ],
      revoked: [],
      dual_types: [],
      controllers: ['127.0.0.1:1'],
      tls_spki_sha256: [...this.behaviour.pinned],
      ...change,
    }
  }

  #meet(socket: WebSocket, tls: TLSSocket): void {
    this.connections++
    const channel = tls.exportKeyingMaterial(CHANNEL_BYTES, CHANNEL_LABEL, Buffer.alloc(0))
    let take: ((frame: Buffer) => void) | undefined
    const inbox: Buffer[] = []
    socket.on('message', (data: Buffer) => {
      if (take) take(data)
      else inbox.push(data)
    })
    const next = () =>
      new Promise<{ raw: Uint8Array; message: AgentMessage }>((resolve) => {
        take = (frame) => {
          take = undefined
          const opened = messageOf(frame)
          this.preAuth.push(Buffer.from(opened.raw))
          resolve(opened)
        }
        const waiting = inbox.shift()
        if (waiting) take(waiting)
      })
    socket.on('error', () => undefined)
    void this.#handshake(socket, channel, next, (live) => {
      take = (frame) => {
        this.#hear(live, frame)
        for (const listener of this.#listeners) listener()
      }
      for (const frame of inbox.splice(0)) take(frame)
    })
  }

  async #handshake(
    socket: WebSocket,
    channel: Uint8Array,
    next: () => Promise<{ raw: Uint8Array; message: AgentMessage }>,
    begin: (live: LiveAgent) => void,
  ): Promise<void> {
    const { raw: helloRaw, message: hello } = await next()
    if (this.behaviour.refuse !== undefined) {
      socket.send(encodeControl({ t: 'refused', code: this.behaviour.refuse, why: 'as the test wants' }))
      return
    }
    const serverNonce = randomBytes(32)
    const serverTime = new Date().toISOString()
    const parts = { hello: helloRaw, serverNonce, serverTime, channel }
    const key = this.behaviour.challengeKey
    const signed = (purpose: 'enrol' | 'session', handed: unknown) => ({
      nonce: encodeBase64(serverNonce),
      server_time: serverTime,
      keyid: key.kid,
      sig: encodeBase64(key.sign(challengeMessage(purpose, parts, digest(Buffer.from(JSON.stringify(handed)))))),
    })
    if (hello.t === 'enrol_hello') {
      const trust = this.trustChain.at(-1)
      if (!trust) return
      const challenge: ControllerMessage = { t: 'enrol_challenge', trust, ...signed('enrol', trust) }
      socket.send(encodeControl(challenge))
      const { message } = await next()
      if (message.t === 'enrol_request')
        socket.send(
          encodeControl(
            this.#enrol(message, { hello: helloRaw, challenge: Buffer.from(JSON.stringify(challenge)), channel }),
          ),
        )
      return
    }
    if (hello.t !== 'hello') return
    const updates = this.trustChain.slice(hello.trust_version)
    const challenge: ControllerMessage = { t: 'challenge', trust_updates: updates, ...signed('session', updates) }
    socket.send(encodeControl(challenge))
    const { raw: proofRaw, message: proof } = await next()
    const challengeRaw = Buffer.from(JSON.stringify(challenge))
    const publicKey = this.agents.get(hello.agent_id)
    const said = proofMessage(helloRaw, challengeRaw, channel)
    if (
      proof.t !== 'proof' ||
      !publicKey ||
      !verifierOf(publicKey)?.(said, decodeBase64(proof.sig) ?? new Uint8Array())
    ) {
      socket.send(
        encodeControl({ t: 'refused', code: publicKey ? 'bad_signature' : 'unknown_agent', why: 'not known' }),
      )
      return
    }
    const session = sessionOf(helloRaw, challengeRaw, proofRaw)
    const live: LiveAgent = { agentId: hello.agent_id, session, hello, socket, startedAt: performance.now() }
    const cursors = [...this.cursors].map(([place, seq]) => {
      const [name, epoch] = place.split('|')
      const chain = this.#chains.get(`${place}|${seq}`)
      return { class: name as EventClass, epoch: epoch ?? '', seq, ...(chain === undefined ? {} : { chain }) }
    })
    const { credit } = this.behaviour
    socket.send(
      encodeControl({ t: 'welcome', session, cursors, receipt_seq: this.#receiptSeq, ...(credit ? { credit } : {}) }),
    )
    this.sessions.push(live)
    socket.on('close', () => {
      this.sessions = this.sessions.filter((other) => other !== live)
      for (const listener of this.#listeners) listener()
    })
    begin(live)
    for (const listener of this.#listeners) listener()
  }

  #enrol(
    request: Message<'enrol_request'>,
    parts: { readonly hello: Uint8Array; readonly challenge: Uint8Array; readonly channel: Uint8Array },
  ): ControllerMessage {
    if (this.behaviour.tokenRefusal !== undefined)
      return { t: 'refused', code: this.behaviour.tokenRefusal, why: 'as the test wants' }
    const publicKey = decodeBase64(request.public_key) ?? new Uint8Array()
    const whole = { ...parts, publicKey, facts: request.facts }
    if (request.token_id !== tokenIdOf(this.token))
      return { t: 'refused', code: 'bad_token', why: 'there is no such token' }
    if (!isEnrolProof(tokenKeyOf(this.token), whole, decodeBase64(request.proof) ?? new Uint8Array()))
      return { t: 'refused', code: 'bad_proof', why: 'the proof does not hold' }
    if (!verifierOf(publicKey)?.(enrolMessage(whole), decodeBase64(request.sig) ?? new Uint8Array()))
      return { t: 'refused', code: 'bad_signature', why: 'the signature does not hold' }
    const agentId = agentIdOf(publicKey)
    this.agents.set(agentId, publicKey)
    return { t: 'enrolled', agent_id: agentId }
  }

  #hear(live: LiveAgent, data: Buffer): void {
    const frame = decodeFrame(data)
    if (!frame.ok) throw new Error(frame.why)
    const publicKey = this.agents.get(live.agentId) ?? new Uint8Array()
    if (frame.value.kind === 'batch') {
      this.frames.push('batch')
      const { header, headerBytes, body, signature } = frame.value.batch
      if (!verifierOf(publicKey)?.(batchMessage(live.session, headerBytes, body), signature))
        throw new Error('batch signature')
      const lines = batchLines(frame.value.batch)
      if (!lines.ok) throw new Error(lines.why)
      const place = `${header.class}|${header.epoch}`
      let line = 0
      for (const seq of batchSequence(header)) {
        const text = (JSON.parse(Buffer.from(lines.value[line++] ?? []).toString()) as Event).message ?? ''
        this.stored.set(`${place}|${seq}`, text)
      }
      for (const gap of header.gaps)
        for (let seq = gap.from; seq <= gap.to; seq++) this.stored.set(`${place}|${seq}`, gap.reason)
      this.cursors.set(place, Math.max(this.cursors.get(place) ?? 0, header.last_seq))
      this.#chains.set(`${place}|${header.last_seq}`, header.chain)
      if (this.behaviour.acks)
        live.socket.send(encodeControl({ t: 'ack', epoch: header.epoch, class: header.class, seq: header.last_seq }))
      return
    }
    const { message } = messageOf(data)
    this.frames.push(message.t)
    if (message.t === 'status') this.statuses.push(message)
    else if (message.t === 'receipt') this.#takeReceipt(live, message.envelope, publicKey)
    else if (message.t === 'confirm') this.#confirm(live, message.nonce)
  }

  #takeReceipt(live: LiveAgent, envelope: Envelope, publicKey: Uint8Array): void {
    const opened = open(envelope, RECEIPT_PAYLOAD_TYPE, () => verifierOf(publicKey))
    if (!opened.ok) throw new Error(`receipt: ${opened.why}`)
    const receipt = JSON.parse(Buffer.from(opened.value.payload).toString()) as Receipt
    this.receipts.push(receipt)
    if (!this.behaviour.receiptAcks) return
    this.#receiptSeq = Math.max(this.#receiptSeq, receipt.receipt_seq)
    live.socket.send(encodeControl({ t: 'receipt_ack', receipt_seq: receipt.receipt_seq }))
  }

  #confirm(live: LiveAgent, nonce: string): void {
    if (this.behaviour.confirms === 'silent') return
    const key = this.behaviour.confirms === 'signed' ? this.keys.gateway : this.keys.command
    const sig = encodeBase64(key.sign(confirmMessage(live.session, decodeBase64(nonce) ?? new Uint8Array())))
    live.socket.send(encodeControl({ t: 'confirmed', nonce, keyid: this.keys.gateway.kid, sig }))
  }
}

function messageOf(data: Buffer): { raw: Uint8Array; message: AgentMessage } {
  const frame = decodeFrame(data)
  if (!frame.ok || frame.value.kind !== 'control') throw new Error('not a control frame')
  const parsed = parseAgentMessage(frame.value.bytes)
  if (!parsed.ok) throw new Error(parsed.why)
  return { raw: frame.value.bytes, message: parsed.value }
}

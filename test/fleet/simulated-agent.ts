/**
 * A host without a host: speaks the real protocol, keeps its spool in memory, and can be made to misbehave. For fault tests and loads,
 * where a real agent would cost too much; what real agents do is tested with real agents.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import {
  COMMAND_PAYLOAD_TYPE,
  type Command,
  RECEIPT_PAYLOAD_TYPE,
  type Receipt,
} from '@firebreak/shared/commands/command.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type AgentId, agentIdOf } from '@firebreak/shared/ids.ts'
import { Fault } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { type Envelope, open, parseEnvelope, seal } from '@firebreak/shared/trust/dsse.ts'
import { generateSeed, type SigningKey, signingKeyOf } from '@firebreak/shared/trust/ed25519.ts'
import {
  CHANNEL_BYTES,
  CHANNEL_LABEL,
  challengeMessage,
  confirmMessage,
  digest,
  enrolMessage,
  enrolProof,
  proofMessage,
  sessionOf,
} from '@firebreak/shared/trust/handshake.ts'
import { parseJoinString, tokenIdOf, tokenKeyOf } from '@firebreak/shared/trust/join-string.ts'
import { followTrustFile, openTrustFile, type Trust } from '@firebreak/shared/trust/trust-file.ts'
import { type Gap, decodeFrame, encodeBatch, encodeControl } from '@firebreak/shared/wire/frame.ts'
import { WIRE, WS_LIMITS } from '@firebreak/shared/wire/limits.ts'
import {
  type AgentMessage,
  type ControllerMessage,
  type Credit,
  type HostFacts,
  parseControllerMessage,
  type StreamCount,
} from '@firebreak/shared/wire/messages.ts'
import { WebSocket } from 'ws'

/** The controller said no. */
export class Refused extends Error {
  readonly code: string
  readonly retryAfterS: number | undefined
  constructor(code: string, why: string, retryAfterS?: number) {
    super(`${code}: ${why}`)
    this.code = code
    this.retryAfterS = retryAfterS
  }
}

export interface Controller {
  readonly host: string
  readonly port: number
}

interface Item {
  readonly seq: number
  /** `undefined`: lost, told by a gap. */
  readonly line: Uint8Array | undefined
}

interface Stream {
  readonly epoch: string
  produced: number
  acked: number
  dropped: number
  sent: number
  items: Item[]
}

const ZEROS = '0'.repeat(64)
const NO_CEILING = createHash('sha256').digest('hex')

export class SimulatedAgent {
  readonly key: SigningKey
  readonly agentId: AgentId
  readonly facts: HostFacts
  trust: Trust | undefined
  session: string | undefined
  /** Acks seen, newest last: what the controller promised. */
  readonly acks: { readonly epoch: string; readonly class: EventClass; readonly seq: number }[] = []
  readonly commands: Command[] = []
  closeCode: number | undefined
  /** As the controller said last. */
  credit: Credit | undefined
  /** Does as if it had never heard of credit. */
  greedy = false
  /** Called for each command whose signature held. */
  onCommand: (command: Command, payloadSha256: string) => void = () => undefined
  batchEvents = 200
  readonly #streams = new Map<EventClass, Stream>()
  readonly #receipts: { readonly seq: number; readonly envelope: Envelope }[] = []
  readonly #waiting = new Map<string, (message: ControllerMessage) => void>()
  #receiptSeq = 0
  #receiptHash = ZEROS
  #receiptAcked = 0
  #command = { lease: 0, seq: 0 }
  #socket: WebSocket | undefined
  #inFlight: { readonly events: number; readonly bytes: number }[] = []
  #closed: Promise<void> = Promise.resolve()

  constructor(hostname: string, seed: Uint8Array = generateSeed()) {
    this.key = signingKeyOf(seed)
    this.agentId = agentIdOf(this.key.publicKey)
    this.facts = {
      hostname,
      os: 'linux',
      architecture: 'x64',
      addresses: ['192.0.2.1'],
      agent_version: '0.0.0-simulated',
    }
  }

  /** Joins; throws `Refused` with the controller's code, or a Fault when the controller is not believed. */
  async enrol(controller: Controller, joinString: string): Promise<void> {
    const join = parseJoinString(joinString)
    if (!join.ok) throw new Fault(join.code, join.why)
    const channel = await connect(controller)
    try {
      const hello = channel.send({ t: 'enrol_hello', v: 1, nonce: encodeBase64(randomBytes(32)) })
      const { message: challenge, raw } = await channel.next('enrol_challenge')
      const trust = openTrustFile(challenge.trust, join.value.rootHash)
      if (!trust.ok) throw new Fault(trust.code, trust.why)
      if (!trust.value.file.tls_spki_sha256.includes(channel.spki)) throw new Fault('wrong_certificate', 'not pinned')
      checkChallenge('enrol', trust.value, challenge, hello, channel.binding, challenge.trust)
      const parts = {
        hello,
        challenge: raw,
        channel: channel.binding,
        publicKey: this.key.publicKey,
        facts: this.facts,
      }
      channel.send({
        t: 'enrol_request',
        token_id: tokenIdOf(join.value.token),
        public_key: encodeBase64(this.key.publicKey),
        facts: this.facts,
        proof: encodeBase64(enrolProof(tokenKeyOf(join.value.token), parts)),
        sig: encodeBase64(this.key.sign(enrolMessage(parts))),
      })
      await channel.next('enrolled')
      this.trust = trust.value
    } finally {
      channel.socket.terminate()
    }
  }

  /** Opens a session and starts sending what the spool holds. */
  async connect(controller: Controller): Promise<void> {
    if (!this.trust) throw new Fault('not_enrolled', 'enrol first')
    const channel = await connect(controller)
    try {
      const hello = channel.send({
        t: 'hello',
        v: 1,
        agent_id: this.agentId,
        nonce: encodeBase64(randomBytes(32)),
        boot_id: 'simulated',
        trust_version: this.trust.file.version,
        facts: this.facts,
        command: this.#command,
        receipt_seq: this.#receiptSeq,
        streams: this.counts(),
      })
      const { message: challenge, raw } = await channel.next('challenge')
      for (const update of challenge.trust_updates) {
        const followed = followTrustFile(this.trust, update)
        if (!followed.ok) throw new Fault(followed.code, followed.why)
        this.trust = followed.value
      }
      if (!this.trust.file.tls_spki_sha256.includes(channel.spki)) throw new Fault('wrong_certificate', 'not pinned')
      checkChallenge('session', this.trust, challenge, hello, channel.binding, challenge.trust_updates)
      const proof = channel.send({
        t: 'proof',
        sig: encodeBase64(this.key.sign(proofMessage(hello, raw, channel.binding))),
      })
      const { message: welcome } = await channel.next('welcome')
      this.session = sessionOf(hello, raw, proof)
      if (welcome.session !== this.session) throw new Fault('wrong_session', 'the controller names another session')
      this.#adopt(channel, welcome)
    } catch (thrown) {
      channel.socket.terminate()
      throw thrown
    }
  }

  isConnected(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  /** Resolves when the connection is gone; `closeCode` says how. */
  closed(): Promise<void> {
    return this.#closed
  }

  disconnect(): void {
    this.#socket?.terminate()
  }

  produce(eventClass: EventClass, event: Event): void {
    const stream = this.#stream(eventClass)
    stream.items.push({ seq: ++stream.produced, line: Buffer.from(JSON.stringify(event)) })
  }

  /** Something that is no event, or no JSON at all, takes a number of its own. */
  produceRaw(eventClass: EventClass, line: Uint8Array): void {
    const stream = this.#stream(eventClass)
    stream.items.push({ seq: ++stream.produced, line })
  }

  lose(eventClass: EventClass, count: number): void {
    const stream = this.#stream(eventClass)
    for (let i = 0; i < count; i++) stream.items.push({ seq: ++stream.produced, line: undefined })
    stream.dropped += count
  }

  /** Sends what the window allows; acks send more. */
  flush(): void {
    for (const [eventClass, stream] of this.#streams) {
      while (this.isConnected() && this.#inFlight.length < WIRE.maxBatchesInFlight && this.#hasCredit()) {
        // Numbers have no holes, so the place of one in the spool is known.
        const from = stream.sent - stream.acked
        const items = stream.items.slice(from, from + this.batchEvents)
        const first = items[0]
        const last = items.at(-1)
        if (!first || !last) break
        const bytes = this.sendBatch(eventClass, items)
        stream.sent = last.seq
        this.#inFlight.push({ events: items.length, bytes })
      }
    }
  }

  #hasCredit(): boolean {
    const { credit } = this
    if (this.greedy || credit === undefined || this.#inFlight.length === 0) return true
    const sum = (of: 'events' | 'bytes') => this.#inFlight.reduce((total, batch) => total + batch[of], 0)
    return sum('events') < credit.events && sum('bytes') < credit.bytes
  }

  /** Returns the bytes of the frame. */
  sendBatch(
    eventClass: EventClass,
    items: readonly Item[],
    sign = (message: Uint8Array) => this.key.sign(message),
  ): number {
    const stream = this.#stream(eventClass)
    const lines = items.flatMap(({ line }) => (line ? [line] : []))
    const gaps: Gap[] = []
    for (const { seq, line } of items) {
      if (line) continue
      const open = gaps.at(-1)
      if (open?.to === seq - 1) open.to = seq
      else gaps.push({ from: seq, to: seq, reason: 'collector_overflow' })
    }
    const header = {
      epoch: stream.epoch,
      class: eventClass,
      first_seq: items[0]?.seq ?? 1,
      last_seq: items.at(-1)?.seq ?? 1,
      count: lines.length,
      body_bytes: lines.reduce((sum, line) => sum + line.length + 1, 0),
      gaps,
    }
    const frame = encodeBatch(header, lines, this.session ?? '', sign)
    this.sendFrame(frame)
    return frame.length
  }

  counts(): StreamCount[] {
    return [...this.#streams].map(([eventClass, stream]) => ({
      epoch: stream.epoch,
      class: eventClass,
      produced: stream.produced,
      spooled: stream.items.filter(({ line }) => line !== undefined).length,
      dropped: stream.dropped,
    }))
  }

  /** Nothing waits for an ack. */
  isDrained(): boolean {
    return [...this.#streams.values()].every((stream) => stream.items.length === 0)
  }

  sendStatus(streams: readonly StreamCount[] = this.counts()): void {
    this.send({
      t: 'status',
      streams: [...streams],
      collectors: [],
      containment: { phase: 'none', drift_count: 0 },
      ceiling_sha256: NO_CEILING,
    })
  }

  /** A signed, chained answer to a command; sent now, and again after each connection until it is acked. */
  answer(command: Command, payloadSha256: string, state: Receipt['state'], more: Partial<Receipt> = {}): void {
    const receipt: Receipt = {
      v: 1,
      agent_id: this.agentId,
      receipt_seq: ++this.#receiptSeq,
      prev_sha256: this.#receiptHash,
      cmd_id: command.cmd_id,
      command_sha256: payloadSha256,
      type: command.type,
      state,
      boot_id: 'simulated',
      mono_ms: 1,
      time: new Date().toISOString(),
      ...more,
    }
    const payload = Buffer.from(JSON.stringify(receipt))
    this.#receiptHash = createHash('sha256').update(payload).digest('hex')
    const envelope = seal(RECEIPT_PAYLOAD_TYPE, payload, [this.key])
    this.#receipts.push({ seq: this.#receiptSeq, envelope })
    if (this.isConnected()) this.send({ t: 'receipt', envelope })
  }

  /** The next receipt number is never used: as if one had been lost. */
  skipReceipt(): void {
    this.#receiptSeq++
  }

  receiptsAcked(): number {
    return this.#receiptAcked
  }

  /** A signed round trip; throws when the answer is not signed by the gateway. */
  async confirm(): Promise<void> {
    const nonce = randomBytes(32)
    const text = encodeBase64(nonce)
    const answered = new Promise<ControllerMessage>((resolve) => this.#waiting.set(text, resolve))
    this.send({ t: 'confirm', nonce: text })
    const answer = await answered
    if (answer.t !== 'confirmed') throw new Fault('unexpected', answer.t)
    const verifier = this.trust?.keyFor(answer.keyid, 'gateway', Date.now())
    if (!verifier?.(confirmMessage(this.session ?? '', nonce), decodeBase64(answer.sig) ?? new Uint8Array()))
      throw new Fault('bad_signature', 'the confirmation is not the gateway’s')
  }

  send(message: AgentMessage): void {
    this.sendFrame(encodeControl(message))
  }

  sendFrame(frame: Uint8Array): void {
    if (this.isConnected()) this.#socket?.send(frame)
  }

  /** The socket itself, to break the rules with. */
  get socket(): WebSocket | undefined {
    return this.#socket
  }

  #adopt(channel: Channel, welcome: Extract<ControllerMessage, { t: 'welcome' }>): void {
    const { socket } = channel
    this.#socket = socket
    this.#inFlight = []
    this.credit = welcome.credit
    this.closeCode = undefined
    this.#closed = new Promise((resolve) => {
      socket.once('close', (code: number) => {
        this.closeCode = code
        resolve()
      })
    })
    for (const stream of this.#streams.values()) stream.sent = stream.acked
    for (const cursor of welcome.cursors) this.#acked(cursor)
    this.#receiptAcked = welcome.receipt_seq
    for (const early of channel.take()) this.#hear(early)
    socket.on('message', (data: Buffer) => this.#hear(data))
    for (const { seq, envelope } of this.#receipts) if (seq > welcome.receipt_seq) this.send({ t: 'receipt', envelope })
    this.flush()
  }

  #hear(data: Uint8Array): void {
    const frame = decodeFrame(data)
    if (!frame.ok) throw new Fault(frame.code, frame.why)
    if (frame.value.kind === 'command') {
      this.#obey(frame.value.envelope)
      return
    }
    if (frame.value.kind !== 'control') throw new Fault('malformed', frame.value.kind)
    const parsed = parseControllerMessage(frame.value.bytes)
    if (!parsed.ok) throw new Fault(parsed.code, parsed.why)
    const message = parsed.value
    if (message.t === 'ack') {
      this.acks.push(message)
      this.#inFlight.shift()
      this.#acked(message)
      this.flush()
    } else if (message.t === 'receipt_ack') this.#receiptAcked = Math.max(this.#receiptAcked, message.receipt_seq)
    else if (message.t === 'credit') {
      this.credit = message.credit
      this.flush()
    } else if (message.t === 'confirmed') this.#waiting.get(message.nonce)?.(message)
  }

  #obey(bytes: Uint8Array): void {
    const envelope = parseEnvelope(bytes)
    if (!envelope.ok) throw new Fault(envelope.code, envelope.why)
    const { payload } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Envelope
    const command = JSON.parse(Buffer.from(payload, 'base64').toString('utf8')) as Command
    const opened = open(envelope.value, COMMAND_PAYLOAD_TYPE, (kid) =>
      this.trust?.keyFor(kid, 'command', Date.now(), command.type),
    )
    if (!opened.ok) throw new Fault(opened.code, opened.why)
    if (command.session !== this.session || command.agent_id !== this.agentId || command.seq <= this.#command.seq)
      throw new Fault('bad_command', 'not for this connection')
    this.#command = { lease: command.lease, seq: command.seq }
    this.commands.push(command)
    this.onCommand(command, createHash('sha256').update(opened.value.payload).digest('hex'))
  }

  #acked({ epoch, class: eventClass, seq }: { epoch: string; class: EventClass; seq: number }): void {
    const stream = this.#streams.get(eventClass)
    if (!stream || stream.epoch !== epoch || seq <= stream.acked) return
    stream.items.splice(0, seq - stream.acked)
    stream.acked = seq
    stream.sent = Math.max(stream.sent, seq)
  }

  #stream(eventClass: EventClass): Stream {
    let stream = this.#streams.get(eventClass)
    if (!stream) {
      stream = { epoch: randomUUID(), produced: 0, acked: 0, dropped: 0, sent: 0, items: [] }
      this.#streams.set(eventClass, stream)
    }
    return stream
  }
}

export interface Channel {
  readonly socket: WebSocket
  readonly binding: Uint8Array
  readonly spki: string
  /** Returns the raw bytes that both sides digest. */
  send(message: AgentMessage): Uint8Array
  next<T extends ControllerMessage['t']>(
    t: T,
  ): Promise<{ readonly message: Extract<ControllerMessage, { t: T }>; readonly raw: Uint8Array }>
  /** What came and was not asked for by `next`; ends the collecting. */
  take(): readonly Uint8Array[]
}

/** A WebSocket that has proved nothing yet. */
export async function connect({ host, port }: Controller): Promise<Channel> {
  const tls = await new Promise<TLSSocket>((resolve, reject) => {
    // The certificate is checked by its key against the trust file, as agents do.
    const socket = tlsConnect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' }, () => resolve(socket))
    socket.once('error', reject)
  })
  const certificate = tls.getPeerX509Certificate()
  const spki = createHash('sha256')
    .update(certificate?.publicKey.export({ type: 'spki', format: 'der' }) ?? '')
    .digest('base64')
  const binding = tls.exportKeyingMaterial(CHANNEL_BYTES, CHANNEL_LABEL, Buffer.alloc(0))
  const socket = new WebSocket(`wss://${host}:${port}${WIRE.path}`, [WIRE.subprotocol], {
    ...WS_LIMITS,
    createConnection: () => tls,
  })
  socket.binaryType = 'nodebuffer'
  const inbox: Uint8Array[] = []
  let wake: (() => void) | undefined
  let gone: Error | undefined
  const hear = (data: Buffer) => {
    inbox.push(data)
    wake?.()
  }
  socket.on('message', hear)
  const end = (why: Error) => {
    gone ??= why
    wake?.()
  }
  socket.on('error', end)
  socket.on('close', (code: number) => end(new Refused(`closed_${code}`, 'the connection was closed')))
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('close', () => reject(gone ?? new Error('closed')))
  })
  return {
    socket,
    binding,
    spki,
    send(message) {
      socket.send(encodeControl(message))
      return Buffer.from(JSON.stringify(message))
    },
    async next(t) {
      while (inbox.length === 0) {
        if (gone) throw gone
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      const frame = decodeFrame(inbox.shift() ?? new Uint8Array())
      if (!frame.ok || frame.value.kind !== 'control') throw new Fault('malformed', 'not a control message')
      const parsed = parseControllerMessage(frame.value.bytes)
      if (!parsed.ok) throw new Fault(parsed.code, parsed.why)
      if (parsed.value.t === 'refused')
        throw new Refused(parsed.value.code, parsed.value.why, parsed.value.retry_after_s)
      if (parsed.value.t !== t) throw new Fault('unexpected', parsed.value.t)
      return { message: parsed.value as never, raw: frame.value.bytes }
    },
    take() {
      socket.off('message', hear)
      return inbox.splice(0)
    },
  }
}

function checkChallenge(
  purpose: 'enrol' | 'session',
  trust: Trust,
  challenge: { nonce: string; server_time: string; keyid: string; sig: string },
  hello: Uint8Array,
  channel: Uint8Array,
  handed: unknown,
): void {
  const said = challengeMessage(
    purpose,
    {
      hello,
      serverNonce: decodeBase64(challenge.nonce) ?? new Uint8Array(),
      serverTime: challenge.server_time,
      channel,
    },
    digest(Buffer.from(JSON.stringify(handed))),
  )
  const verifier = trust.keyFor(challenge.keyid, 'gateway', Date.now())
  if (!verifier?.(said, decodeBase64(challenge.sig) ?? new Uint8Array()))
    throw new Fault('bad_signature', 'the challenge is not the gateway’s')
}

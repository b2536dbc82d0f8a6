/** One live connection: batches out within a window, acks in, commands in, receipts and confirmations never behind telemetry. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import { EVENT_CLASSES, type EventClass } from '@firebreak/shared/events/classes.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import { confirmMessage } from '@firebreak/shared/trust/handshake.ts'
import { decodeFrame, encodeBatch, encodeControl } from '@firebreak/shared/wire/frame.ts'
import { CLOSE, WIRE } from '@firebreak/shared/wire/limits.ts'
import {
  type AgentMessage,
  type ControllerMessage,
  type Credit,
  parseControllerMessage,
} from '@firebreak/shared/wire/messages.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import type { RawData } from 'ws'
import type { Identity } from '../identity/identity.ts'
import type { TrustStore } from '../identity/trust-store.ts'
import type { Log } from '../log.ts'
import { createTokenBucket, type TokenBucket } from '../token-bucket.ts'
import type { Channel } from './channel.ts'
import type { Session } from './handshake.ts'
import { LINK_LOG } from './log-names.ts'
import { bufferOf } from './mailbox.ts'
import type { Spool } from './spool/spool.ts'

/** Signed receipts on their way; orders holds them on disk until they are acked. */
export interface Outbox {
  /** The controller has everything up to this number. It may be ahead of a disk that went back in time. */
  resume(receiptSeq: number): void
  /** Receipts after this number, in order. */
  after(receiptSeq: number): readonly { readonly seq: number; readonly envelope: Envelope }[]
  acked(receiptSeq: number): void
  onNew(listener: () => void): void
  /** A command came again: what was answered then is sent again. */
  onAgain(listener: (envelopes: readonly Envelope[]) => void): void
}

export interface SessionDeps {
  readonly identity: Identity
  readonly trust: TrustStore
  readonly clock: Clock
  readonly log: Log
  readonly spool: Spool
  readonly outbox: Outbox
  readonly onCommand: (envelope: Uint8Array, session: Session) => void
  readonly onTrust: () => void
  readonly status: () => Extract<AgentMessage, { t: 'status' }>
  readonly statusIntervalMs: number
}

export interface SessionEnd {
  readonly code: number
  readonly why: string
}

const PACES = ['urgent', 'bulk'] as const
type Pace = (typeof PACES)[number]
/**
 * How long events wait for company, ms: a batch costs as much as ten events. Those that may be the start of an attack are urgent and
 * wait for nobody as long as there are few of them; the others do not go along with them, for each class is a batch of its own.
 */
const WAIT_MS: Readonly<Record<Pace, { readonly least: number; readonly most: number }>> = {
  urgent: { least: 0, most: 60 },
  bulk: { least: 50, most: 200 },
}
/** From so many events a second on they wait longer, by a millisecond for each ten more. */
const FEW_PER_S = 40
const WAIT_MS_PER_EVENT_PER_S = 0.1
/** The rate is one over about so long. */
const RATE_MS = 200
const URGENT: ReadonlySet<EventClass> = new Set(['alert', 'process', 'authentication'])
/** Places in the window that only urgent classes may take. */
const RESERVED_FOR_URGENT = 2
const MAX_BUFFERED_BYTES = 256 * KiB
const MAX_EARLY_FRAMES = 64
/** Until the controller says otherwise. */
const FULL_CREDIT: Credit = {
  events: WIRE.maxBatchesInFlight * WIRE.maxBatchEvents,
  bytes: WIRE.maxBatchesInFlight * WIRE.maxFrameBytes,
}
const RECEIPTS_IN_FLIGHT = 32
const RECEIPT_PACE = { burst: 200, perSecond: 40 }

export type Welcome = Pick<Extract<ControllerMessage, { t: 'welcome' }>, 'receipt_seq' | 'credit'>

export class LiveSession {
  readonly session: Session
  readonly channel: Channel
  /** Resolves once, when the connection is gone. */
  readonly ended: Promise<SessionEnd>
  readonly #deps: SessionDeps
  readonly #stop = new AbortController()
  #end: ((end: SessionEnd) => void) | undefined
  #inFlight: { readonly class: EventClass; readonly last: number; readonly events: number; readonly bytes: number }[] =
    []
  #credit: Credit
  #receiptSent: number
  #receiptAcked: number
  readonly #receiptPace: TokenBucket
  #receiptTimer: NodeJS.Timeout | undefined
  #lastHeard: number
  readonly #lastFlush = { urgent: Number.NEGATIVE_INFINITY, bulk: Number.NEGATIVE_INFINITY }
  /** Events since the last flush, and how many there are a second. */
  readonly #appended = { urgent: 0, bulk: 0 }
  readonly #perS = { urgent: 0, bulk: 0 }
  /** When the events of a pace have waited long enough. */
  readonly #due = { urgent: Number.POSITIVE_INFINITY, bulk: Number.POSITIVE_INFINITY }
  /** Paces of which everything that is there may go. */
  readonly #open = { urgent: false, bulk: false }
  #flushTimer: NodeJS.Timeout | undefined
  #flushAt = Number.POSITIVE_INFINITY
  #closeWhy: string | undefined
  /** What came before `start`. */
  #early: Buffer[] | undefined
  readonly #confirms = new Map<string, (answer: Result<void, 'bad_signature'>) => void>()

  /** `early`: frames that came right behind the welcome. From here on nothing is missed, but nothing is handled before `start`. */
  constructor(session: Session, channel: Channel, welcome: Welcome, early: readonly Buffer[], deps: SessionDeps) {
    this.session = session
    this.channel = channel
    this.#deps = deps
    this.#receiptSent = welcome.receipt_seq
    this.#receiptAcked = welcome.receipt_seq
    this.#credit = welcome.credit ?? FULL_CREDIT
    this.#receiptPace = createTokenBucket(deps.clock, RECEIPT_PACE)
    this.#early = [...early]
    this.#lastHeard = deps.clock.monotonic()
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
    const { socket } = channel
    socket.on('message', (data: RawData, isBinary: boolean) => {
      // The boundary of a frame: what is thrown here is trouble of this host, such as a journal that cannot be written.
      this.#guard(() => this.#hear(bufferOf(data), isBinary))
    })
    socket.on('pong', () => {
      this.#lastHeard = deps.clock.monotonic()
    })
    socket.on('close', (code: number, reason: Buffer) =>
      this.#gone(code, this.#closeWhy ?? reason.toString('utf8').slice(0, 256)),
    )
  }

  start(): void {
    this.#loop(WIRE.pingMs, () => this.#beat())
    this.#loop(this.#deps.statusIntervalMs, () => this.sendStatus())
    this.#guard(() => {
      this.sendStatus()
      this.sendReceipts()
    })
    const early = this.#early ?? []
    this.#early = undefined
    for (const frame of early) this.#guard(() => this.#hear(frame, true))
    for (const pace of PACES) this.#flushSoon(pace)
  }

  appended(eventClass: EventClass): void {
    const pace = paceOf(eventClass)
    this.#appended[pace]++
    this.#flushSoon(pace)
  }

  /** In order, a few at a time: a controller closes a connection that says too much at once. */
  sendReceipts(): void {
    for (const { seq, envelope } of this.#deps.outbox.after(this.#receiptSent)) {
      if (seq > this.#receiptAcked + RECEIPTS_IN_FLIGHT) return
      if (!this.#receiptPace.take()) {
        this.#receiptTimer ??= setTimeout(() => {
          this.#receiptTimer = undefined
          this.sendReceipts()
        }, this.#receiptPace.waitMs())
        return
      }
      this.#send({ t: 'receipt', envelope })
      this.#receiptSent = seq
    }
  }

  sendAgain(envelopes: readonly Envelope[]): void {
    for (const envelope of envelopes) this.#send({ t: 'receipt', envelope })
  }

  sendStatus(): void {
    this.#send(this.#deps.status())
  }

  /** Asks for a signed answer to a fresh nonce. Code `unreachable` after `timeoutMs`. */
  async confirm(timeoutMs: number): Promise<Result<void, 'unreachable' | 'bad_signature'>> {
    const nonce = encodeBase64(randomBytes(32))
    const waiting = new AbortController()
    const answer = new Promise<Result<void, 'bad_signature'>>((resolve) => this.#confirms.set(nonce, resolve))
    const late = this.#deps.clock
      .sleep(timeoutMs, AbortSignal.any([waiting.signal, this.#stop.signal]))
      .catch(() => undefined)
      .then(() => refuse('unreachable', `no signed answer within ${timeoutMs} ms`))
    this.#send({ t: 'confirm', nonce })
    try {
      return await Promise.race([answer, late])
    } finally {
      this.#confirms.delete(nonce)
      waiting.abort()
    }
  }

  /** Says goodbye and waits for nobody. */
  close(code: number, why: string): void {
    this.#closeWhy = why
    this.channel.socket.close(code, why.slice(0, 100))
    // A peer that does not answer the close is cut off; ws itself would wait 30 s.
    setTimeout(() => this.channel.socket.terminate(), 1_000).unref()
  }

  terminate(why: string): void {
    this.#closeWhy = why
    this.channel.socket.terminate()
  }

  #gone(code: number, why: string): void {
    this.#stop.abort()
    clearTimeout(this.#flushTimer)
    clearTimeout(this.#receiptTimer)
    this.#end?.({ code, why })
    this.#end = undefined
  }

  #hear(data: Buffer, isBinary: boolean): void {
    this.#lastHeard = this.#deps.clock.monotonic()
    if (this.#early && isBinary) {
      if (this.#early.push(data) > MAX_EARLY_FRAMES) this.#reject('malformed', 'too much at once')
      return
    }
    const frame = isBinary ? decodeFrame(data) : refuse('malformed', 'a text message')
    if (!frame.ok) this.#reject(frame.code, frame.why)
    else if (frame.value.kind === 'command') this.#deps.onCommand(frame.value.envelope, this.session)
    else if (frame.value.kind === 'batch') this.#reject('malformed', 'a batch from a controller')
    else {
      const message = parseControllerMessage(frame.value.bytes)
      if (message.ok) this.#handle(message.value)
      else this.#reject(message.code, message.why)
    }
  }

  #handle(message: ControllerMessage): void {
    switch (message.t) {
      case 'ack':
        this.#acked(message)
        return
      case 'credit':
        this.#credit = message.credit
        this.#pump()
        return
      case 'receipt_ack':
        if (message.receipt_seq > this.#receiptSent) this.#reject('malformed', 'an ack of a receipt that was not sent')
        else this.#receiptTaken(message.receipt_seq)
        return
      case 'confirmed':
        this.#confirmed(message)
        return
      case 'trust_update':
        this.#follow(message.envelope)
        return
      case 'refused':
        this.close(CLOSE.refused, `${message.code}: ${message.why}`)
        return
      case 'challenge':
      case 'enrol_challenge':
      case 'enrolled':
      case 'welcome':
        this.#reject('malformed', `a ${message.t} inside a session`)
        return
      default:
        throw new TypeError(`unhandled message ${JSON.stringify(message satisfies never)}`)
    }
  }

  #acked(ack: Extract<ControllerMessage, { t: 'ack' }>): void {
    if (!this.#deps.spool.ack(ack)) {
      this.#reject('malformed', `an ack of ${ack.class} ${ack.seq}, which was not sent`)
      return
    }
    this.#inFlight = this.#inFlight.filter((batch) => batch.class !== ack.class || batch.last > ack.seq)
    this.#pump()
  }

  #receiptTaken(receiptSeq: number): void {
    this.#receiptAcked = Math.max(this.#receiptAcked, receiptSeq)
    this.#deps.outbox.acked(receiptSeq)
    this.sendReceipts()
  }

  #confirmed({ nonce, keyid, sig }: Extract<ControllerMessage, { t: 'confirmed' }>): void {
    const resolve = this.#confirms.get(nonce)
    if (!resolve) return // came after its time
    const isGateway = this.#deps.trust.current().keyFor(keyid, 'gateway', this.#deps.clock.now())
    const said = confirmMessage(this.session.id, decodeBase64(nonce) ?? new Uint8Array())
    const holds = isGateway?.(said, decodeBase64(sig) ?? new Uint8Array()) === true
    resolve(holds ? ok() : refuse('bad_signature', 'the answer is not signed by a gateway key'))
  }

  #follow(envelope: Envelope): void {
    const { trust, log } = this.#deps
    const followed = trust.follow(envelope)
    if (!followed.ok) {
      log.error(LINK_LOG.trustRefused, { code: followed.code, reason: followed.why })
      return
    }
    log.info(LINK_LOG.trustFollowed, { version: followed.value.file.version })
    this.#deps.onTrust()
    if (!followed.value.file.tls_spki_sha256.includes(this.channel.spki))
      this.terminate('the newest trust file does not pin the key of this connection any more')
  }

  /** The first after a pause goes at once; those that follow closely wait for each other. */
  #flushSoon(pace: Pace): void {
    const now = performance.now()
    const at = Math.max(now, this.#lastFlush[pace] + this.#waitMs(pace))
    if (at >= this.#due[pace] || this.#stop.signal.aborted) return
    this.#due[pace] = at
    this.#arm(now)
  }

  #waitMs(pace: Pace): number {
    const { least, most } = WAIT_MS[pace]
    return Math.min(most, Math.max(least, (this.#perS[pace] - FEW_PER_S) * WAIT_MS_PER_EVENT_PER_S))
  }

  #arm(now: number): void {
    const at = Math.min(this.#due.urgent, this.#due.bulk)
    if (at >= this.#flushAt) return
    clearTimeout(this.#flushTimer)
    this.#flushAt = at
    this.#flushTimer = setTimeout(() => this.#flush(), at - now)
  }

  #flush(): void {
    // A timer may fire some tenths of a millisecond before its time.
    const now = performance.now()
    this.#flushAt = Number.POSITIVE_INFINITY
    for (const pace of PACES) {
      if (this.#due[pace] > now + 1) continue
      this.#due[pace] = Number.POSITIVE_INFINITY
      this.#rate(pace, now)
      this.#lastFlush[pace] = now
      this.#open[pace] = true
    }
    this.#guard(() => this.#deps.spool.flush())
    this.#pump()
    if (Math.min(this.#due.urgent, this.#due.bulk) < Number.POSITIVE_INFINITY) this.#arm(now)
  }

  #rate(pace: Pace, now: number): void {
    const sinceMs = now - this.#lastFlush[pace]
    const perS = (this.#appended[pace] * 1_000) / Math.max(1, sinceMs)
    this.#perS[pace] += (perS - this.#perS[pace]) * (1 - Math.exp(-Math.max(1, sinceMs) / RATE_MS))
    this.#appended[pace] = 0
  }

  #pump(): void {
    this.#guard(() => this.#sendBatches())
  }

  #guard(work: () => void): void {
    try {
      work()
    } catch (thrown) {
      this.#broken(thrown)
    }
  }

  /** Told, and tried again with the next connection. */
  #broken(thrown: unknown): void {
    this.#deps.log.error(LINK_LOG.failed, { reason: reasonOf(thrown) })
    this.terminate('the agent could not go on with this connection')
  }

  #sendBatches(): void {
    while (this.channel.socket.bufferedAmount < MAX_BUFFERED_BYTES && !this.#stop.signal.aborted && this.#hasCredit()) {
      const free = WIRE.maxBatchesInFlight - this.#inFlight.length
      const allowed = EVENT_CLASSES.filter(
        (name) => this.#open[paceOf(name)] && free > (URGENT.has(name) ? 0 : RESERVED_FOR_URGENT),
      )
      const batch = allowed.reduce<ReturnType<Spool['next']>>(
        (found, name) => found ?? this.#deps.spool.next(name),
        undefined,
      )
      if (!batch) {
        // What comes from here on waits for its time again.
        if (free > 0) this.#open.urgent = false
        if (free > RESERVED_FOR_URGENT) this.#open.bulk = false
        return
      }
      const { header, lines } = batch
      const bytes = encodeBatch(header, lines, this.session.id, (message) => this.#deps.identity.key.sign(message))
      this.#inFlight.push({ class: header.class, last: header.last_seq, events: header.count, bytes: bytes.length })
      this.channel.socket.send(bytes, () => this.#pump())
    }
  }

  /** Less is on the way than the controller can take; nothing on the way is always less. */
  #hasCredit(): boolean {
    let events = 0
    let bytes = 0
    for (const batch of this.#inFlight) {
      events += batch.events
      bytes += batch.bytes
    }
    return this.#inFlight.length === 0 || (events < this.#credit.events && bytes < this.#credit.bytes)
  }

  #beat(): void {
    if (this.#deps.clock.monotonic() - this.#lastHeard > WIRE.deadMs) this.terminate('nothing was heard for too long')
    else this.channel.socket.ping()
  }

  #reject(code: 'malformed' | 'too_large', why: string): void {
    this.#deps.log.error(LINK_LOG.badMessage, { code, reason: why })
    this.close(CLOSE[code], why)
  }

  #send(message: AgentMessage): void {
    this.channel.socket.send(encodeControl(message), () => undefined) // a failed send is followed by `close`
  }

  #loop(ms: number, work: () => void): void {
    const { signal } = this.#stop
    const run = async () => {
      for (;;) {
        await this.#deps.clock.sleep(ms, signal)
        this.#guard(work)
      }
    }
    run().catch((thrown: unknown) => {
      if (!signal.aborted) throw thrown
    })
  }
}

function paceOf(eventClass: EventClass): Pace {
  return URGENT.has(eventClass) ? 'urgent' : 'bulk'
}

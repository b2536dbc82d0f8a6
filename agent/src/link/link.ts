/** Keeps one connection to a controller, whatever happens, and answers what actions ask of it. */
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { CLOSE, WIRE } from '@firebreak/shared/wire/limits.ts'
import { type AddressBook, type HostPort, parseHostPort } from './addresses.ts'
import { createBackoff } from './backoff.ts'
import { type Channel, openChannel } from './channel.ts'
import type { ControllerAddress, ControllerLink } from './controller-link.ts'
import { type HandshakeRefused, type Hello, openSession } from './handshake.ts'
import { LINK_LOG } from './log-names.ts'
import { LiveSession, type SessionDeps, type SessionEnd } from './session.ts'

export interface LinkDeps extends SessionDeps {
  readonly addresses: AddressBook
  /** URLs or host:port from the configuration; without any, those of the enrolment and the trust file are used. */
  readonly configured: readonly string[]
  readonly hello: () => Hello
  readonly reconnectMinMs: number
  readonly reconnectMaxMs: number
  readonly random?: () => number
}

export interface LinkState {
  readonly connected: boolean
  readonly controller: string | undefined
  readonly session: string | undefined
  /** ms since 1970. */
  readonly since: number | undefined
  readonly lastProblem: string | undefined
}

export interface Link extends ControllerLink {
  start(): void
  /** Closes the connection and stays away. */
  stop(): Promise<void>
  state(): LinkState
  /** Something in the status changed that a person would want to see soon. */
  statusChanged(): void
}

/** A session that lasted this long was a good one: the next loss starts again with a short wait. */
const GOOD_SESSION_MS = 30_000
/** After another host took over with this key: long enough that two clones do not throw each other out all the time. */
const REPLACED_WAIT_MS = 30_000
const BUSY_WAIT_MS = 10_000
const CONFIRM_TRY_MS = 4_000
const WANTED_WAIT_MS = 200

export function createLink(deps: LinkDeps): Link {
  return new ReconnectingLink(deps)
}

class ReconnectingLink implements Link {
  readonly #deps: LinkDeps
  readonly #stop = new AbortController()
  readonly #random: () => number
  #wake = new AbortController()
  #live: LiveSession | undefined
  #opening: Channel | undefined
  /** Somebody waits for a connection: no long pause now. */
  #wanted = 0
  #lastPeer: ControllerAddress | undefined
  #since: number | undefined
  #controller: string | undefined
  #lastProblem: string | undefined
  #preferred = 0
  #running: Promise<void> | undefined
  #sessionWaiters: (() => void)[] = []

  constructor(deps: LinkDeps) {
    this.#deps = deps
    this.#random = deps.random ?? Math.random
    deps.spool.onAppend((eventClass) => this.#live?.appended(eventClass))
    deps.outbox.onNew(() => this.#live?.sendReceipts())
    deps.outbox.onAgain((envelopes) => this.#live?.sendAgain(envelopes))
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    this.#wake.abort()
    this.#opening?.socket.terminate()
    this.#live?.close(1001, 'the agent stops')
    await this.#running
  }

  state(): LinkState {
    return {
      connected: this.#live !== undefined,
      controller: this.#live ? this.#controller : undefined,
      session: this.#live?.session.id,
      since: this.#live ? this.#since : undefined,
      lastProblem: this.#lastProblem,
    }
  }

  statusChanged(): void {
    this.#live?.sendStatus()
  }

  async controllers(): Promise<readonly ControllerAddress[]> {
    const { trust, configured } = this.#deps
    const targets = [...trust.current().file.controllers, ...configured, trust.enrolment.controller]
      .map(parseHostPort)
      .filter((target): target is HostPort => target !== undefined)
    const resolved = await Promise.all(targets.map((target) => this.#deps.addresses.resolve(target)))
    const all = [...(this.#lastPeer ? [this.#lastPeer] : []), ...resolved.flat()]
    return [...new Map(all.map((address) => [`${address.ip}|${address.port}`, address])).values()]
  }

  async confirm(timeoutMs: number): Promise<Result<number, 'unreachable' | 'bad_signature'>> {
    const { clock } = this.#deps
    const start = clock.monotonic()
    for (;;) {
      const left = start + timeoutMs - clock.monotonic()
      if (left <= 0 || this.#stop.signal.aborted)
        return refuse('unreachable', `no signed answer within ${timeoutMs} ms`)
      const live = this.#live
      if (!live) {
        await this.#nextSession(left)
        continue
      }
      const answer = await live.confirm(Math.min(left, CONFIRM_TRY_MS))
      if (answer.ok) return ok(clock.monotonic() - start)
      if (answer.code === 'bad_signature') return answer
      // The rules that were just applied may have cut this very connection: only a new one can tell.
      live.terminate('no answer to a confirmation')
      await live.ended
    }
  }

  async #run(): Promise<void> {
    const backoff = createBackoff(this.#deps.reconnectMinMs, this.#deps.reconnectMaxMs, this.#random)
    while (!this.#stop.signal.aborted) {
      let wait: number
      try {
        const outcome = await this.#connectOnce()
        if (outcome.good) backoff.reset()
        wait = Math.max(backoff.next(), outcome.atLeastMs)
      } catch (thrown) {
        this.#problem(LINK_LOG.unreachable, { reason: reasonOf(thrown) })
        wait = backoff.next()
      }
      this.#wake = new AbortController()
      if (this.#stop.signal.aborted) return
      if (this.#wanted > 0) wait = Math.min(wait, WANTED_WAIT_MS)
      await this.#deps.clock.sleep(wait, this.#wake.signal).catch(() => undefined) // woken: somebody needs the connection now
    }
  }

  /** Tries every address of every controller, and lives in the first session that comes about. */
  async #connectOnce(): Promise<{ readonly good: boolean; readonly atLeastMs: number }> {
    const targets = this.#targets()
    for (let i = 0; i < targets.length; i++) {
      const index = (this.#preferred + i) % targets.length
      const target = targets[index]
      if (!target) continue
      for (const address of await this.#deps.addresses.resolve(target)) {
        if (this.#stop.signal.aborted) return { good: false, atLeastMs: 0 }
        const outcome = await this.#connectTo(target, address)
        if (!outcome) continue
        this.#preferred = index
        return outcome
      }
    }
    return { good: false, atLeastMs: 0 }
  }

  #targets(): readonly HostPort[] {
    const { configured, trust } = this.#deps
    const texts = configured.length > 0 ? configured : [trust.enrolment.controller, ...trust.current().file.controllers]
    const parsed = texts.map(parseHostPort).filter((target): target is HostPort => target !== undefined)
    return [...new Map(parsed.map((target) => [`${target.host}|${target.port}`, target])).values()]
  }

  /** `undefined`: nobody answered there, the next address may be tried. */
  async #connectTo(
    target: HostPort,
    address: ControllerAddress,
  ): Promise<{ readonly good: boolean; readonly atLeastMs: number } | undefined> {
    const { trust, clock } = this.#deps
    const channel = await openChannel({
      target,
      address,
      pins: trust.current().file.tls_spki_sha256,
      timeoutMs: WIRE.handshakeMs,
      signal: this.#stop.signal,
    })
    if (!channel.ok) {
      const name = channel.code === 'wrong_certificate' ? LINK_LOG.wrongCertificate : LINK_LOG.unreachable
      this.#problem(name, { controller: `${target.host}:${target.port}`, code: channel.code, reason: channel.why })
      return undefined
    }
    const { socket, peer } = channel.value
    this.#opening = channel.value
    const trusted = trust.current().file.version
    try {
      const opened = await openSession(channel.value, this.#deps.hello(), this.#deps)
      this.#opening = undefined
      if (trust.current().file.version !== trusted) this.#deps.onTrust()
      if (!opened.ok) {
        this.#problem(LINK_LOG.refused, { controller: target.host, code: opened.code, reason: opened.why })
        return { good: false, atLeastMs: this.#waitAfterRefusal(opened) }
      }
      const { session, welcome, early } = opened.value
      const live = new LiveSession(session, channel.value, welcome, early, this.#deps)
      await this.#deps.spool.resume(welcome.cursors)
      this.#deps.outbox.resume(welcome.receipt_seq)
      this.#enter(live, `${target.host}:${target.port}`, peer)
      live.start()
      if (this.#stop.signal.aborted) live.close(1001, 'the agent stops')
      const end = await live.ended
      this.#leave(end)
      return {
        good: clock.monotonic() - session.startedAt >= GOOD_SESSION_MS,
        atLeastMs: this.#waitAfterEnd(end),
      }
    } finally {
      socket.terminate()
    }
  }

  #enter(live: LiveSession, controller: string, peer: ControllerAddress): void {
    this.#live = live
    this.#controller = controller
    this.#lastPeer = peer
    this.#since = this.#deps.clock.now()
    this.#lastProblem = undefined
    this.#deps.log.info(LINK_LOG.connected, { controller, session: live.session.id, 'destination.ip': peer.ip })
    for (const waiter of this.#sessionWaiters.splice(0)) waiter()
  }

  #leave(end: SessionEnd): void {
    this.#live = undefined
    this.#lastProblem = `${end.code} ${end.why}`
    const name = end.code === CLOSE.replaced ? LINK_LOG.replaced : LINK_LOG.closed
    this.#deps.log[end.code === CLOSE.replaced ? 'error' : 'info'](name, { code: end.code, reason: end.why })
  }

  #waitAfterRefusal(refused: HandshakeRefused): number {
    // Whole seconds come over the wire: without a chance part of our own, those of one second would come together.
    if (refused.retryAfterS !== undefined) return (refused.retryAfterS + this.#random()) * 1000
    const hopeless = refused.code === 'unknown_agent' || refused.code === 'revoked_agent'
    return hopeless ? this.#deps.reconnectMaxMs * (0.5 + this.#random() / 2) : 0
  }

  #waitAfterEnd(end: SessionEnd): number {
    if (end.code === CLOSE.replaced) return REPLACED_WAIT_MS * (1 + this.#random())
    return end.code === CLOSE.too_many || end.code === 1013 ? BUSY_WAIT_MS * (1 + this.#random()) : 0
  }

  #problem(name: string, fields: Readonly<Record<string, string>>): void {
    this.#lastProblem = fields.reason
    this.#deps.log.warn(name, fields)
  }

  async #nextSession(timeoutMs: number): Promise<void> {
    const enough = new AbortController()
    const entered = new Promise<void>((resolve) => this.#sessionWaiters.push(resolve))
    const late = this.#deps.clock
      .sleep(timeoutMs, AbortSignal.any([enough.signal, this.#stop.signal]))
      .catch(() => undefined)
    this.#wanted++
    this.#wake.abort()
    await Promise.race([entered, late])
    this.#wanted--
    enough.abort()
  }
}

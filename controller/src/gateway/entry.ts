/**
 * Before anything else both sides show who they are, bound to the TLS channel under them (research/reliability-security.md 3.2, 3.3).
 * A closed order of messages, one try a connection: hello, challenge, proof, welcome; or enrol_hello, enrol_challenge, enrol_request,
 * enrolled. The controller shows itself first.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64, encodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { challengeMessage, digest, proofMessage, sessionOf } from '@firebreak/shared/trust/handshake.ts'
import { decodeFrame } from '@firebreak/shared/wire/frame.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import {
  type AgentMessage,
  type ControllerMessage,
  type EntryRefusal,
  parseAgentMessage,
} from '@firebreak/shared/wire/messages.ts'
import type { Enrolment, Fleet } from '../fleet/index.ts'
import type { Doorman } from './doorman.ts'
import type { Hello, Verifier } from '../fleet/fleet.ts'
import type { ControllerTrust } from '../trust/index.ts'

export interface EntryDeps {
  readonly trust: ControllerTrust
  readonly fleet: Pick<Fleet, 'admit'>
  readonly enrolment: Enrolment
  readonly clock: Pick<Clock, 'now'>
  readonly doorman: Pick<Doorman, 'knock'>
}

/** A proved agent. */
export interface Admitted {
  readonly agentId: AgentId
  readonly session: string
  readonly hello: Hello
  readonly verifier: Verifier
}

export type Step =
  /** Say this and wait for the next message. */
  | { readonly next: 'challenge'; readonly reply: ControllerMessage }
  /** Nothing is wrong with it, but too many come at once. */
  | { readonly next: 'later'; readonly retryAfterS: number }
  | { readonly next: 'enrolled'; readonly agentId: AgentId }
  | { readonly next: 'admitted'; readonly admitted: Admitted }

type State =
  | { readonly waitsFor: 'hello' }
  | { readonly waitsFor: 'enrol_request'; readonly hello: Uint8Array; readonly challenge: Uint8Array }
  | {
      readonly waitsFor: 'proof'
      readonly hello: Uint8Array
      readonly challenge: Uint8Array
      readonly said: Hello
      readonly verifier: Verifier
    }
  | { readonly waitsFor: 'nothing' }

export class Entry {
  readonly #deps: EntryDeps
  readonly #channel: Uint8Array
  readonly #address: string
  #state: State = { waitsFor: 'hello' }

  /** `channel`: keying material of the TLS connection; `address`: for the log. */
  constructor(deps: EntryDeps, channel: Uint8Array, address: string) {
    this.#deps = deps
    this.#channel = channel
    this.#address = address
  }

  /** What is being done here, for the figures. */
  kind(): 'enrolment' | 'session' | 'unknown' {
    switch (this.#state.waitsFor) {
      case 'enrol_request':
        return 'enrolment'
      case 'proof':
        return 'session'
      case 'hello':
      case 'nothing':
        return 'unknown'
      default:
        throw new TypeError(`unhandled state ${String(this.#state satisfies never)}`)
    }
  }

  async take(data: Uint8Array, isBinary: boolean): Promise<Result<Step, EntryRefusal>> {
    const state = this.#state
    this.#state = { waitsFor: 'nothing' }
    if (!isBinary) return refuse('malformed', 'a text message')
    if (data.length > WIRE.maxPreAuthAgentFrameBytes)
      return refuse('too_large', `${data.length} bytes before the proof`)
    const frame = decodeFrame(data)
    if (!frame.ok) return frame
    if (frame.value.kind !== 'control') return refuse('malformed', `a ${frame.value.kind} before the proof`)
    const raw = frame.value.bytes
    const parsed = parseAgentMessage(raw, WIRE.maxPreAuthFrameBytes)
    if (!parsed.ok) return parsed
    const message = parsed.value
    if (state.waitsFor === 'hello' && (message.t === 'hello' || message.t === 'enrol_hello')) {
      const retryAfterS = this.#deps.doorman.knock()
      if (retryAfterS > 0) return ok({ next: 'later', retryAfterS })
    }
    if (state.waitsFor === 'hello' && message.t === 'enrol_hello') return this.#challengeEnrolment(raw)
    if (state.waitsFor === 'hello' && message.t === 'hello') return this.#challengeSession(raw, message)
    if (state.waitsFor === 'enrol_request' && message.t === 'enrol_request') {
      const enrolled = await this.#deps.enrolment.enrol(
        message,
        { hello: state.hello, challenge: state.challenge, channel: this.#channel },
        this.#address,
      )
      return enrolled.ok ? ok({ next: 'enrolled', agentId: enrolled.value }) : enrolled
    }
    if (state.waitsFor === 'proof' && message.t === 'proof') return this.#prove(state, raw, message)
    return refuse('malformed', `a ${message.t} was not expected now`)
  }

  #challengeEnrolment(hello: Uint8Array): Result<Step, EntryRefusal> {
    const trust = this.#deps.trust.trust().envelope
    const signed = this.#signed('enrol', hello, digest(Buffer.from(JSON.stringify(trust))))
    const reply = { t: 'enrol_challenge', trust, ...signed } as const
    this.#state = { waitsFor: 'enrol_request', hello, challenge: jsonOf(reply) }
    return ok({ next: 'challenge', reply })
  }

  async #challengeSession(raw: Uint8Array, hello: Hello): Promise<Result<Step, EntryRefusal>> {
    const verifier = await this.#deps.fleet.admit(hello.agent_id)
    if (!verifier.ok) return verifier
    const updates = this.#deps.trust.updatesAfter(hello.trust_version)
    const signed = this.#signed('session', raw, digest(Buffer.from(JSON.stringify(updates))))
    const reply = { t: 'challenge' as const, trust_updates: [...updates], ...signed }
    this.#state = { waitsFor: 'proof', hello: raw, challenge: jsonOf(reply), said: hello, verifier: verifier.value }
    return ok({ next: 'challenge', reply })
  }

  #prove(
    state: Extract<State, { waitsFor: 'proof' }>,
    raw: Uint8Array,
    message: Extract<AgentMessage, { t: 'proof' }>,
  ): Result<Step, EntryRefusal> {
    const signature = decodeBase64(message.sig)
    const said = proofMessage(state.hello, state.challenge, this.#channel)
    if (!signature || !state.verifier(said, signature))
      return refuse('bad_signature', 'the proof of the agent does not hold on this connection')
    return ok({
      next: 'admitted',
      admitted: {
        agentId: state.said.agent_id as AgentId,
        session: sessionOf(state.hello, state.challenge, raw),
        hello: state.said,
        verifier: state.verifier,
      },
    })
  }

  #signed(
    purpose: 'enrol' | 'session',
    hello: Uint8Array,
    trustDigest: Uint8Array,
  ): { nonce: string; server_time: string; keyid: string; sig: string } {
    const serverNonce = randomBytes(32)
    const serverTime = new Date(this.#deps.clock.now()).toISOString()
    const said = challengeMessage(purpose, { hello, serverNonce, serverTime, channel: this.#channel }, trustDigest)
    const { gatewayKey } = this.#deps.trust
    return {
      nonce: encodeBase64(serverNonce),
      server_time: serverTime,
      keyid: gatewayKey.kid,
      sig: encodeBase64(gatewayKey.sign(said)),
    }
  }
}

/** The bytes that are signed about are the bytes that `encodeControl` sends. */
function jsonOf(message: ControllerMessage): Uint8Array {
  return Buffer.from(JSON.stringify(message))
}

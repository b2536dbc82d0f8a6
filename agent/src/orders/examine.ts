/**
 * What a command must pass before anything is remembered or done, cheap first (design 4): size, shape, key, signatures, strict parse,
 * schema, audience, sequence, life, trust, arguments. Pure: it reads clocks and trust and changes nothing.
 */
import { createHash } from 'node:crypto'
import type { Clock } from '@firebreak/shared/clock.ts'
import { COMMAND_CARDS, COMMAND_TYPES, type CommandType } from '@firebreak/shared/commands/catalogue.ts'
import {
  COMMAND_PAYLOAD_TYPE,
  type Command,
  commandSchema,
  MAX_COMMAND_BYTES,
  MAX_SEQUENCE_JUMP,
  type Refusal,
} from '@firebreak/shared/commands/command.ts'
import { decodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { type Envelope, open, parseEnvelope } from '@firebreak/shared/trust/dsse.ts'
import type { KeyId } from '@firebreak/shared/trust/ed25519.ts'
import type { Trust } from '@firebreak/shared/trust/trust-file.ts'
import { parseStrictJson } from '@firebreak/shared/wire/strict-json.ts'
import { Compile } from 'typebox/compile'
import type { Session } from '../link/handshake.ts'

export interface Position {
  readonly lease: number
  readonly seq: number
}

export interface ExamineContext {
  readonly trust: Trust
  readonly clock: Clock
  readonly agentId: string
  readonly session: Session
  /** Highest (lease, seq) that was ever judged here. */
  readonly position: Position
}

export interface Examined {
  readonly command: Command
  readonly sha256: string
  readonly signers: readonly KeyId[]
}

/** `genuine`: the signature held and the shape is right, so `command` may be named in the answer. */
export interface Unfit {
  readonly code: Refusal
  readonly why: string
  readonly sha256: string
  readonly command: Command | undefined
  /** Its sequence number was good and is used up by this judgement. */
  readonly usesSequence: boolean
}

/** A command may look this much younger than possible, because both sides count from their own end of the handshake. */
const CLOCK_SLACK_MS = 10_000
const PAYLOAD_LIMITS = { maxBytes: MAX_COMMAND_BYTES, maxDepth: 16, maxValues: 2_000 }
const argsSchemas = Object.fromEntries(COMMAND_TYPES.map((type) => [type, Compile(COMMAND_CARDS[type].args)]))

export function examine(bytes: Uint8Array, context: ExamineContext): Examined | Unfit {
  const unfit = (code: Refusal, why: string, rest: Partial<Unfit> = {}): Unfit => ({
    code,
    why,
    sha256: sha256(bytes),
    command: undefined,
    usesSequence: false,
    ...rest,
  })
  if (bytes.length > MAX_COMMAND_BYTES)
    return unfit('too_large', `${bytes.length} bytes are more than ${MAX_COMMAND_BYTES}`)
  const envelope = parseEnvelope(bytes)
  if (!envelope.ok) return unfit('malformed', envelope.why)
  const payload = decodeBase64(envelope.value.payload)
  if (!payload || envelope.value.payloadType !== COMMAND_PAYLOAD_TYPE)
    return unfit('malformed', 'the envelope does not hold a command')

  const nowMs = trustTime(context)
  const keys = judgeKeys(envelope.value, context.trust, nowMs)
  if (keys !== undefined) return unfit(keys, KEY_WHY[keys], { sha256: sha256(payload) })
  const opened = open(envelope.value, COMMAND_PAYLOAD_TYPE, (kid) => signerOf(context.trust, kid, nowMs))
  if (!opened.ok) return unfit(opened.code, opened.why, { sha256: sha256(payload) })

  const digest = { sha256: sha256(opened.value.payload) }
  const parsed = parseStrictJson(opened.value.payload, PAYLOAD_LIMITS)
  if (!parsed.ok) return unfit('malformed', parsed.why, digest)
  if (!commandSchema.Check(parsed.value)) return unfit('bad_schema', schemaWhy(parsed.value), digest)
  const command = parsed.value
  const genuine = { ...digest, command }
  const right = judgeRight(command.type, opened.value.signers, context.trust, nowMs)
  if (right !== undefined) return unfit('key_without_right', right, genuine)
  const audience = judgeAudience(command, context)
  if (audience) return unfit(audience[0], audience[1], genuine)
  const order = judgePosition(command, context.position)
  if (order) return unfit(order[0], order[1], genuine)
  const rest = judgeLife(command, context) ?? judgeTrust(command, context.trust, nowMs) ?? judgeArgs(command)
  if (rest) return unfit(rest[0], rest[1], { ...genuine, usesSequence: true })
  return { command, sha256: digest.sha256, signers: opened.value.signers }
}

export function isUnfit(found: Examined | Unfit): found is Unfit {
  return 'code' in found
}

/** Whether these keys may still order this type: asked again when a command had to wait in the queue. */
export function judgeRight(
  type: CommandType,
  signers: readonly KeyId[],
  trust: Trust,
  nowMs: number,
): string | undefined {
  if (!signers.some((kid) => trust.keyFor(kid, 'command', nowMs, type)))
    return `no signature is by a key that may order ${type}`
  const isDual = trust.file.dual_types.includes(type)
  if (isDual && !signers.some((kid) => trust.keyFor(kid, 'operator', nowMs)))
    return `${type} also needs the signature of an operator`
  return undefined
}

/** Age of a command by clocks that do not jump, ms. */
export function ageOf(command: Pick<Command, 'issued_mono_ms'>, session: Session, clock: Clock): number {
  return clock.monotonic() - session.startedAt - command.issued_mono_ms
}

/** For ends of keys and of the trust file: the later of this host's clock and the one the controller signed in the handshake. */
export function trustTime({ clock, session }: Pick<ExamineContext, 'clock' | 'session'>): number {
  return Math.max(clock.now(), session.serverTime + clock.monotonic() - session.startedAt)
}

type Judgement = readonly [Refusal, string] | undefined

const KEY_WHY = {
  unknown_key: 'no signature is by a key of the trust file',
  key_without_right: 'no signature is by a key that may order anything',
} as const

function judgeKeys(envelope: Envelope, trust: Trust, nowMs: number): keyof typeof KEY_WHY | undefined {
  const known = envelope.signatures.filter(({ keyid }) => trust.knows(keyid))
  if (known.length === 0) return 'unknown_key'
  return known.some(({ keyid }) => commandKeyOf(trust, keyid, nowMs)) ? undefined : 'key_without_right'
}

/** A key that may order at least one type; which one is known only when the payload may be read. */
function commandKeyOf(trust: Trust, kid: KeyId, nowMs: number) {
  for (const type of COMMAND_TYPES) {
    const verifier = trust.keyFor(kid, 'command', nowMs, type)
    if (verifier) return verifier
  }
  return undefined
}

function signerOf(trust: Trust, kid: KeyId, nowMs: number) {
  return commandKeyOf(trust, kid, nowMs) ?? trust.keyFor(kid, 'operator', nowMs)
}

function judgeAudience(command: Command, { trust, agentId, session }: ExamineContext): Judgement {
  if (command.deployment_id !== trust.file.deployment_id) return ['wrong_deployment', 'it is for another deployment']
  if (command.agent_id !== agentId) return ['wrong_audience', 'it is for another host']
  if (command.session !== session.id) return ['wrong_session', 'it was made for another connection']
  return undefined
}

function judgePosition({ lease, seq }: Command, position: Position): Judgement {
  if (lease < position.lease) return ['stale_lease', `lease ${lease} was succeeded by ${position.lease}`]
  if (lease === position.lease && seq <= position.seq) return ['replayed', `number ${seq} is not above ${position.seq}`]
  if (seq > position.seq + MAX_SEQUENCE_JUMP || lease > position.lease + MAX_SEQUENCE_JUMP)
    return ['sequence_jump', `(${lease}, ${seq}) is too far above (${position.lease}, ${position.seq})`]
  return undefined
}

function judgeLife(command: Command, { session, clock }: ExamineContext): Judgement {
  const ageMs = ageOf(command, session, clock)
  if (ageMs > command.ttl_s * 1000) return ['expired', `it is ${Math.round(ageMs)} ms old and lives ${command.ttl_s} s`]
  if (ageMs < -CLOCK_SLACK_MS) return ['expired', `it claims to be issued ${Math.round(-ageMs)} ms from now`]
  return undefined
}

/** An expired trust file stops what harms, never what frees a host. */
function judgeTrust(command: Command, trust: Trust, nowMs: number): Judgement {
  if (!trust.expired(nowMs) || isFreeing(command.type)) return undefined
  return ['trust_expired', `the trust file expired at ${trust.file.expires_at}`]
}

/** Types that take another one back. */
export function isFreeing(type: CommandType): boolean {
  return COMMAND_TYPES.some((other) => COMMAND_CARDS[other].undoneBy === type)
}

function judgeArgs(command: Command): Judgement {
  const schema = argsSchemas[command.type]
  if (schema?.Check(command.args)) return undefined
  const error = schema?.Errors(command.args)[0]
  return ['bad_schema', `args${error?.instancePath ?? ''} ${error?.message ?? 'are not known'}`]
}

function schemaWhy(value: unknown): string {
  const error = commandSchema.Errors(value)[0]
  return `${error?.instancePath || 'it'} ${error?.message ?? 'is not a command'}`.slice(0, 512)
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

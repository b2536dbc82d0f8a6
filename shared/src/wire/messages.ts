/** Control messages between agent and controller: closed shapes, told apart by `t`. */
import { Type, type TProperties } from 'typebox'
import { Compile } from 'typebox/compile'
import { EVENT_CLASSES } from '../events/classes.ts'
import { SourceStatus } from '../events/coverage.ts'
import { AGENT_ID_PATTERN, UUID_PATTERN } from '../ids.ts'
import { type Result, ok, refuse } from '../result.ts'
import { type JsonRefusal, parseStrictJson } from './strict-json.ts'
import { WIRE } from './limits.ts'

const message = <T extends string, P extends TProperties>(t: T, properties: P) =>
  Type.Object({ t: Type.Literal(t), ...properties }, { additionalProperties: false })
const Bytes32 = Type.String({ minLength: 44, maxLength: 44, description: '32 bytes, base64.' })
const Signature = Type.String({ minLength: 88, maxLength: 88, description: 'Ed25519 signature, base64.' })
const Hex64 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Counter = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Envelope = Type.Object(
  {
    payloadType: Type.String({ maxLength: 128 }),
    payload: Type.String({ maxLength: 256 * 1024 }),
    signatures: Type.Array(
      Type.Object(
        { keyid: Type.String({ maxLength: 64 }), sig: Type.String({ maxLength: 88 }) },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: 8 },
    ),
  },
  { additionalProperties: false },
)
const Class = Type.Enum([...EVENT_CLASSES])
const TimeMs = Type.Integer({
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: 'ms since 1970, by the host.',
})

/** Facts of a host that help a person to recognise it; never its identity. */
export const HostFacts = Type.Object(
  {
    hostname: Type.String({ maxLength: 255 }),
    os: Type.String({ maxLength: 64, description: 'linux, windows, macos.' }),
    os_name: Type.Optional(Type.String({ maxLength: 128 })),
    os_version: Type.Optional(Type.String({ maxLength: 128 })),
    kernel: Type.Optional(Type.String({ maxLength: 128 })),
    architecture: Type.String({ maxLength: 32 }),
    addresses: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 64 }),
    machine_id_sha256: Type.Optional(Hex64),
    agent_version: Type.String({ maxLength: 64 }),
  },
  { additionalProperties: false },
)
export type HostFacts = Type.Static<typeof HostFacts>

/**
 * produced = stored + spooled + dropped, per class and epoch; `stored` is the controller's to know. An epoch that has ended has `moved`,
 * the events that go on in a later one: produced = stored + dropped + moved then, for good.
 */
export const StreamCount = Type.Object(
  {
    epoch: Type.String({ pattern: UUID_PATTERN }),
    class: Class,
    produced: Counter,
    spooled: Counter,
    dropped: Counter,
    moved: Type.Optional(Counter),
    /** Up to where the agent was acked when it counted. */
    acked: Type.Optional(Counter),
  },
  { additionalProperties: false },
)
export type StreamCount = Type.Static<typeof StreamCount>

export const CollectorStatus = Type.Object(
  {
    name: Type.String({ maxLength: 64 }),
    state: Type.Enum(['running', 'degraded', 'off']),
    why: Type.Optional(Type.String({ maxLength: 512 })),
    classes: Type.Array(Class, { maxItems: 8 }),
    events: Counter,
    lost: Counter,
  },
  { additionalProperties: false },
)
export type CollectorStatus = Type.Static<typeof CollectorStatus>

/** One life of the agent's process, so that times without it are known, and two machines with one key are told apart. */
export const AgentRun = Type.Object(
  {
    id: Type.String({ pattern: UUID_PATTERN, description: 'Made at the start of the process.' }),
    started_ms: TimeMs,
    booted_ms: TimeMs,
    /** When the life before gave its last sign; absent at the first start. */
    last_alive_ms: Type.Optional(TimeMs),
  },
  { additionalProperties: false },
)
export type AgentRun = Type.Static<typeof AgentRun>

/**
 * Why an agent began a new epoch. `ahead`: the controller knew numbers that its disk had not given out. `forked`: it knew other events
 * under the same numbers. `controller_behind`: it had forgotten numbers that it had acked. `damaged`: the numbers could not be read.
 * `identity_reset`: the host has another key now, and its events go on under another id.
 */
export const EPOCH_ENDS = ['ahead', 'forked', 'controller_behind', 'damaged', 'identity_reset'] as const
export type EpochEnd = (typeof EPOCH_ENDS)[number]

/** An epoch of this agent that goes on in another. */
export const Renewal = Type.Object(
  {
    from: Type.String({ pattern: UUID_PATTERN }),
    into: Type.String({ pattern: UUID_PATTERN }),
    why: Type.Enum([...EPOCH_ENDS]),
    at_ms: TimeMs,
  },
  { additionalProperties: false },
)
export type Renewal = Type.Static<typeof Renewal>

/**
 * What an agent may have sent and not yet had acked on one connection, both at once. One batch may always be on the way, however large,
 * so that a small credit slows down and never stops; a credit below what is on the way is reached by waiting.
 */
export const Credit = Type.Object(
  {
    events: Type.Integer({ minimum: 1, maximum: WIRE.maxBatchesInFlight * WIRE.maxBatchEvents }),
    bytes: Type.Integer({
      minimum: 1,
      maximum: WIRE.maxBatchesInFlight * WIRE.maxFrameBytes,
      description: 'Bytes of batch frames as they travel.',
    }),
  },
  { additionalProperties: false },
)
export type Credit = Type.Static<typeof Credit>

/** unknown: the agent cannot read its own state; the rules are left as they are. */
export const CONTAINMENT_PHASES = ['none', 'applying', 'isolated', 'releasing', 'unknown'] as const

export const AgentMessage = Type.Union([
  message('enrol_hello', { v: Type.Literal(1), nonce: Bytes32 }),
  message('enrol_request', {
    token_id: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    public_key: Bytes32,
    facts: HostFacts,
    proof: Bytes32,
    sig: Signature,
  }),
  message('hello', {
    v: Type.Literal(1),
    agent_id: Type.String({ pattern: AGENT_ID_PATTERN }),
    nonce: Bytes32,
    boot_id: Type.String({ maxLength: 64 }),
    trust_version: Counter,
    facts: HostFacts,
    command: Type.Object({ lease: Counter, seq: Counter }, { additionalProperties: false }),
    receipt_seq: Counter,
    streams: Type.Array(StreamCount, { maxItems: 64 }),
    run: Type.Optional(AgentRun),
  }),
  message('proof', { sig: Signature }),
  message('receipt', { envelope: Envelope }),
  message('status', {
    streams: Type.Array(StreamCount, { maxItems: 64 }),
    collectors: Type.Array(CollectorStatus, { maxItems: 32 }),
    sources: Type.Optional(Type.Array(SourceStatus, { maxItems: 32 })),
    at_ms: Type.Optional(TimeMs),
    renewals: Type.Optional(Type.Array(Renewal, { maxItems: 16, description: 'The last of them, oldest first.' })),
    containment: Type.Object(
      {
        phase: Type.Enum([...CONTAINMENT_PHASES]),
        command_id: Type.Optional(Type.String({ pattern: UUID_PATTERN })),
        expires_at: Type.Optional(Type.String({ maxLength: 40 })),
        drift_count: Counter,
      },
      { additionalProperties: false },
    ),
    ceiling_sha256: Hex64,
  }),
  message('confirm', { nonce: Bytes32 }),
])
export type AgentMessage = Type.Static<typeof AgentMessage>

/** Why a controller does not let an agent in. Closed; the agent prints the same word. */
export const ENTRY_REFUSALS = [
  'bad_token',
  'token_expired',
  'token_used_up',
  'bad_proof',
  'bad_signature',
  'unsafe_key',
  'unknown_agent',
  'revoked_agent',
  'malformed',
  'too_large',
  'too_many',
  'timeout',
  'internal',
] as const
export type EntryRefusal = (typeof ENTRY_REFUSALS)[number]

export const ControllerMessage = Type.Union([
  message('enrol_challenge', {
    nonce: Bytes32,
    server_time: Type.String({ maxLength: 40 }),
    trust: Envelope,
    keyid: Type.String({ maxLength: 64 }),
    sig: Signature,
  }),
  message('enrolled', { agent_id: Type.String({ pattern: AGENT_ID_PATTERN }) }),
  message('challenge', {
    nonce: Bytes32,
    server_time: Type.String({ maxLength: 40 }),
    trust_updates: Type.Array(Envelope, { maxItems: 32 }),
    keyid: Type.String({ maxLength: 64 }),
    sig: Signature,
  }),
  message('welcome', {
    session: Hex64,
    cursors: Type.Array(
      Type.Object(
        {
          epoch: Type.String({ pattern: UUID_PATTERN }),
          class: Class,
          seq: Counter,
          /** As the batch said that ended there. */
          chain: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffff_ffff })),
          /** Of the numbers up to `seq`, those that came as events; the others came as gaps. */
          events: Type.Optional(Counter),
        },
        { additionalProperties: false },
      ),
      { maxItems: 64 },
    ),
    receipt_seq: Counter,
    credit: Type.Optional(Credit),
  }),
  message('refused', {
    code: Type.Enum([...ENTRY_REFUSALS]),
    why: Type.String({ maxLength: 512 }),
    retry_after_s: Type.Optional(Counter),
  }),
  message('ack', { epoch: Type.String({ pattern: UUID_PATTERN }), class: Class, seq: Counter }),
  message('credit', { credit: Credit }),
  message('receipt_ack', { receipt_seq: Counter }),
  message('confirmed', { nonce: Bytes32, keyid: Type.String({ maxLength: 64 }), sig: Signature }),
  message('trust_update', { envelope: Envelope }),
])
export type ControllerMessage = Type.Static<typeof ControllerMessage>

const agentMessageSchema = Compile(AgentMessage)
const controllerMessageSchema = Compile(ControllerMessage)

export function parseAgentMessage(
  bytes: Uint8Array,
  maxBytes: number = WIRE.maxControlBytes,
): Result<AgentMessage, JsonRefusal> {
  const parsed = parseStrictJson(bytes, { maxBytes, maxDepth: 8, maxValues: 5_000 })
  if (!parsed.ok) return parsed
  return agentMessageSchema.Check(parsed.value)
    ? ok(parsed.value)
    : refuse('malformed', 'not a message that an agent sends')
}

export function parseControllerMessage(
  bytes: Uint8Array,
  maxBytes: number = WIRE.maxControlBytes,
): Result<ControllerMessage, JsonRefusal> {
  const parsed = parseStrictJson(bytes, { maxBytes, maxDepth: 8, maxValues: 5_000 })
  if (!parsed.ok) return parsed
  return controllerMessageSchema.Check(parsed.value)
    ? ok(parsed.value)
    : refuse('malformed', 'not a message that a controller sends')
}

/** The signed order itself. Source: design 4 and 5; the envelope around it is `trust/dsse.ts`. */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { AGENT_ID_PATTERN, UUID_PATTERN } from '../ids.ts'
import { COMMAND_TYPES } from './catalogue.ts'

export const COMMAND_PAYLOAD_TYPE = 'application/vnd.firebreak.command+json'
export const RECEIPT_PAYLOAD_TYPE = 'application/vnd.firebreak.receipt+json'
/** Bytes of a command envelope at most. */
export const MAX_COMMAND_BYTES = 64 * 1024
/** A signed command lives at most this long; what waits longer is an intent, not a command. */
export const MAX_COMMAND_LIFE_S = 300
/** A sequence may not jump further than this, so that one forged-looking jump cannot use up the numbers. */
export const MAX_SEQUENCE_JUMP = 2 ** 20
export const MAX_LEASE = 2 ** 31

const Time = Type.String({ maxLength: 40, pattern: String.raw`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$` })
const Uuid = Type.String({ pattern: UUID_PATTERN })
const Counter = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })

export const Command = Type.Object(
  {
    v: Type.Literal(1),
    cmd_id: Uuid,
    deployment_id: Uuid,
    agent_id: Type.String({ pattern: AGENT_ID_PATTERN, description: 'Exactly one host.' }),
    session: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'The live connection it was made for.' }),
    lease: Type.Integer({
      minimum: 0,
      maximum: MAX_LEASE,
      description: 'Fencing number of the signer; an older one is refused.',
    }),
    seq: Type.Integer({
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Strictly increasing for one agent and lease.',
    }),
    trust_version: Counter,
    issued_at: Time,
    ttl_s: Type.Integer({
      minimum: 1,
      maximum: MAX_COMMAND_LIFE_S,
      description: 'Life in seconds since the issue, counted on a clock that does not jump.',
    }),
    issued_mono_ms: Type.Number({
      minimum: 0,
      description: "The issue on the controller's clock of the handshake, ms after the handshake.",
    }),
    type: Type.Enum([...COMMAND_TYPES]),
    args: Type.Record(Type.String({ maxLength: 64 }), Type.Unknown(), {
      description: 'Checked against the closed schema of the type.',
    }),
    reason: Type.Object(
      {
        text: Type.String({ maxLength: 1024 }),
        incident_id: Type.Optional(Uuid),
        playbook: Type.Optional(Type.String({ maxLength: 128 })),
        run_id: Type.Optional(Uuid),
      },
      { additionalProperties: false },
    ),
    actor: Type.String({ maxLength: 256, description: 'Who ordered it: user:<name> or playbook:<id>.' }),
  },
  { additionalProperties: false, description: 'One order to one host.' },
)
export type Command = Type.Static<typeof Command>
export const commandSchema = Compile(Command)

/** Why an agent did not carry out a command. Closed; the same words in receipt, API and documentation. */
export const REFUSALS = [
  'too_large',
  'malformed',
  'unknown_key',
  'key_without_right',
  'bad_signature',
  'bad_schema',
  'wrong_deployment',
  'wrong_audience',
  'wrong_session',
  'stale_lease',
  'replayed',
  'sequence_jump',
  'expired',
  'trust_expired',
  'above_ceiling',
  'rate_limited',
  'unsupported',
  'precondition_failed',
  'conflict',
] as const
export type Refusal = (typeof REFUSALS)[number]

/** Why an accepted command did not have its effect. */
export const FAILURES = [
  'not_confirmed',
  'effect_refuted',
  'action_failed',
  'interrupted',
  'lapsed',
  'overridden',
] as const
export type Failure = (typeof FAILURES)[number]

/** accepted and applied are steps; the others end the command. reverted: the effect was there and has been taken back. */
export const RECEIPT_STATES = ['accepted', 'applied', 'verified', 'refuted', 'failed', 'refused', 'reverted'] as const
export type ReceiptState = (typeof RECEIPT_STATES)[number]

export const Receipt = Type.Object(
  {
    v: Type.Literal(1),
    agent_id: Type.String({ pattern: AGENT_ID_PATTERN }),
    receipt_seq: Type.Integer({
      minimum: 1,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'Without gaps; a missing one is an alarm.',
    }),
    prev_sha256: Type.String({
      pattern: '^[0-9a-f]{64}$',
      description: 'Digest of the payload of the receipt before; zeros for the first.',
    }),
    cmd_id: Type.Optional(Uuid),
    command_sha256: Type.String({
      pattern: '^[0-9a-f]{64}$',
      description: 'Digest of the payload bytes that were received.',
    }),
    type: Type.Optional(Type.Enum([...COMMAND_TYPES])),
    state: Type.Enum([...RECEIPT_STATES]),
    code: Type.Optional(Type.Enum([...REFUSALS, ...FAILURES])),
    why: Type.Optional(Type.String({ maxLength: 2048 })),
    evidence: Type.Optional(Type.Record(Type.String({ maxLength: 64 }), Type.Unknown())),
    boot_id: Type.String({ maxLength: 64 }),
    mono_ms: Type.Number({ minimum: 0, description: "The host's clock since boot." }),
    time: Time,
  },
  { additionalProperties: false, description: "The agent's signed answer." },
)
export type Receipt = Type.Static<typeof Receipt>
export const receiptSchema = Compile(Receipt)

/** A command's life as the controller keeps it (design 5). */
export const COMMAND_STATES = [
  'proposed',
  'approved',
  'queued',
  'delivered',
  'accepted',
  'applied',
  'verified',
  'refuted',
  'failed',
  'refused',
  'expired',
  'cancelled',
  'reverted',
  'unknown',
] as const
export type CommandState = (typeof COMMAND_STATES)[number]
export const FINAL_STATES: ReadonlySet<CommandState> = new Set([
  'verified',
  'refuted',
  'failed',
  'refused',
  'expired',
  'cancelled',
  'reverted',
  'unknown',
] as const)

import { Type } from 'typebox'
import type { CommandCard } from './command-type.ts'

export const IsolateHost = Type.Object(
  {
    hold_s: Type.Integer({
      minimum: 30,
      maximum: 2_592_000,
      description: 'Seconds until the isolation lapses by itself.',
    }),
    on_controller_loss: Type.Enum(['hold', 'release'], {
      description: 'What the host does at the end of the hold while no controller answers.',
    }),
    release_code_sha256: Type.Optional(
      Type.String({
        pattern: '^[0-9a-f]{64}$',
        description: 'Digest of the one-time code that frees the host locally (firebreak-agent release --code).',
      }),
    ),
  },
  { additionalProperties: false, description: 'Cut a host off from everything but its controllers.' },
)
export type IsolateHost = Type.Static<typeof IsolateHost>

/** One try to reach something, and what the world answered. */
export const Probe = Type.Object(
  {
    name: Type.String({
      maxLength: 64,
      description: 'What was tried: tcp-new, udp, icmp, ipv6, dns, loopback, controller.',
    }),
    target: Type.String({ maxLength: 256, description: 'Towards whom.' }),
    expected: Type.Enum(['blocked', 'open'], { description: 'What the isolation promises.' }),
    found: Type.Enum(['blocked', 'open', 'unverifiable'], {
      description: 'What was seen; unverifiable: there was nobody or no way to try.',
    }),
    detail: Type.Optional(Type.String({ maxLength: 512, description: 'Error or answer as the system gave it.' })),
  },
  { additionalProperties: false },
)
export type Probe = Type.Static<typeof Probe>

export const IsolationEvidence = Type.Object(
  {
    ruleset_before_sha256: Type.Optional(Type.String({ description: 'Digest of `nft -s list ruleset` before.' })),
    ruleset_after_sha256: Type.Optional(Type.String({ description: 'Digest of `nft -s list ruleset` after.' })),
    ruleset_restored: Type.Optional(
      Type.Boolean({ description: 'Release: the ruleset is byte for byte the one before the isolation.' }),
    ),
    table_sha256: Type.Optional(Type.String({ description: 'Digest of the firebreak table as the kernel lists it.' })),
    controllers: Type.Optional(
      Type.Array(Type.String({ maxLength: 128 }), { maxItems: 64, description: 'Addresses left open.' }),
    ),
    confirmed_ms: Type.Optional(
      Type.Number({ minimum: 0, description: 'Until the signed round trip over the new rules came back.' }),
    ),
    applied_ms: Type.Optional(Type.Number({ minimum: 0, description: 'Time of the firewall transaction.' })),
    sockets_closed: Type.Optional(Type.Integer({ minimum: 0, description: 'Open connections that were cut.' })),
    dropped_packets: Type.Optional(Type.Integer({ minimum: 0, description: 'Packets the rules dropped so far.' })),
    probes: Type.Optional(Type.Array(Probe, { maxItems: 32, description: 'What was tried from inside.' })),
    expires_at: Type.Optional(Type.String({ description: 'When the isolation lapses.' })),
  },
  { additionalProperties: false, description: 'What proves an isolation or its end.' },
)
export type IsolationEvidence = Type.Static<typeof IsolationEvidence>

export const isolateHostCard = {
  type: 'isolate-host',
  summary: 'Cut a host off from everything but its controllers.',
  args: IsolateHost,
  evidence: IsolationEvidence,
  risk: 'high',
  undoneBy: 'release-host',
  d3fend: 'D3-NI',
  deadline_s: 60,
} as const satisfies CommandCard

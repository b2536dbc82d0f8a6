import { Type } from 'typebox'
import { MiB } from '@firebreak/shared/wire/units.ts'

export const GatewayConfig = Type.Object(
  {
    host: Type.String({
      default: '0.0.0.0',
      maxLength: 255,
      description: 'Address to listen on for agents; TLS 1.3 only.',
    }),
    port: Type.Integer({ default: 8421, minimum: 0, maximum: 65_535, description: 'TCP port; 0 takes a free one.' }),
    public: Type.Array(Type.String({ minLength: 3, maxLength: 256, pattern: String.raw`^.+:\d{1,5}$` }), {
      default: [],
      maxItems: 32,
      description:
        'host:port under which agents reach the controllers, written into the trust file: an isolated host reaches these and nothing else. Empty: the addresses of this machine at the first start, kept from then on.',
    }),
    preauth_sockets: Type.Integer({
      default: 512,
      minimum: 1,
      maximum: 65_535,
      description: 'Connections at the same time that have not yet shown who they are; more are closed at once.',
    }),
    connections_per_address_per_s: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 100_000,
      description: 'New connections of one address a second, with a burst of five times as many.',
    }),
    entries_per_s: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 100_000,
      description:
        'Agents that are let in a second, after a second that many at once; the others are told when to come again.',
    }),
    batches_at_once: Type.Integer({
      default: 4,
      minimum: 1,
      maximum: 4_096,
      description:
        'Full batches (1,000 events) of all agents that are being stored at the same time, or as many more smaller ones; the others wait, agent by agent in turn.',
    }),
    queued_bytes: Type.Integer({
      default: 64 * MiB,
      minimum: MiB,
      maximum: 65_536 * MiB,
      description:
        'Memory for batches that wait to be stored, bytes. Agents are given credit within it; past it they are not read from until half of it is stored.',
    }),
    events_per_agent_per_s: Type.Integer({
      default: 20_000,
      minimum: 100,
      maximum: 10_000_000,
      description: 'Events of one agent that are stored a second; what is more waits in its spool.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'The door for agents.' },
)
export type GatewayConfig = Type.Static<typeof GatewayConfig>

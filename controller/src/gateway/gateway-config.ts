import { Type } from 'typebox'

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
    queued_batches: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 4_096,
      description: 'Batches that wait to be stored; past it agents are not read from until half of them are stored.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'The door for agents.' },
)
export type GatewayConfig = Type.Static<typeof GatewayConfig>

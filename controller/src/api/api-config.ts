/** The API's slice of the configuration. */
import { Type } from 'typebox'

export const ApiConfig = Type.Object(
  {
    host: Type.String({
      default: '127.0.0.1',
      maxLength: 255,
      description:
        'Address to listen on. On loopback the API speaks plain HTTP; on any other address TLS 1.3 only, with `tls_cert_file` and `tls_key_file` or else the certificate that agents pin.',
    }),
    port: Type.Integer({ default: 8420, minimum: 0, maximum: 65_535, description: 'TCP port; 0 takes a free one.' }),
    tls_cert_file: Type.Optional(
      Type.String({ maxLength: 4096, description: 'PEM certificate chain for the API, when it has its own.' }),
    ),
    tls_key_file: Type.Optional(Type.String({ maxLength: 4096, description: 'PEM private key for it.' })),
    max_body_bytes: Type.Integer({
      default: 262_144,
      minimum: 1_024,
      maximum: 16_777_216,
      description: 'Largest request body.',
    }),
    requests_per_minute: Type.Integer({
      default: 6_000,
      minimum: 10,
      maximum: 10_000_000,
      description: 'Requests of one address in a minute.',
    }),
    stream_clients: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 10_000,
      description: 'Listeners to /api/v1/stream at the same time.',
    }),
    stream_queue: Type.Integer({
      default: 1_000,
      minimum: 10,
      maximum: 100_000,
      description: 'Messages kept for a listener that does not read; past it the oldest is dropped, and counted to it.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'HTTP API.' },
)
export type ApiConfig = Type.Static<typeof ApiConfig>

import { Type } from 'typebox'

export const IngestConfig = Type.Object(
  {
    block_events: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 200_000,
      description: 'Events that make a block of the telemetry store without waiting any longer.',
    }),
    block_wait_ms: Type.Integer({
      default: 500,
      minimum: 10,
      maximum: 60_000,
      description: 'How long events wait for a block to fill, ms.',
    }),
    backlog_batches: Type.Integer({
      default: 20_000,
      minimum: 16,
      maximum: 1_000_000,
      description:
        'Batches that were acked and wait for detection or the telemetry store; past it agents are not read from.',
    }),
    parsed_events: Type.Integer({
      default: 50_000,
      minimum: 0,
      maximum: 1_000_000,
      description: 'Events kept in memory for detection; the others are read again from the state store.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Taking events in.' },
)
export type IngestConfig = Type.Static<typeof IngestConfig>

import { Type } from 'typebox'
import { MiB } from '@firebreak/shared/wire/units.ts'

export const IngestConfig = Type.Object(
  {
    block_events: Type.Integer({
      default: 50_000,
      minimum: 1,
      maximum: 200_000,
      description: 'Events that make a block of the telemetry store without waiting any longer.',
    }),
    block_wait_ms: Type.Integer({
      default: 2_000,
      minimum: 10,
      maximum: 60_000,
      description:
        'How long events wait for a block to fill, ms; an eighth of it when no more come. Until then they are detected upon, but not found by a search.',
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
      description:
        'Events that some rule says something about, kept in memory for detection; more are read again from the state store.',
    }),
    held_bytes: Type.Integer({
      default: 128 * MiB,
      minimum: 0,
      maximum: 65_536 * MiB,
      description:
        'Memory for events that are durable and wait for the telemetry store, bytes; more are read again from the state store.',
    }),
    reader_threads: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 64,
      description:
        'Threads that check events and look through them with the rules; from two on a small batch does not wait behind a large one.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Taking events in.' },
)
export type IngestConfig = Type.Static<typeof IngestConfig>

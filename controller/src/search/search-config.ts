/** The search room's slice of the configuration. */
import { Type } from 'typebox'

export const SearchConfig = Type.Object(
  {
    timeout_s: Type.Integer({
      default: 30,
      minimum: 1,
      maximum: 300,
      description: 'Longest time that one search may take in the store.',
    }),
    running: Type.Integer({
      default: 2,
      minimum: 1,
      maximum: 64,
      description:
        'Searches that the store runs at the same time; others wait for their turn. Inserts never wait behind them.',
    }),
    waiting_per_user: Type.Integer({
      default: 8,
      minimum: 1,
      maximum: 1_000,
      description: 'Searches that one user may have running or waiting; one more is refused.',
    }),
    waiting: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 10_000,
      description: 'Searches that may be running or waiting in all; one more is refused.',
    }),
    exports: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 16,
      description: 'Exports that run at the same time; one more is refused.',
    }),
    export_events: Type.Integer({
      default: 5_000_000,
      minimum: 1,
      maximum: 1_000_000_000,
      description: 'Events that one export may hold.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Searches of events.' },
)
export type SearchConfig = Type.Static<typeof SearchConfig>

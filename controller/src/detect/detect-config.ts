import { Type } from 'typebox'

export const DetectConfig = Type.Object(
  {
    rule_dirs: Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      default: [],
      maxItems: 32,
      description:
        'Folders with Sigma rules, read with their subfolders. Empty: the rules that ship with the controller.',
    }),
    batches_at_once: Type.Integer({
      default: 32,
      minimum: 1,
      maximum: 1024,
      description: 'Committed batches that are read from the store in one go.',
    }),
    max_matches_per_event: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 4096,
      description: 'Rules that one event may match; the rest is counted and dropped, strongest rules kept.',
    }),
    correlation_windows: Type.Integer({
      default: 1_000_000,
      minimum: 1_000,
      maximum: 10_000_000,
      description: 'Groups that all correlations together remember; past it the oldest is forgotten, and counted.',
    }),
    correlation_windows_per_rule: Type.Integer({
      default: 250_000,
      minimum: 100,
      maximum: 10_000_000,
      description: 'Groups that one correlation remembers.',
    }),
    correlation_events: Type.Integer({
      default: 2_000_000,
      minimum: 200_000,
      maximum: 20_000_000,
      description: 'Events that all correlations together remember.',
    }),
    correlation_events_per_window: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 100_000,
      description: 'Events that one group remembers; a correlation that counts further than this never holds.',
    }),
    correlation_lateness_s: Type.Integer({
      default: 3_600,
      minimum: 0,
      maximum: 604_800,
      description: 'How much later than its neighbours an event may come and still be counted with them, s.',
    }),
    correlation_journal_events: Type.Integer({
      default: 2_000_000,
      minimum: 1_000,
      maximum: 20_000_000,
      description: 'Events kept in the state store, so that correlations go on over a restart; past it the oldest go.',
    }),
    retry_ms: Type.Integer({
      default: 1000,
      minimum: 10,
      maximum: 60_000,
      description: 'Wait before a batch is tried again after the store refused it, ms.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Matching committed events against rules.' },
)
export type DetectConfig = Type.Static<typeof DetectConfig>

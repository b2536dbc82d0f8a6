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

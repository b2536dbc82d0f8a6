import { Type } from 'typebox'

export const CoverageConfig = Type.Object(
  {
    keep_days: Type.Integer({
      default: 90,
      minimum: 1,
      maximum: 3_650,
      description: 'How long it is kept which host saw what, and what was lost, in days.',
    }),
    max_windows_per_host: Type.Integer({
      default: 2_000,
      minimum: 100,
      maximum: 100_000,
      description: 'Windows of coverage kept of one host; past it the oldest go.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'What the hosts could see, and when they could not.' },
)
export type CoverageConfig = Type.Static<typeof CoverageConfig>

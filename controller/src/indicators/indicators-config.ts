/** The slice of the configuration for indicators of compromise. */
import { Type } from 'typebox'

export const IndicatorsConfig = Type.Object(
  {
    max_indicators: Type.Integer({
      default: 10_000_000,
      minimum: 1_000,
      maximum: 100_000_000,
      description: 'Indicators in force at most; they cost 10 to 27 bytes of memory each. More are refused.',
    }),
    warning_list_dirs: Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      default: [],
      maxItems: 32,
      description:
        'Folders with warning lists in the format of MISP (JSON), read with their subfolders, beside the lists that ship.',
    }),
    hunt_delay_s: Type.Integer({
      default: 10,
      minimum: 0,
      maximum: 3_600,
      description: 'Wait before new indicators are looked up in stored events, so that what is on its way is stored.',
    }),
    hunt_events: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: 'Stored events of one indicator that become signals at most; the newest.',
    }),
    feed_dir: Type.String({
      default: '/etc/firebreak/feed-secrets',
      minLength: 1,
      maxLength: 4096,
      description:
        'Folder of the files that hold the tokens and passwords of feeds; feeds name them by file name only.',
    }),
    feed_max_bytes: Type.Integer({
      default: 268_435_456,
      minimum: 1_024,
      maximum: 2_147_483_648,
      description: 'Largest answer of a feed.',
    }),
    feed_timeout_s: Type.Integer({
      default: 300,
      minimum: 1,
      maximum: 3_600,
      description: 'Longest time that one fetch of a feed may take in all.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Indicators of compromise.' },
)
export type IndicatorsConfig = Type.Static<typeof IndicatorsConfig>

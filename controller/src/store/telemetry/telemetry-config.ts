import { MiB } from '@firebreak/shared/wire/units.ts'
import { Type } from 'typebox'

const days = (kept: number, why: string) =>
  Type.Integer({ default: kept, minimum: 1, maximum: 3_650, description: `Days that they are kept. ${why}` })

export const TelemetryConfig = Type.Object(
  {
    clickhouse_url: Type.Optional(
      Type.String({
        pattern: '^https?://[^/@]+/?$',
        maxLength: 1_024,
        description:
          'A ClickHouse server, such as https://clickhouse:8443, for more than one machine holds. Without it events are kept in state_dir/telemetry.',
      }),
    ),
    clickhouse_user: Type.String({ default: 'default', minLength: 1, maxLength: 256, description: 'Account there.' }),
    clickhouse_password_file: Type.Optional(
      Type.String({ maxLength: 4_096, description: 'File with its password, readable by the controller alone.' }),
    ),
    keep_days: Type.Object(
      {
        alert: days(365, 'What agents themselves raised: few, and the first thing asked for a year later.'),
        process: days(90, 'Intrusions are often found weeks after they began.'),
        authentication: days(180, 'Few, and who was where when is asked longest.'),
        network: days(60, 'Many; long enough for slow beacons and for indicators that are published weeks later.'),
        file: days(30, 'The most, and the least telling once a process is known.'),
        inventory: days(180, 'Which version ran when, for vulnerabilities that become known later.'),
      },
      {
        additionalProperties: false,
        default: {},
        description: 'How long events are kept, by class, from the day they came.',
      },
    ),
    max_bytes: Type.Integer({
      default: 65_536 * MiB,
      minimum: 64 * MiB,
      maximum: Number.MAX_SAFE_INTEGER,
      description:
        'Of all events on disk, compressed. Past it the oldest day of the least important class goes first; today stays.',
    }),
    check_every_s: Type.Integer({
      default: 300,
      minimum: 1,
      maximum: 86_400,
      description: 'How often age and size are looked at, s.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Keeping events.' },
)
export type TelemetryConfig = Type.Static<typeof TelemetryConfig>

/** What is in a backup. Written last and whole: a folder without it is no backup. */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'

export const MANIFEST_FILE = 'manifest.json'
export const FORMAT = 1

const Count = Type.Integer({ minimum: 0 })
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })

export const Manifest = Type.Object(
  {
    format: Type.Literal(FORMAT),
    made_at: Type.String({ maxLength: 40, description: 'When both stores were as they are in it.' }),
    version: Type.String({ maxLength: 64, description: 'Firebreak that made it.' }),
    deployment_id: Type.String({ maxLength: 128 }),
    audit: Type.Object({ records: Count, head_sha256: Sha256 }, { additionalProperties: false }),
    telemetry: Type.Union([
      Type.Object(
        {
          events: Count,
          days: Type.Array(
            Type.Object({ day: Type.String({ maxLength: 10 }), class: Type.String({ maxLength: 64 }), events: Count }),
          ),
        },
        { additionalProperties: false },
      ),
      Type.Null({ description: 'On a ClickHouse server, which has backups of its own.' }),
    ]),
    files: Type.Array(
      Type.Object(
        { path: Type.String({ maxLength: 4096 }), bytes: Count, sha256: Sha256 },
        { additionalProperties: false },
      ),
      { maxItems: 10_000_000 },
    ),
  },
  { additionalProperties: false },
)
export type Manifest = Type.Static<typeof Manifest>
export const manifestSchema = Compile(Manifest)

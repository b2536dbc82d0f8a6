/**
 * Fields of records that other programs wrote and that were imported: Windows event logs as Winlogbeat names them, the audit log
 * of Linux as Auditbeat does, and the record itself where nothing better is known of it.
 * Source: Elastic Common Schema 9.x (registry, dll, pe), Winlogbeat and Auditbeat "Exported fields".
 */
import { Type } from 'typebox'
import { closed, count, FIELD_LIMITS, keyword, maybe, text } from './field-kinds.ts'

/** Of a record as it was written. */
export const RECORD_LIMITS = { fields: 1_024, name: 256, depth: 8 } as const

const Scalar = Type.Union([Type.String({ maxLength: FIELD_LIMITS.text }), Type.Number(), Type.Boolean(), Type.Null()])
const FieldName = Type.String({ maxLength: RECORD_LIMITS.name })

/** Values under the names that their provider gave them. */
const Data = (description: string) =>
  Type.Record(FieldName, Type.Union([Scalar, Type.Array(Scalar, { maxItems: FIELD_LIMITS.list })]), {
    maxProperties: RECORD_LIMITS.fields,
    description,
  })

export const Pe = closed(
  {
    original_file_name: maybe(keyword('Name that was compiled in.')),
    description: maybe(keyword('Description that was compiled in.')),
    product: maybe(keyword('Product that was compiled in.')),
    company: maybe(keyword('Company that was compiled in.')),
    file_version: maybe(keyword('Version that was compiled in.')),
    imphash: maybe(keyword('Digest of the imports.')),
  },
  'What a Windows executable says of itself.',
)

export const Registry = closed(
  {
    path: maybe(keyword('Hive, key and value.')),
    hive: maybe(keyword('Abbreviated name of the hive, such as HKLM.')),
    key: maybe(keyword('Key under the hive.')),
    value: maybe(keyword('Name of the value.')),
    data: maybe(
      closed(
        {
          strings: maybe(
            Type.Array(text('One text.'), { maxItems: FIELD_LIMITS.list, description: 'What was written, as text.' }),
          ),
        },
        'What was written.',
      ),
    ),
  },
  'The Windows registry.',
)

export const Winlog = closed(
  {
    channel: maybe(keyword('Channel, such as Security.')),
    event_id: maybe(keyword('Event id; its meaning depends on the provider.')),
    provider_name: maybe(keyword('Source of the record.')),
    provider_guid: maybe(keyword('Id of the source.')),
    computer_name: maybe(keyword('Computer that wrote it.')),
    record_id: maybe(keyword('Number of the record in its channel.')),
    event_data: maybe(Data('The data of the record, under the names of its provider.')),
    user_data: maybe(Data('The same, for records that have user data.')),
  },
  'A record of the Windows event log.',
)

export const Auditd = closed(
  {
    sequence: maybe(count('Serial number that the records of one event share.')),
    session: maybe(keyword('Login session.')),
    result: maybe(keyword('success or fail.')),
    message_type: Type.Array(keyword('One type, such as SYSCALL.'), {
      maxItems: 64,
      description: 'Types of the records that the event is made of.',
    }),
    data: maybe(Data('The fields of the records; where two have the same name, a list.')),
  },
  'An event of the Linux audit system.',
)

export const IMPORT_FORMATS = ['ecs', 'windows', 'auditd', 'other'] as const
export const Imported = closed(
  {
    file_sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'Digest of the recording, decompressed.' }),
    line: count('Line of the recording, the first is 1.'),
    format: Type.Enum([...IMPORT_FORMATS], { description: 'What the record was read as.' }),
    time: Type.Enum(['record', 'previous', 'import'], {
      description: 'Where the time is from: the record, the one before it, or when it was imported.',
    }),
    shifted_ms: maybe(Type.Integer({ description: 'What was added to the time of the record, ms.' })),
  },
  'It came from a recording and not from an agent.',
)

export const Recorded = Type.Record(FieldName, Type.Unknown(), {
  maxProperties: RECORD_LIMITS.fields,
  description: 'The record as it was written, where no field of ECS is known for all of it.',
})

/**
 * What can be searched by: every field of the event schema, with the type that decides what may be asked of it. A field with a column
 * answers at once; any other is read out of the text of each event.
 */
import { Event } from '@firebreak/shared/events/event.ts'
import type { TSchema } from 'typebox'
import { EVENT_COLUMNS } from '../store/telemetry/event-columns.ts'
import { nearestWord } from '@firebreak/shared/nearest-word.ts'

export const FIELD_TYPES = ['keyword', 'text', 'number', 'ip', 'date', 'boolean', 'id'] as const
export type FieldType = (typeof FIELD_TYPES)[number]

export interface Field {
  readonly name: string
  /** `text`: its words are looked for; `keyword`: the whole value; `id`: the whole value, as it is written. */
  readonly type: FieldType
  readonly description: string
  /** Answers without reading whole events. */
  readonly fast: boolean
}

interface Shape {
  readonly type?: string
  readonly pattern?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, TSchema>>
  readonly items?: TSchema
}

/** Kept by the store beside the event, and searched under their ECS names. */
const KEPT: Readonly<Record<string, FieldType>> = {
  '@timestamp': 'date',
  'event.ingested': 'date',
  'event.id': 'id',
  'host.id': 'id',
}
/** Prose and command lines: people look for words in them. */
const PROSE = /(^|\.)(command_line|args|message|reason)$/
const ADDRESS = /(^|\.)(ip|resolved_ip)$/
/** A pattern that only times have. */
const TIME_PATTERN = 'T\\d\\d:'
const MAX_DEPTH = 8

export const FIELDS: ReadonlyMap<string, Field> = new Map(
  leavesOf('', Event, { inList: false, depth: 0 })
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))
    .map((field) => [field.name, field]),
)

export function fieldNamed(name: string): Field | undefined {
  return FIELDS.get(name) ?? flattened(name)
}

/** Records keep what other systems say under names that the schema does not know: any name below one is a field. */
function flattened(name: string): Field | undefined {
  for (let at: Shape = Event, path = name.split('.'); path.length > 0; path = path.slice(1)) {
    const [head = '', ...rest] = path
    const next = at.properties && Object.hasOwn(at.properties, head) ? at.properties[head] : undefined
    if (!next) return undefined
    if (isRecordSchema(next) && rest.length > 0)
      return { name, type: 'keyword', description: (next as Shape).description ?? '', fast: false }
    at = next
  }
  return undefined
}

export function nearestField(name: string): string | undefined {
  const names = [...FIELDS.keys()]
  const ending = names.filter((known) => known.endsWith(`.${name}`))
  // `pid` is `process.pid` and not the first word that looks like it.
  return ending.toSorted((one, other) => one.length - other.length)[0] ?? nearestWord(name, names)
}

interface Place {
  /** Within a list of things: their values are compared as text, as there are many of them. */
  readonly inList: boolean
  readonly depth: number
}

function leavesOf(prefix: string, schema: TSchema, { inList, depth }: Place): Field[] {
  if (depth > MAX_DEPTH) return []
  const { properties = {} }: Shape = schema
  return Object.entries(properties).flatMap(([name, member]) => {
    const whole = prefix === '' ? name : `${prefix}.${name}`
    const shape: Shape = member
    const inner: Shape = shape.type === 'array' && shape.items ? shape.items : shape
    const place = { inList: inList || shape.type === 'array', depth: depth + 1 }
    if (inner.properties) return leavesOf(whole, shape.type === 'array' && shape.items ? shape.items : member, place)
    if (inner.type === 'object') return []
    return [
      {
        name: whole,
        type: inList ? 'keyword' : typeOf(whole, inner),
        description: shape.description ?? inner.description ?? '',
        fast: Object.hasOwn(EVENT_COLUMNS, whole) || Object.hasOwn(KEPT, whole),
      },
    ]
  })
}

function typeOf(name: string, { type, pattern }: Shape): FieldType {
  const kept = KEPT[name]
  if (kept !== undefined) return kept
  if (type === 'integer' || type === 'number') return 'number'
  if (type === 'boolean') return 'boolean'
  if (ADDRESS.test(name)) return 'ip'
  if (pattern?.includes(TIME_PATTERN)) return 'date'
  return PROSE.test(name) ? 'text' : 'keyword'
}

function isRecordSchema(schema: TSchema): boolean {
  return 'patternProperties' in schema
}

/**
 * A record that is in ECS already, nested or with dots in its names, whoever wrote it. What the schema of events knows is taken over
 * where it fits; everything else is handed back, so that nothing is lost.
 */
import type { TSchema } from 'typebox'
import { EVENT_CATEGORIES, EVENT_TYPES, Event } from '../events/event.ts'
import { FIELD_LIMITS } from '../events/field-kinds.ts'
import { bounded, flattened, isRecord, type RawRecord, textIn } from './record-values.ts'

export function isEcsRecord(record: RawRecord): boolean {
  if (record['event.category'] !== undefined || record['event.kind'] !== undefined) return true
  const event = record['event']
  return (
    isRecord(event) && (event['category'] !== undefined || event['kind'] !== undefined || event['action'] !== undefined)
  )
}

export interface EcsParts {
  readonly event: Event
  /** What the schema has no place for, under its own names. */
  readonly rest: RawRecord | undefined
}

const MAX_DEPTH = 12

export function ecsPartsOf(record: RawRecord, at: string): EcsParts {
  const nested = nestedOf(record)
  const rest: Record<string, unknown> = {}
  const taken = take(Event, nested, '', rest, 0)
  const fields = isRecord(taken) ? taken : {}
  const event = isRecord(fields['event']) ? fields['event'] : {}
  // Only the controller says who it was and which number it has; what was imported says so itself.
  const { id: _id, ingested: _ingested, ...own } = event
  const host = isRecord(fields['host']) ? fields['host'] : undefined
  const firebreak = isRecord(fields['firebreak']) ? fields['firebreak'] : undefined
  const { import: _import, record: _record, ...words } = firebreak ?? {}
  const { id: _hostId, ...hostWords } = host ?? {}
  const { host: _host, firebreak: _firebreak, ...others } = fields
  return {
    event: {
      ...others,
      '@timestamp': at,
      event: {
        ...own,
        category: wordsOf(event['category'] ?? valueAt(nested, 'event', 'category'), EVENT_CATEGORIES, 'host'),
        type: wordsOf(event['type'] ?? valueAt(nested, 'event', 'type'), EVENT_TYPES, 'info'),
        action: textIn(own['action']) ?? textIn(own['code']) ?? 'imported',
      },
      ...(Object.keys(hostWords).length > 0 ? { host: hostWords } : {}),
      ...(Object.keys(words).length > 0 ? { firebreak: words } : {}),
    },
    rest: Object.keys(rest).length > 0 ? (bounded(rest) as RawRecord) : undefined,
  }
}

function valueAt(record: RawRecord, outer: string, inner: string): unknown {
  const object = record[outer]
  return isRecord(object) ? object[inner] : undefined
}

/** At most four of the words that the schema knows; ECS allows one word alone instead of a list. */
function wordsOf<T extends string>(value: unknown, known: readonly T[], otherwise: T): T[] {
  const words = (Array.isArray(value) ? value : [value]) as unknown[]
  const fitting = [...new Set(words)].filter((word): word is T => known.includes(word as T)).slice(0, 4)
  return fitting.length > 0 ? fitting : [otherwise]
}

/** `process.name` becomes `process: {name}`; where both are there the nested one wins. */
function nestedOf(record: RawRecord): RawRecord {
  const names = Object.keys(record)
  if (!names.some((name) => name.includes('.'))) return record
  const nested: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const name of names) if (!name.includes('.')) nested[name] = copied(record[name])
  for (const name of names) {
    if (!name.includes('.')) continue
    const parts = name.split('.', MAX_DEPTH)
    let at = nested
    for (const part of parts.slice(0, -1)) {
      const inner = Object.hasOwn(at, part) ? at[part] : undefined
      if (isRecord(inner)) at = inner
      else {
        const made = Object.create(null) as Record<string, unknown>
        if (inner === undefined) at[part] = made
        at = made
      }
    }
    const last = parts.at(-1) ?? ''
    if (!Object.hasOwn(at, last)) at[last] = record[name]
  }
  return nested
}

function copied(value: unknown): unknown {
  return isRecord(value) ? Object.assign(Object.create(null) as object, value) : value
}

interface ShapeOf {
  readonly type?: string
  readonly properties?: Readonly<Record<string, TSchema>>
  readonly items?: TSchema
  readonly maxItems?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly enum?: readonly unknown[]
  readonly minimum?: number
  readonly maximum?: number
  readonly required?: readonly string[]
  readonly patternProperties?: unknown
}

/** What fits the schema; the rest goes into `rest` under its whole name. `undefined` when nothing fits. */
function take(schema: TSchema, value: unknown, path: string, rest: Record<string, unknown>, depth: number): unknown {
  const shape = schema as ShapeOf
  const leave = () => {
    if (path !== '' && !IGNORED.has(path))
      Object.defineProperty(rest, path, { value, enumerable: true, configurable: true, writable: true })
    return undefined
  }
  if (shape.properties !== undefined) {
    if (!isRecord(value) || depth > MAX_DEPTH) return leave()
    const taken: Record<string, unknown> = {}
    for (const [name, inner] of Object.entries(value)) {
      const place = path === '' ? name : `${path}.${name}`
      const known = Object.hasOwn(shape.properties, name) ? shape.properties[name] : undefined
      if (known === undefined) {
        if (!IGNORED.has(place))
          Object.defineProperty(rest, place, { value: inner, enumerable: true, configurable: true, writable: true })
        continue
      }
      const fitting = take(known, inner, place, rest, depth + 1)
      if (fitting !== undefined) taken[name] = fitting
    }
    const missing = (shape.required ?? []).filter((name) => !Object.hasOwn(taken, name))
    // Whole without its heart it would be refused; the few that have one keep what they have beside the event.
    if (missing.length > 0 && path !== '' && path !== 'event') return leave()
    return Object.keys(taken).length > 0 ? taken : undefined
  }
  if (shape.type === 'array') return listFor(shape, value) ?? leave()
  if (shape.patternProperties !== undefined)
    return isRecord(value) ? Object.fromEntries(flattened(value).fields) : leave()
  return scalarFor(shape, value) ?? leave()
}

/** Set by the import itself. */
const IGNORED: ReadonlySet<string> = new Set([
  '@timestamp',
  'event.category',
  'event.type',
  'event.id',
  'event.ingested',
  'host.id',
])

function listFor(shape: ShapeOf, value: unknown): unknown[] | undefined {
  const items = (Array.isArray(value) ? value : [value]) as unknown[]
  if (shape.items === undefined || items.length > (shape.maxItems ?? FIELD_LIMITS.list)) return undefined
  const taken: unknown[] = []
  for (const item of items) {
    const unused: Record<string, unknown> = {}
    const fitting = take(shape.items, item, '', unused, 1)
    if (fitting === undefined || Object.keys(unused).length > 0) return undefined
    taken.push(fitting)
  }
  return taken.length > 0 ? taken : undefined
}

function scalarFor(shape: ShapeOf, value: unknown): unknown {
  if (shape.enum !== undefined) return shape.enum.includes(value) ? value : undefined
  if (shape.type === 'string') {
    const text = typeof value === 'number' || typeof value === 'boolean' ? String(value) : value
    if (typeof text !== 'string') return undefined
    if (shape.pattern !== undefined && !new RegExp(shape.pattern, 'u').test(text)) return undefined
    return text.toWellFormed()
  }
  if (shape.type === 'integer' || shape.type === 'number') {
    const number = typeof value === 'string' && /^-?\d{1,15}(\.\d+)?$/.test(value) ? Number(value) : value
    if (typeof number !== 'number' || !Number.isFinite(number)) return undefined
    if (shape.type === 'integer' && !Number.isSafeInteger(number)) return undefined
    return number >= (shape.minimum ?? -Infinity) && number <= (shape.maximum ?? Infinity) ? number : undefined
  }
  if (shape.type === 'boolean') return typeof value === 'boolean' ? value : undefined
  return undefined
}

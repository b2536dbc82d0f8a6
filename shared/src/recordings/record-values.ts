/** Values of records that others wrote: what is a text, a number, an address, a time, and how much of it is kept. */
import { isIP } from 'node:net'
import { RECORD_LIMITS } from '../events/recorded-fields.ts'
import { FIELD_LIMITS } from '../events/field-kinds.ts'

export type RawRecord = Readonly<Record<string, unknown>>
export type Scalar = string | number | boolean | null

export function isRecord(value: unknown): value is RawRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Text that says something: `-`, N/A and the empty text are how Windows writes nothing. */
export function textIn(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  if (typeof value !== 'string' || value === '' || value === '-' || value === 'N/A') return undefined
  return value
}

/** A whole number from 0 to `most`, decimal or 0x hexadecimal. */
export function wholeNumber(value: unknown, most: number): number | undefined {
  const text = textIn(value)
  if (text === undefined || !/^(?:\d{1,16}|0x[0-9a-fA-F]{1,13})$/.test(text.trim())) return undefined
  const number = Number(text)
  return Number.isSafeInteger(number) && number <= most ? number : undefined
}

export function portIn(value: unknown): number | undefined {
  return wholeNumber(value, 65_535)
}

export function pidIn(value: unknown): number | undefined {
  return wholeNumber(value, 2 ** 31 - 1)
}

/** IPv4 or IPv6; IPv4 in IPv6 clothes becomes IPv4. */
export function addressIn(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  const text = value.trim()
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text
  return isIP(mapped) === 0 || mapped.includes('%') ? undefined : mapped
}

/** As Windows writes paths: the last part. Also with slashes. */
export function baseName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('\\'), path.lastIndexOf('/')) + 1)
}

export function folderName(path: string): string | undefined {
  const at = Math.max(path.lastIndexOf('\\'), path.lastIndexOf('/'))
  return at > 0 ? path.slice(0, at) : undefined
}

export function extensionOf(name: string): string | undefined {
  const dot = name.lastIndexOf('.')
  return dot > 0 && dot < name.length - 1 ? name.slice(dot + 1) : undefined
}

/** Only what has a value. */
export function given<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never
}

/** The same, and `undefined` when nothing is left. */
export function anyGiven<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } | undefined {
  const kept = given(object)
  return Object.keys(kept).length > 0 ? kept : undefined
}

/**
 * A record made flat: objects become names with dots, lists of scalars stay, anything deeper becomes its JSON text. Told by `cut`
 * when fields had to be left out because there are too many.
 */
export function flattened(record: RawRecord): {
  readonly fields: ReadonlyMap<string, Scalar | Scalar[]>
  readonly cut: boolean
} {
  const fields = new Map<string, Scalar | Scalar[]>()
  let cut = false
  const visit = (value: unknown, name: string, depth: number): void => {
    if (fields.size >= RECORD_LIMITS.fields) {
      cut = true
      return
    }
    if (isScalar(value)) fields.set(nameOf(name), scalar(value))
    else if (Array.isArray(value)) fields.set(nameOf(name), listOf(value))
    else if (isRecord(value)) {
      if (depth >= RECORD_LIMITS.depth) fields.set(nameOf(name), jsonText(value))
      else
        for (const [key, inner] of Object.entries(value)) visit(inner, name === '' ? key : `${name}.${key}`, depth + 1)
    }
  }
  visit(record, '', 0)
  return { fields, cut }
}

/** A list of scalars that fit; members that are none become JSON text. */
function listOf(list: readonly unknown[]): Scalar[] {
  return list.slice(0, FIELD_LIMITS.list).map((item) => (isScalar(item) ? scalar(item) : jsonText(item)))
}

function isScalar(value: unknown): value is Scalar {
  return value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
}

/** Half a character has no UTF-8: the store would see nothing of the event. */
function scalar(value: Scalar): Scalar {
  return typeof value === 'string' ? value.toWellFormed() : value
}

function nameOf(name: string): string {
  return name.slice(0, RECORD_LIMITS.name).toWellFormed()
}

export function jsonText(value: unknown): string {
  return JSON.stringify(value).toWellFormed()
}

/** A value with its shape kept, as deep as an event may be; what lies deeper becomes its JSON text. */
export function bounded(value: unknown, depth = 0): unknown {
  if (isScalar(value)) return scalar(value)
  if (depth >= RECORD_LIMITS.depth) return jsonText(value)
  if (Array.isArray(value)) return value.slice(0, FIELD_LIMITS.list).map((item) => bounded(item, depth + 1))
  if (!isRecord(value)) return jsonText(value ?? null)
  // fromEntries makes own properties also of names such as __proto__.
  return Object.fromEntries(
    Object.entries(value)
      .slice(0, RECORD_LIMITS.fields)
      .map(([name, inner]) => [nameOf(name), bounded(inner, depth + 1)]),
  )
}

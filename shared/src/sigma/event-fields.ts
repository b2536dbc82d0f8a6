/**
 * How the fields that rules name are found in an event of a given shape, without copying the event: flat records, nested
 * objects under dotted names, Windows records as event viewers render them, and ECS under Sigma's field names.
 */

export type SigmaEvent = Readonly<Record<string, unknown>>
/** Value of one field, `undefined` when the event has no such field. */
export type Accessor = (event: SigmaEvent) => unknown

/** One shape of event: gives the accessor of a field name. Called once per name, when rules are planned. */
export interface FieldShape {
  readonly name: string
  accessor(field: string): Accessor
}

const MAX_LIST = 512

/** The field by its own name, or by the path that its dots spell. */
export function pathAccessor(field: string): Accessor {
  const own = ownAccessor(field)
  if (!field.includes('.')) return own
  const names = namesFrom(field.split('.'))
  return (event) => {
    const direct = own(event)
    return direct === undefined ? walk(event, names, 0) : direct
  }
}

/** From each part on, the names that a key may have: `a`, `a.b`, `a.b.c`. Made once: a name made for each event costs its hash again. */
type Names = readonly (readonly string[])[]

function namesFrom(parts: readonly string[]): Names {
  return parts.map((_, at) => parts.slice(at).map((_, more) => parts.slice(at, at + more + 1).join('.')))
}

function ownAccessor(field: string): Accessor {
  // Names such as `constructor` would find what every object inherits.
  if (field in Object.prototype) return (event) => (Object.hasOwn(event, field) ? event[field] : undefined)
  return (event) => event[field]
}

function walk(value: unknown, names: Names, at: number): unknown {
  if (at === names.length) return value
  if (typeof value !== 'object' || value === null) return undefined
  if (Array.isArray(value)) return walkList(value, names, at)
  const record = value as Record<string, unknown>
  const keys = names[at] as readonly string[]
  const name = keys[0] as string
  if (Object.hasOwn(record, name)) {
    const found = walk(record[name], names, at + 1)
    if (found !== undefined) return found
  }
  // A key may hold dots itself: `{"winlog": {"event_data.User": "x"}}`.
  for (let more = 1; more < keys.length; more++) {
    const joined = keys[more] as string
    if (Object.hasOwn(record, joined)) return walk(record[joined], names, at + more + 1)
  }
  return undefined
}

/** A path through a list finds the values of all its items. */
function walkList(list: readonly unknown[], names: Names, at: number): unknown {
  const found: unknown[] = []
  for (const item of list.slice(0, MAX_LIST)) {
    const value = walk(item, names, at)
    if (Array.isArray(value)) found.push(...(value.slice(0, MAX_LIST) as unknown[]))
    else if (value !== undefined) found.push(value)
  }
  return found.length === 0 ? undefined : found
}

/** A table from Sigma's field name to where else its value may be: further names, or a function that puts it together. */
export type FieldTable = Readonly<Record<string, readonly (string | Accessor)[]>>

/** The field itself first, then what the table says. */
export function mappedShape(name: string, table: FieldTable): FieldShape {
  return {
    name,
    accessor(field) {
      const own = pathAccessor(field)
      const others = Object.hasOwn(table, field)
        ? (table[field] ?? []).map((other) => (typeof other === 'string' ? pathAccessor(other) : other))
        : []
      if (others.length === 0) return own
      return (event) => {
        const direct = own(event)
        if (direct !== undefined) return direct
        for (const other of others) {
          const value = other(event)
          if (value !== undefined && value !== null) return value
        }
        return undefined
      }
    },
  }
}

/** One digest out of `SHA256=...,MD5=...`, the way Sysmon writes them. */
export function digestOf(hashes: Accessor, algorithm: string): Accessor {
  const prefix = `${algorithm.toLowerCase()}=`
  return (event) => {
    const value = hashes(event)
    if (typeof value !== 'string') return undefined
    for (const part of value.split(',')) {
      const trimmed = part.trim()
      if (trimmed.slice(0, prefix.length).toLowerCase() === prefix) return trimmed.slice(prefix.length)
    }
    return undefined
  }
}

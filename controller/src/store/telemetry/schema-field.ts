/** Where the schema of events has a field, and how ClickHouse reads it out of an event's text. */
import type { TSchema } from 'typebox'

export interface SchemaField {
  readonly type: 'text' | 'number' | 'list'
  readonly sql: string
}

interface Shape {
  readonly type?: string
  readonly properties?: Readonly<Record<string, TSchema>>
  readonly patternProperties?: Readonly<Record<string, TSchema>>
  readonly items?: TSchema
  readonly anyOf?: readonly TSchema[]
}

/** `undefined` when the schema has no such field, or it is not one value but a whole object. */
export function schemaField(schema: TSchema, field: string): SchemaField | undefined {
  const parts = field.split('.')
  const path: string[] = []
  let at = schema as Shape
  for (const [i, part] of parts.entries()) {
    if (at.patternProperties) {
      // Records under names of their provider: the rest is one name, as Elastic flattens it.
      return {
        type: 'text',
        sql: `JSONExtract(raw, ${[...path, quoted(parts.slice(i).join('.'))].join(', ')}, 'String')`,
      }
    }
    const next = own(at.properties, part)
    if (!next) return undefined
    path.push(quoted(part))
    if (next.type === 'array') return listField(path, next.items, parts.slice(i + 1))
    at = next
  }
  switch (at.type) {
    case 'integer':
    case 'number':
      return { type: 'number', sql: '' }
    case 'object':
      return undefined
    case 'boolean':
      // As it is written: true, false, or nothing.
      return { type: 'text', sql: `JSONExtractRaw(raw, ${path.join(', ')})` }
    default:
      return { type: 'text', sql: `JSONExtract(raw, ${path.join(', ')}, 'String')` }
  }
}

function listField(
  path: readonly string[],
  items: Shape | undefined,
  rest: readonly string[],
): SchemaField | undefined {
  if (rest.length === 0)
    return items?.type === 'object'
      ? undefined
      : { type: 'list', sql: `JSONExtract(raw, ${path.join(', ')}, 'Array(String)')` }
  const [name = ''] = rest
  if (rest.length > 1 || !own(items?.properties, name) || !/^\w+$/.test(name)) return undefined
  return {
    type: 'list',
    sql: `arrayMap(item -> tupleElement(item, 1), JSONExtract(raw, ${path.join(', ')}, 'Array(Tuple(\`${name}\` String))'))`,
  }
}

/** What a schema has of its own: every object has a `constructor`. */
function own(properties: Shape['properties'], name: string): Shape | undefined {
  return properties && Object.hasOwn(properties, name) ? properties[name] : undefined
}

function quoted(name: string): string {
  return `'${name.replaceAll(/[\\']/g, String.raw`\$&`)}'`
}

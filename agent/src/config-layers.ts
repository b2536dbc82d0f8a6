/** Layers of settings over a TypeBox schema: YAML with line numbers, environment, flags. An unknown key is an error that names the nearest one. */
import { readFileSync } from 'node:fs'
import { nearestWord } from '@firebreak/shared/nearest-word.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { Value } from 'typebox/value'
import { LineCounter, isMap, isScalar, parse, parseDocument } from 'yaml'

export interface Problem {
  /** `file:line`, the name of a variable, or the command line. */
  readonly where: string
  readonly what: string
}

export interface Layer {
  readonly set: unknown
  where(dotted: string): string
}

export interface LaidOver {
  readonly value: unknown
  readonly origins: ReadonlyMap<string, string>
}

const MAX_FILE_BYTES = 1024 * 1024

/** Reads one file. What is wrong with its text or its keys is added to `problems`; values are judged when all layers are known. */
export function readYamlLayer(path: string, schema: TSchema, problems: Problem[]): Layer {
  const nothing: Layer = { set: {}, where: () => path }
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (thrown) {
    problems.push({ where: path, what: `cannot be read: ${reasonOf(thrown)}` })
    return nothing
  }
  if (text.length > MAX_FILE_BYTES) {
    problems.push({ where: path, what: `is longer than ${MAX_FILE_BYTES} bytes` })
    return nothing
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false })
  for (const error of document.errors)
    problems.push({ where: `${path}:${lines.linePos(error.pos[0]).line}`, what: error.message })
  if (document.errors.length > 0) return nothing
  if (document.contents === null) return nothing
  if (!isMap(document.contents)) {
    problems.push({ where: `${path}:1`, what: 'settings are written as `name: value`' })
    return nothing
  }
  const places = new Map<string, string>()
  notePlaces(document.contents, '', places, (offset) => `${path}:${lines.linePos(offset).line}`)
  const set = document.toJS({ maxAliasCount: 100 }) as unknown
  findUnknown(set, schema, '', (dotted) => places.get(dotted) ?? path, problems)
  return { set, where: (dotted) => nearestPlace(places, dotted) ?? path }
}

/** `PREFIX_SECTION_KEY` for every setting of the schema that has no members of its own. A list is written as YAML or with commas. */
export function environmentLayer(
  prefix: string,
  env: Readonly<Record<string, string | undefined>>,
  schema: TSchema,
  problems: Problem[],
): Layer {
  const set: Record<string, unknown> = {}
  const names = new Map<string, string>()
  for (const [dotted, leaf] of leavesOf(schema, '')) {
    const name = `${prefix}_${dotted.replaceAll('.', '_').toUpperCase()}`
    const text = env[name]
    if (text === undefined) continue
    names.set(dotted, name)
    try {
      put(set, dotted, valueOf(text, leaf))
    } catch (thrown) {
      problems.push({ where: name, what: reasonOf(thrown) })
    }
  }
  return { set, where: (dotted) => nearestPlace(names, dotted) ?? 'the environment' }
}

/** Lays the later over the earlier, fills in defaults and checks every value. `undefined` when there was or is a problem. */
export function layOver(schema: TSchema, layers: readonly Layer[], problems: Problem[]): LaidOver | undefined {
  const origins = new Map<string, string>()
  let merged: unknown = {}
  for (const layer of layers) {
    merged = merge(merged, layer.set)
    noteOrigins(layer.set, '', layer, origins)
  }
  const value: unknown = Value.Default(schema, merged)
  for (const error of Compile(schema).Errors(value)) {
    if (error.keyword === 'additionalProperties' || error.keyword === 'boolean') continue // told by findUnknown, with the nearest name
    const dotted = error.instancePath.slice(1).replaceAll('/', '.')
    const allowed = 'allowedValues' in error.params ? `: ${error.params.allowedValues.join(', ')}` : ''
    problems.push({
      where: nearestPlace(origins, dotted) ?? 'the defaults',
      what: `${dotted || 'the whole'} ${error.message}${allowed}`,
    })
  }
  return problems.length > 0 ? undefined : { value, origins }
}

function findUnknown(
  value: unknown,
  schema: TSchema,
  path: string,
  where: (dotted: string) => string,
  problems: Problem[],
): void {
  const members = membersOf(schema)
  if (members === undefined || !isObject(value)) return
  for (const [name, member] of Object.entries(value)) {
    const dotted = path === '' ? name : `${path}.${name}`
    const known = Object.hasOwn(members, name) ? members[name] : undefined
    if (known) {
      findUnknown(member, known, dotted, where, problems)
      continue
    }
    const nearest = nearestWord(name, Object.keys(members))
    const hint = nearest === undefined ? `known are ${Object.keys(members).join(', ')}` : `did you mean ${nearest}?`
    problems.push({ where: where(dotted), what: `there is no setting ${dotted}; ${hint}` })
  }
}

function notePlaces(node: unknown, path: string, places: Map<string, string>, at: (offset: number) => string): void {
  if (!isMap(node)) return
  for (const { key, value } of node.items) {
    if (!isScalar(key) || !key.range) continue
    const dotted = path === '' ? String(key.value) : `${path}.${String(key.value)}`
    places.set(dotted, at(key.range[0]))
    notePlaces(value, dotted, places, at)
  }
}

/** The place of a name, or of the nearest thing around it. */
function nearestPlace(places: ReadonlyMap<string, string>, dotted: string): string | undefined {
  for (let name = dotted; name !== ''; name = name.slice(0, Math.max(0, name.lastIndexOf('.')))) {
    const place = places.get(name)
    if (place !== undefined) return place
  }
  return undefined
}

function noteOrigins(value: unknown, path: string, layer: Layer, origins: Map<string, string>): void {
  if (isObject(value)) {
    for (const [name, member] of Object.entries(value))
      noteOrigins(member, path === '' ? name : `${path}.${name}`, layer, origins)
  } else if (path !== '') origins.set(path, layer.where(path))
}

function merge(below: unknown, above: unknown): unknown {
  if (!isObject(below) || !isObject(above)) return above
  const merged: Record<string, unknown> = { ...below }
  for (const [name, member] of Object.entries(above))
    merged[name] = name in merged ? merge(merged[name], member) : member
  return merged
}

function* leavesOf(schema: TSchema, path: string): Generator<[string, TSchema]> {
  const members = membersOf(schema)
  if (members === undefined) yield [path, schema]
  else
    for (const [name, member] of Object.entries(members))
      yield* leavesOf(member, path === '' ? name : `${path}.${name}`)
}

function membersOf(schema: TSchema): Record<string, TSchema> | undefined {
  return (schema as { properties?: Record<string, TSchema> }).properties
}

function valueOf(text: string, schema: TSchema): unknown {
  const type = (schema as { type?: string }).type
  if (type === 'array') return text.trim().startsWith('[') ? parse(text) : text.split(',').map((part) => part.trim())
  return type === 'integer' || type === 'number' || type === 'boolean' ? parse(text) : text
}

function put(set: Record<string, unknown>, dotted: string, value: unknown): void {
  const names = dotted.split('.')
  const last = names.pop() ?? ''
  let inner = set
  for (const name of names) {
    inner[name] ??= {}
    inner = inner[name] as Record<string, unknown>
  }
  inner[last] = value
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Where a value of the configuration comes from, and what is wrong with it, told by file and line. */
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TSchema } from 'typebox'
import { isMap, isScalar, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import { reasonOf } from '@firebreak/shared/result.ts'
import { nearestWord } from '@firebreak/shared/nearest-word.ts'

const MAX_FILE_BYTES = 1024 * 1024

/** Key path, such as `gateway.port`, → the schema of its value. Sections are left out. */
export type Leaves = ReadonlyMap<string, TSchema>

export interface Setting {
  readonly path: string
  readonly value: unknown
  /** `/etc/firebreak/controller.yaml:12`, `FIREBREAK_GATEWAY_PORT`, `--port`. */
  readonly origin: string
}

export function leavesOf(schema: TSchema, prefix = ''): Map<string, TSchema> {
  const leaves = new Map<string, TSchema>()
  const properties = (schema as { properties?: Record<string, TSchema> }).properties ?? {}
  for (const [name, member] of Object.entries(properties)) {
    const path = prefix === '' ? name : `${prefix}.${name}`
    if (isSection(member)) for (const [inner, leaf] of leavesOf(member, path)) leaves.set(inner, leaf)
    else leaves.set(path, member)
  }
  return leaves
}

function isSection(schema: TSchema): boolean {
  return typeof (schema as { properties?: unknown }).properties === 'object'
}

/** The files in the order in which the later one wins: the main file, then the drop-ins by name. */
export function configFiles(file: string, dropInDir: string | undefined): string[] {
  if (dropInDir === undefined) return [file]
  let names: string[]
  try {
    names = readdirSync(dropInDir)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [file]
    throw thrown
  }
  return [
    file,
    ...names
      .filter((name) => /\.ya?ml$/.test(name))
      .sort()
      .map((name) => join(dropInDir, name)),
  ]
}

/** An absent file is an empty one, unless it was asked for by name. */
export function readYaml(file: string, required: boolean, leaves: Leaves, problems: string[]): Setting[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (thrown) {
    const absent = (thrown as NodeJS.ErrnoException).code === 'ENOENT'
    if (!absent || required) problems.push(`${file}: cannot be read: ${reasonOf(thrown)}`)
    return []
  }
  if (text.length > MAX_FILE_BYTES) {
    problems.push(`${file}: longer than ${MAX_FILE_BYTES} bytes`)
    return []
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })
  const lineOf = (at: number | undefined) => (at === undefined ? file : `${file}:${lines.linePos(at).line}`)
  for (const error of document.errors) problems.push(`${lineOf(error.pos[0])}: ${error.message}`)
  if (document.errors.length > 0 || document.contents === null) return []
  const settings: Setting[] = []
  walk(document.contents, '')
  return settings

  function walk(node: Node, prefix: string): void {
    if (!isMap(node)) {
      problems.push(`${lineOf(node.range?.[0])}: ${prefix === '' ? 'the file' : prefix} must hold keys and values`)
      return
    }
    for (const pair of node.items as Pair<Node, Node | null>[]) {
      const path = `${prefix}${isScalar(pair.key) ? String(pair.key.value) : '?'}`
      const origin = lineOf(pair.key.range?.[0])
      if (leaves.has(path)) settings.push({ path, value: pair.value?.toJS(document) ?? null, origin })
      else if (pair.value && [...leaves.keys()].some((leaf) => leaf.startsWith(`${path}.`)))
        walk(pair.value, `${path}.`)
      else if (![...leaves.keys()].some((leaf) => leaf.startsWith(`${path}.`)))
        problems.push(`${origin}: ${unknownKey(path, keysAt(leaves, prefix))}`)
    }
  }
}

/** `FIREBREAK_GATEWAY_PORT` → `gateway.port`; only names that begin with a section of ours are looked at. */
export function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  leaves: Leaves,
  problems: string[],
): Setting[] {
  const byName = new Map([...leaves.keys()].map((path) => [environmentName(path), path]))
  const sections = [
    ...new Set([...leaves.keys()].filter((path) => path.includes('.')).map((path) => path.split('.')[0])),
  ]
  const settings: Setting[] = []
  for (const [name, text] of Object.entries(environment)) {
    if (!name.startsWith('FIREBREAK_') || text === undefined) continue
    const path = byName.get(name)
    if (path !== undefined) settings.push({ path, value: fromText(text, leaves.get(path)), origin: name })
    else if (sections.some((section) => name.startsWith(`FIREBREAK_${section?.toUpperCase()}_`)))
      problems.push(unknownKey(name, [...byName.keys()]))
  }
  return settings
}

export function environmentName(path: string): string {
  return `FIREBREAK_${path.replaceAll(/[.-]/g, '_').toUpperCase()}`
}

/** A value that came as text, in the type that its schema wants; left as text where it does not fit, so that the check names it. */
export function fromText(text: string, schema: TSchema | undefined): unknown {
  const { type, items } = (schema ?? {}) as { type?: string; items?: TSchema }
  if (type === 'array') return text === '' ? [] : text.split(',').map((part) => fromText(part.trim(), items))
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  if ((type === 'integer' || type === 'number') && /^-?\d+(\.\d+)?$/.test(text)) return Number(text)
  return text
}

export function unknownKey(key: string, known: readonly string[]): string {
  const nearest = nearestWord(key, known)
  return `unknown key ${key}${nearest === undefined ? '' : `; did you mean ${nearest}?`}`
}

function keysAt(leaves: Leaves, prefix: string): string[] {
  const here = new Set<string>()
  for (const path of leaves.keys())
    if (path.startsWith(prefix)) here.add(`${prefix}${path.slice(prefix.length).split('.')[0]}`)
  return [...here]
}

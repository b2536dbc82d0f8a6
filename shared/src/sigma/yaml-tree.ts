/**
 * YAML as Sigma needs it: a plain tree with line numbers and the spelling of each scalar, under limits, so that a hostile file
 * (alias bombs, deep nesting, a hundred thousand keys) costs little. YAML 1.2 core schema: `yes` is text, dates are text.
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
} from 'yaml'
import { Unusable } from './refusal.ts'

export const YAML_LIMITS = { bytes: 1_048_576, depth: 32, nodes: 50_000, documents: 512, nesting: 128 } as const

export type Tree = TreeMap | TreeList | TreeScalar
export interface TreeMap {
  readonly kind: 'map'
  readonly entries: ReadonlyMap<string, Tree>
  readonly line: number
}
export interface TreeList {
  readonly kind: 'list'
  readonly items: readonly Tree[]
  readonly line: number
}
export interface TreeScalar {
  readonly kind: 'scalar'
  readonly value: string | number | boolean | null
  /** As it was written, without quotes. */
  readonly written: string
  readonly line: number
}

export interface YamlDocument {
  /** Unset when the document cannot be read; then `problem` says why. */
  readonly tree: Tree | null
  readonly problem: Unusable | null
  readonly line: number
  readonly text: string
}

/** Every document of a YAML file. A document that cannot be read does not hide the others. Throws `Unusable` for the whole file. */
export function readYamlDocuments(text: string): YamlDocument[] {
  if (text.length > YAML_LIMITS.bytes) {
    throw new Unusable('file_too_large', `longer than ${YAML_LIMITS.bytes} characters`, 1)
  }
  refuseDeepText(text)
  const lines = new LineCounter()
  let documents: Document.Parsed[]
  try {
    // Duplicate keys are looked for below: the library's own check compares each key with all others of its map.
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      uniqueKeys: false,
      logLevel: 'silent',
      version: '1.2',
    })
    documents = 'empty' in parsed ? [] : parsed
  } catch (thrown) {
    // The library recurses; nesting that passes the check above and still exhausts the stack ends here.
    throw new Unusable('yaml_invalid', thrown instanceof Error ? thrown.message : 'not YAML', 1)
  }
  if (documents.length > YAML_LIMITS.documents) {
    throw new Unusable('yaml_too_many_documents', `more than ${YAML_LIMITS.documents} documents in one file`, 1)
  }
  return documents.filter(hasContent).map((document) => readDocument(document, text, lines))
}

function hasContent(document: Document.Parsed): boolean {
  const contents = document.contents as Node | null
  return contents !== null && !(isScalar(contents) && contents.value === null && document.errors.length === 0)
}

function readDocument(document: Document.Parsed, text: string, lines: LineCounter): YamlDocument {
  const start = document.contents?.range?.[0] ?? document.range[0]
  const line = lines.linePos(start).line
  const slice = text.slice(start, document.range[2])
  const failed = document.errors[0]
  if (failed !== undefined) {
    const at = lines.linePos(failed.pos[0]).line
    return { tree: null, problem: new Unusable('yaml_invalid', firstLine(failed.message), at), line, text: slice }
  }
  try {
    return { tree: new TreeBuilder(document, lines).build(), problem: null, line, text: slice }
  } catch (thrown) {
    if (thrown instanceof Unusable) return { tree: null, problem: thrown, line, text: slice }
    throw thrown
  }
}

function firstLine(message: string): string {
  return (message.split('\n', 1)[0] ?? message).replace(/:$/, '')
}

/** Flow collections and block indicators nest without limit in the library's own recursion; count them before it runs. */
function refuseDeepText(text: string): void {
  let flow = 0
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    if (code === 0x5b || code === 0x7b) flow++
    else if ((code === 0x5d || code === 0x7d) && flow > 0) flow--
    else if (code === 0x0a) {
      if (flow > YAML_LIMITS.nesting) break
      if (indicatorRun(text, index + 1) > YAML_LIMITS.nesting) {
        throw new Unusable('yaml_too_deep', `more than ${YAML_LIMITS.nesting} levels on one line`, 1)
      }
      // Brackets inside plain and quoted scalars never close: only a run within one line is nesting worth refusing.
      flow = 0
    }
    if (flow > YAML_LIMITS.nesting) {
      throw new Unusable('yaml_too_deep', `more than ${YAML_LIMITS.nesting} open brackets on one line`, 1)
    }
  }
}

/** How many `- ` or `? ` indicators open one line. */
function indicatorRun(text: string, from: number): number {
  let run = 0
  let index = from
  for (;;) {
    const code = text.charCodeAt(index)
    if (code === 0x20) index++
    else if ((code === 0x2d || code === 0x3f || code === 0x3a) && text.charCodeAt(index + 1) === 0x20) {
      run++
      index += 2
    } else return run
  }
}

class TreeBuilder {
  readonly #document: Document.Parsed
  readonly #lines: LineCounter
  /** Anchors as they are met: the library's own lookup walks the document once per alias. */
  readonly #anchors = new Map<string, Node>()
  #nodes = 0

  constructor(document: Document.Parsed, lines: LineCounter) {
    this.#document = document
    this.#lines = lines
  }

  build(): Tree {
    return this.#convert(this.#document.contents, 0, 1)
  }

  #convert(node: Node | null, depth: number, fallbackLine: number): Tree {
    const line = node?.range ? this.#lines.linePos(node.range[0]).line : fallbackLine
    if (++this.#nodes > YAML_LIMITS.nodes) {
      throw new Unusable(
        'yaml_too_many_nodes',
        `more than ${YAML_LIMITS.nodes} values, aliases counted as often as used`,
        line,
      )
    }
    if (depth > YAML_LIMITS.depth) throw new Unusable('yaml_too_deep', `nested deeper than ${YAML_LIMITS.depth}`, line)
    if (node === null) return { kind: 'scalar', value: null, written: '', line }
    if (isAlias(node)) return this.#convert(this.#target(node, line), depth + 1, line)
    this.#remember(node)
    if (isMap(node)) {
      const entries = new Map<string, Tree>()
      for (const pair of node.items) {
        const key = this.#key(pair.key as Node | null, line)
        const keyLine = (pair.key as Node | null)?.range
        const at = keyLine ? this.#lines.linePos(keyLine[0]).line : line
        if (entries.has(key)) throw new Unusable('yaml_invalid', `the key ${JSON.stringify(key)} appears twice`, at)
        const value = this.#convert(pair.value as Node | null, depth + 1, at)
        entries.set(key, { ...value, line: at })
      }
      return { kind: 'map', entries, line }
    }
    if (isSeq(node)) {
      return {
        kind: 'list',
        items: node.items.map((item) => this.#convert(item as Node | null, depth + 1, line)),
        line,
      }
    }
    if (isScalar(node)) {
      const value = node.value
      const written = node.source ?? String(value)
      if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
        return { kind: 'scalar', value, written, line }
      }
      return { kind: 'scalar', value: written, written, line }
    }
    throw new Unusable('yaml_invalid', 'a kind of value that Sigma does not know', line)
  }

  #key(node: Node | null, line: number): string {
    const target = node !== null && isAlias(node) ? this.#target(node, line) : node
    if (target === null) return ''
    if (!isScalar(target)) throw new Unusable('yaml_invalid', 'a key must be text', line)
    this.#remember(target)
    return typeof target.value === 'string' ? target.value : (target.source ?? String(target.value))
  }

  #remember(node: Node): void {
    const anchor = 'anchor' in node ? node.anchor : undefined
    if (anchor !== undefined) this.#anchors.set(anchor, node)
  }

  #target(alias: Alias, line: number): Node {
    const target = this.#anchors.get(alias.source)
    if (target === undefined) throw new Unusable('yaml_invalid', `no anchor is named ${alias.source}`, line)
    return target
  }
}

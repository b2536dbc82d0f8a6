/**
 * First stage: the text of rule files into typed documents. A file, or a document in it, that cannot be used is refused with a
 * code, its place and the reason; the others go on. Nothing is thrown for what a file may hold.
 */
import { createHash } from 'node:crypto'
import { reasonOf } from '../result.ts'
import { parseDocument } from './parse-document.ts'
import { Unusable } from './refusal.ts'
import type { RuleRefusal, SigmaCorrelation, SigmaFilter, SigmaRule } from './rule.ts'
import { readYamlDocuments, type Tree, type TreeMap, type YamlDocument } from './yaml-tree.ts'

/** `file`: as it is to be shown, such as the path relative to the rules folder. */
export interface RuleFile {
  readonly file: string
  readonly text: string
}

export interface ParsedRules {
  readonly rules: readonly SigmaRule[]
  readonly filters: readonly SigmaFilter[]
  readonly correlations: readonly SigmaCorrelation[]
  readonly refused: readonly RuleRefusal[]
}

export function parseRules(files: Iterable<RuleFile>): ParsedRules {
  const into = {
    rules: [] as SigmaRule[],
    filters: [] as SigmaFilter[],
    correlations: [] as SigmaCorrelation[],
    refused: [] as RuleRefusal[],
  }
  for (const file of files) parseFile(file, into)
  return into
}

interface Collected {
  readonly rules: SigmaRule[]
  readonly filters: SigmaFilter[]
  readonly correlations: SigmaCorrelation[]
  readonly refused: RuleRefusal[]
}

function parseFile({ file, text }: RuleFile, into: Collected): void {
  let documents: YamlDocument[]
  try {
    documents = readYamlDocuments(text)
  } catch (thrown) {
    into.refused.push(refusalOf(thrown, file, 1, null))
    return
  }
  // `action: global` lends its entries to the documents after it until `action: reset`; `action: repeat` starts from the
  // document before. Both come from Sigma 1 collections and are still in use.
  let shared: TreeMap | null = null
  let previous: TreeMap | null = null
  for (const document of documents) {
    let tree: TreeMap | null = null
    try {
      tree = asMap(document)
      const action = textOf(tree.entries.get('action'))
      if (action === 'reset') {
        shared = null
        continue
      }
      const own = without(tree, 'action')
      if (action === 'global') {
        shared = shared === null ? own : merge(shared, own)
        continue
      }
      tree =
        action === 'repeat' && previous !== null ? merge(previous, own) : shared === null ? own : merge(shared, own)
      previous = tree
      take(tree, document, file, into)
    } catch (thrown) {
      into.refused.push(refusalOf(thrown, file, document.line, tree))
    }
  }
}

function take(tree: TreeMap, document: YamlDocument, file: string, into: Collected): void {
  const sha256 = createHash('sha256').update(document.text).digest('hex')
  const parsed = parseDocument(tree, { file, line: document.line, sha256 })
  switch (parsed.kind) {
    case 'rule':
      into.rules.push(parsed)
      return
    case 'filter':
      into.filters.push(parsed)
      return
    case 'correlation':
      into.correlations.push(parsed)
      return
    default:
      throw new Error('unhandled document', { cause: parsed satisfies never })
  }
}

function asMap(document: YamlDocument): TreeMap {
  if (document.problem !== null) throw document.problem
  if (document.tree?.kind !== 'map') throw new Unusable('not_a_rule', 'the document is not a map', document.line)
  return document.tree
}

/** Maps are merged entry by entry; everything else is replaced. */
function merge(base: TreeMap, over: TreeMap): TreeMap {
  const entries = new Map(base.entries)
  for (const [key, value] of over.entries) {
    const before = entries.get(key)
    entries.set(key, before?.kind === 'map' && value.kind === 'map' ? merge(before, value) : value)
  }
  return { kind: 'map', entries, line: over.line }
}

function without(tree: TreeMap, key: string): TreeMap {
  if (!tree.entries.has(key)) return tree
  return { ...tree, entries: new Map([...tree.entries].filter(([name]) => name !== key)) }
}

function refusalOf(thrown: unknown, file: string, line: number, tree: TreeMap | null): RuleRefusal {
  const rule = textOf(tree?.entries.get('id')) ?? textOf(tree?.entries.get('title'))
  if (thrown instanceof Unusable)
    return { code: thrown.code, why: thrown.message, file, line: thrown.line || line, rule }
  // Deep recursion inside the YAML library; a fault of ours would show the same way, so its words are kept.
  return { code: 'yaml_invalid', why: reasonOf(thrown), file, line, rule }
}

function textOf(tree: Tree | undefined): string | null {
  return tree?.kind === 'scalar' && tree.value !== null ? tree.written : null
}

/** The `detection` (or `filter`) part of a document: selections and their condition. Source: rules specification, "Detection". */
import { parseCondition } from './condition.ts'
import { buildItem, parseFieldKey } from './modifiers.ts'
import { Unusable } from './refusal.ts'
import type { Condition, Detection } from './rule.ts'
import type { Tree, TreeList, TreeMap, TreeScalar } from './yaml-tree.ts'

/** Keys of `detection` that are not selections. `timeframe` belonged to the aggregations of Sigma 1. */
const RESERVED = new Set(['condition', 'timeframe'])
const MAX_CONDITIONS = 64

export interface ParsedDetection {
  readonly selections: ReadonlyMap<string, Detection>
  readonly condition: Condition
}

/** `reserved`: further keys that are not selections (`rules` in a filter). Throws `Unusable`. */
export function parseDetection(tree: TreeMap, reserved: readonly string[] = []): ParsedDetection {
  const selections = new Map<string, Detection>()
  for (const [name, body] of tree.entries) {
    if (!RESERVED.has(name) && !reserved.includes(name)) selections.set(name, parseSelection(body))
  }
  const written = tree.entries.get('condition')
  if (written === undefined) throw new Unusable('condition_missing', 'there is no condition', tree.line)
  return { selections, condition: parseConditions(written, [...selections.keys()]) }
}

/** A list of conditions is linked by OR. */
function parseConditions(tree: Tree, names: readonly string[]): Condition {
  if (tree.kind === 'scalar' && typeof tree.value === 'string') return parseCondition(tree.value, names, tree.line)
  if (tree.kind === 'scalar' && tree.value !== null && names.includes(tree.written))
    return { kind: 'selection', name: tree.written }
  if (tree.kind === 'list' && tree.items.length > 0 && tree.items.length <= MAX_CONDITIONS) {
    const of = tree.items.map((item) => {
      if (item.kind !== 'scalar' || typeof item.value !== 'string') {
        throw new Unusable('condition_invalid', 'each condition of a list must be text', item.line)
      }
      return parseCondition(item.value, names, item.line)
    })
    return of.length === 1 ? (of[0] as Condition) : { kind: 'or', of }
  }
  throw new Unusable('condition_invalid', 'the condition must be text, or a list of texts', tree.line)
}

function parseSelection(tree: Tree): Detection {
  switch (tree.kind) {
    case 'map':
      return parseMap(tree)
    case 'list':
      return parseList(tree)
    case 'scalar':
      return buildItem({ field: null, modifiers: [] }, [tree], tree.line)
    default:
      throw new Error('unhandled node', { cause: tree satisfies never })
  }
}

/** All entries of a map must hold. */
function parseMap(tree: TreeMap): Detection {
  if (tree.entries.size === 0) throw new Unusable('detection_invalid', 'a selection must not be empty', tree.line)
  const of = [...tree.entries].map(([key, value]) => parseEntry(key, value))
  return of.length === 1 ? (of[0] as Detection) : { kind: 'all', of }
}

function parseEntry(key: string, value: Tree): Detection {
  const field = parseFieldKey(key, value.line)
  if (value.kind === 'map')
    throw new Unusable('detection_invalid', `${JSON.stringify(key)} holds a map where a value was expected`, value.line)
  return buildItem(field, scalarsOf(value), value.line)
}

function scalarsOf(tree: TreeList | TreeScalar): TreeScalar[] {
  if (tree.kind === 'scalar') return [tree]
  return tree.items.map((item) => {
    if (item.kind === 'scalar') return item
    throw new Unusable('detection_invalid', 'a list of values must hold values only', item.line)
  })
}

/** One item of a list must hold: maps are selections of their own, everything else are keywords. */
function parseList(tree: TreeList): Detection {
  if (tree.items.length === 0) throw new Unusable('detection_invalid', 'a selection must not be empty', tree.line)
  const keywords = tree.items.filter((item): item is TreeScalar => item.kind === 'scalar')
  const others = tree.items.filter((item): item is TreeMap | TreeList => item.kind !== 'scalar')
  const of: Detection[] = others.map(parseSelection)
  if (keywords.length > 0) of.push(buildItem({ field: null, modifiers: [] }, keywords, tree.line))
  return of.length === 1 ? (of[0] as Detection) : { kind: 'any', of }
}

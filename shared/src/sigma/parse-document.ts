/** One YAML document into one rule, filter or correlation. Throws `Unusable`; the boundary is `parse.ts`. */
import { parseCorrelation } from './parse-correlation.ts'
import { parseDetection } from './parse-detection.ts'
import type { Head } from './document-head.ts'
import { Unusable } from './refusal.ts'
import {
  LEVELS,
  type LogSource,
  type Origin,
  STATUSES,
  type SigmaCorrelation,
  type SigmaFilter,
  type SigmaRule,
} from './rule.ts'
import { mapOf, oneOf, optionalText, textList } from './tree-fields.ts'
import type { TreeMap } from './yaml-tree.ts'

export type SigmaDocument = SigmaRule | SigmaFilter | SigmaCorrelation

export function parseDocument(tree: TreeMap, origin: Origin): SigmaDocument {
  if (tree.entries.has('correlation')) return parseCorrelation(tree, origin, parseHead(tree, origin))
  if (tree.entries.has('filter')) return parseFilter(tree, origin)
  if (tree.entries.has('detection')) return parseRule(tree, origin)
  throw new Unusable('not_a_rule', 'it has neither detection, correlation nor filter', tree.line)
}

function parseHead(tree: TreeMap, origin: Origin): Head {
  const id = optionalText(tree, 'id')
  return {
    id,
    name: optionalText(tree, 'name'),
    // The specification wants a title; rules without one run all the same and are shown under their id or file.
    title: optionalText(tree, 'title') ?? id ?? origin.file,
    status: oneOf(tree, 'status', STATUSES),
    level: oneOf(tree, 'level', LEVELS),
    description: optionalText(tree, 'description') ?? '',
    tags: textList(tree, 'tags'),
  }
}

function parseRule(tree: TreeMap, origin: Origin): SigmaRule {
  const detection = mapOf(tree, 'detection')
  if (detection === null) throw new Unusable('detection_missing', 'detection must be a map', tree.line)
  return {
    ...origin,
    kind: 'rule',
    ...parseHead(tree, origin),
    author: optionalText(tree, 'author') ?? '',
    references: textList(tree, 'references'),
    falsePositives: textList(tree, 'falsepositives'),
    date: optionalText(tree, 'date'),
    modified: optionalText(tree, 'modified'),
    taxonomy: optionalText(tree, 'taxonomy') ?? 'sigma',
    logSource: parseLogSource(tree),
    fields: textList(tree, 'fields'),
    ...parseDetection(detection),
  }
}

function parseFilter(tree: TreeMap, origin: Origin): SigmaFilter {
  const filter = mapOf(tree, 'filter')
  if (filter === null) throw new Unusable('filter_invalid', 'filter must be a map', tree.line)
  const head = parseHead(tree, origin)
  return {
    ...origin,
    kind: 'filter',
    id: head.id,
    title: head.title,
    logSource: parseLogSource(tree),
    rules: parseFilteredRules(filter),
    ...parseDetection(filter, ['rules']),
  }
}

function parseFilteredRules(filter: TreeMap): readonly string[] | 'any' {
  const rules = textList(filter, 'rules')
  const [only] = rules
  if (rules.length === 0) throw new Unusable('filter_invalid', 'a filter must name its rules', filter.line)
  return rules.length === 1 && only?.toLowerCase() === 'any' ? 'any' : rules
}

function parseLogSource(tree: TreeMap): LogSource {
  const source = mapOf(tree, 'logsource')
  const part = (name: string) => (source === null ? null : (optionalText(source, name)?.toLowerCase() ?? null))
  return { category: part('category'), product: part('product'), service: part('service') }
}

/** Correlation documents: read and checked here; `correlate/` runs them. Source: correlation rules specification 2.1.0. */
import { parseCondition } from './condition.ts'
import type { Head } from './document-head.ts'
import { Unusable } from './refusal.ts'
import {
  CORRELATION_OPERATORS,
  CORRELATION_TYPES,
  type CorrelationOperator,
  type CorrelationType,
  type Origin,
  type SigmaCorrelation,
} from './rule.ts'
import { mapOf, optionalText, textList, textsOf } from './tree-fields.ts'
import type { Tree, TreeMap } from './yaml-tree.ts'

const UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const MAX_RULES = 256
const MAX_TIMESPAN_MS = 366 * 86_400_000

export function parseCorrelation(tree: TreeMap, origin: Origin, head: Head): SigmaCorrelation {
  const body = mapOf(tree, 'correlation')
  if (body === null) throw new Unusable('correlation_invalid', 'correlation must be a map', tree.line)
  const type = parseType(body)
  const rules = textList(body, 'rules')
  if (rules.length === 0) throw new Unusable('correlation_invalid', 'it names no rules', body.line)
  if (rules.length > MAX_RULES)
    throw new Unusable('correlation_invalid', `it names more than ${MAX_RULES} rules`, body.line)
  const condition = parseBounds(body, type, rules)
  return {
    ...origin,
    kind: 'correlation',
    ...head,
    type,
    rules,
    rulesLine: body.entries.get('rules')?.line ?? body.line,
    groupBy: textList(body, 'group-by'),
    timespanMs: parseTimespan(body),
    ...condition,
    aliases: parseAliases(body),
    generate: parseGenerate(body, tree),
  }
}

function parseType(body: TreeMap): CorrelationType {
  const text = optionalText(body, 'type')
  const type = CORRELATION_TYPES.find((known) => known === text)
  if (type === undefined) {
    throw new Unusable('correlation_invalid', `type must be one of ${CORRELATION_TYPES.join(', ')}`, body.line)
  }
  return type
}

function parseTimespan(body: TreeMap): number {
  const text = optionalText(body, 'timespan') ?? optionalText(body, 'timeframe')
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text ?? '') ?? []
  const span = Number(count) * (UNITS_MS[unit ?? ''] ?? Number.NaN)
  if (!(span > 0 && span <= MAX_TIMESPAN_MS)) {
    throw new Unusable('correlation_invalid', 'timespan must be a number and s, m, h or d, such as 90m', body.line)
  }
  return span
}

type Bounds = Pick<SigmaCorrelation, 'bounds' | 'fields' | 'percentile' | 'expression'>

function parseBounds(body: TreeMap, type: CorrelationType, rules: readonly string[]): Bounds {
  const temporal = type === 'temporal' || type === 'temporal_ordered'
  const written = body.entries.get('condition')
  if (temporal && written?.kind === 'scalar' && typeof written.value === 'string') {
    // Not in the specification, but in use: which of the rules must be seen, as an expression over their names.
    return { bounds: [], fields: [], percentile: null, expression: parseCondition(written.value, rules, written.line) }
  }
  const condition = mapOf(body, 'condition')
  if (condition === null) {
    if (temporal) return { bounds: [], fields: [], percentile: null, expression: null }
    throw new Unusable('correlation_invalid', `${type} needs a condition`, body.line)
  }
  const bounds = [...condition.entries].flatMap(([key, value]) =>
    key === 'field' || key === 'percentile' ? [] : [parseBound(key, value)],
  )
  const field = condition.entries.get('field')
  const fields = field === undefined ? [] : textsOf(field, 'field')
  if (bounds.length === 0 && !temporal) {
    throw new Unusable('correlation_invalid', 'the condition compares with nothing', condition.line)
  }
  if (type.startsWith('value_') && fields.length === 0) {
    throw new Unusable('correlation_invalid', `${type} needs a field in its condition`, condition.line)
  }
  return { bounds, fields, percentile: parsePercentile(condition), expression: null }
}

function parseBound(key: string, value: Tree): { operator: CorrelationOperator; value: number } {
  const operator = CORRELATION_OPERATORS.find((known) => known === key)
  if (operator === undefined) {
    throw new Unusable('correlation_invalid', `${JSON.stringify(key)} is no comparison`, value.line)
  }
  if (value.kind !== 'scalar' || typeof value.value !== 'number' || !Number.isFinite(value.value)) {
    throw new Unusable('correlation_invalid', `${key} must be a number`, value.line)
  }
  return { operator, value: value.value }
}

function parsePercentile(condition: TreeMap): number | null {
  const tree = condition.entries.get('percentile')
  if (tree === undefined) return null
  const value = tree.kind === 'scalar' ? tree.value : undefined
  if (typeof value !== 'number' || value < 0 || value > 100) {
    throw new Unusable('correlation_invalid', 'percentile must be a number between 0 and 100', tree.line)
  }
  return value
}

function parseAliases(body: TreeMap): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const aliases = new Map<string, ReadonlyMap<string, string>>()
  for (const [alias, fields] of mapOf(body, 'aliases')?.entries ?? []) {
    if (fields.kind !== 'map')
      throw new Unusable('correlation_invalid', `alias ${alias} must map rules to fields`, fields.line)
    aliases.set(alias, new Map([...fields.entries.keys()].map((rule) => [rule, optionalText(fields, rule) ?? ''])))
  }
  return aliases
}

/** The specification writes `generate` beside `correlation`; files in use also have it inside. */
function parseGenerate(body: TreeMap, tree: TreeMap): boolean {
  const value = body.entries.get('generate') ?? tree.entries.get('generate')
  if (value === undefined) return false
  if (value.kind !== 'scalar' || typeof value.value !== 'boolean') {
    throw new Unusable('correlation_invalid', 'generate must be true or false', value.line)
  }
  return value.value
}

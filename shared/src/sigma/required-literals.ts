/**
 * What must be in an event for a rule to match: a small set of literals, of which at least one has to appear. The prefilter
 * looks for all literals of all rules at once, and only rules that one of theirs was found for are evaluated.
 */
import { type FieldNames, lowerCase } from './event-view.ts'
import { compileRegex } from './regex.ts'
import type { Condition, Detection, DetectionItem, Test, Token } from './rule.ts'
import { DASH_PATTERN, joinTokens } from './sigma-text.ts'

/** Marks the beginning and the end of a value, so that one automaton also answers startswith, endswith and equals. */
export const START = '\u0002'
export const END = '\u0003'
/** Field number of literals that keywords need: any value of the event. */
export const ANYWHERE = -1
/** Longer ones are cut: the rest would only make the automaton larger. */
const MAX_LITERAL = 14

export interface Literal {
  readonly field: number
  readonly text: string
}

/** How often each literal was seen in rules: what many rules name is common in events too, and a poor filter. */
export type Popularity = (literal: Literal) => number

/** At least one of these is in every matching event; `null`: nothing can be said, the rule must always be evaluated. */
export type Requirement = readonly Literal[] | null

export function requirementOf(
  condition: Condition,
  selections: ReadonlyMap<string, Detection>,
  fields: FieldNames,
  popularity: Popularity,
): Requirement {
  const ofCondition = (node: Condition): Requirement => {
    switch (node.kind) {
      case 'selection':
        return ofDetection(selections.get(node.name) as Detection)
      case 'not':
        return null
      case 'and':
        return best(node.of.map(ofCondition), popularity)
      case 'or':
        return union(node.of.map(ofCondition))
      default:
        throw new Error('unhandled condition', { cause: node satisfies never })
    }
  }
  const ofDetection = (node: Detection): Requirement => {
    switch (node.kind) {
      case 'all':
        return best(node.of.map(ofDetection), popularity)
      case 'any':
        return union(node.of.map(ofDetection))
      case 'item':
        return ofItem(node, fields, popularity)
      default:
        throw new Error('unhandled detection', { cause: node satisfies never })
    }
  }
  return ofCondition(condition)
}

/** Every literal that a rule could be filtered by, to count how popular each is. */
export function literalsOf(selections: ReadonlyMap<string, Detection>, fields: FieldNames): Literal[] {
  const found: Literal[] = []
  const visit = (node: Detection) => {
    if (node.kind === 'item') {
      const field = node.field === null ? ANYWHERE : fields.numberOf(node.field)
      for (const test of node.tests) found.push(...(ofTest(test, field) ?? []))
    } else node.of.forEach(visit)
  }
  for (const selection of selections.values()) visit(selection)
  return found
}

function ofItem(item: DetectionItem, fields: FieldNames, popularity: Popularity): Requirement {
  if (item.negated) return null
  const field = item.field === null ? ANYWHERE : fields.numberOf(item.field)
  const each = item.tests.map((test) => ofTest(test, field))
  return item.join === 'all' ? best(each, popularity) : union(each)
}

function ofTest(test: Test, field: number): Requirement {
  switch (test.kind) {
    case 'text':
      return ofText(joinTokens(test.tokens), test.dashes, field)
    case 'number':
      return distinct([String(test.value), test.written]).map((text) => ({
        field,
        text: cut(`${START}${lowerCase(text)}${END}`, true),
      }))
    case 'boolean':
      return [{ field, text: `${START}${test.value}${END}` }]
    case 'regex': {
      if (test.tokens.length !== 1 || typeof test.tokens[0] !== 'string') return null
      const compiled = compileRegex(test.tokens[0], test.flags)
      const literals = compiled.ok ? compiled.value.literals : null
      return literals === null ? null : literals.map((text) => ({ field, text: cut(text, false) }))
    }
    case 'one-of':
      return union(test.tests.map((inner) => ofTest(inner, field)))
    case 'cidr':
    case 'null':
    case 'exists':
    case 'compare':
    case 'time':
    case 'field':
      return null
    default:
      throw new Error('unhandled test', { cause: test satisfies never })
  }
}

function ofText(tokens: readonly Token[], dashes: boolean, field: number): Requirement {
  if (tokens.length === 0) return field === ANYWHERE ? null : [{ field, text: START + END }]
  let chosen = ''
  tokens.forEach((token, index) => {
    if (typeof token !== 'string') return
    const text = (index === 0 ? START : '') + lowerCase(token) + (index === tokens.length - 1 ? END : '')
    for (const piece of dashes ? text.split(DASH_PATTERN) : [text]) if (piece.length > chosen.length) chosen = piece
  })
  return chosen === '' || chosen === START || chosen === END
    ? null
    : [{ field, text: cut(chosen, chosen.startsWith(START)) }]
}

/** Keeps the anchored end; otherwise the tail, which tells names of programs apart better than their folders. */
function cut(text: string, head: boolean): string {
  if (text.length <= MAX_LITERAL) return text
  return head ? text.slice(0, MAX_LITERAL) : text.slice(-MAX_LITERAL)
}

function distinct(texts: readonly string[]): string[] {
  return [...new Set(texts)]
}

function union(parts: readonly Requirement[]): Requirement {
  const all: Literal[] = []
  for (const part of parts) {
    if (part === null) return null
    all.push(...part)
  }
  return all
}

/** Of several requirements that all hold, the one that lets the fewest events through. */
function best(parts: readonly Requirement[], popularity: Popularity): Requirement {
  let chosen: Requirement = null
  let chance = Number.POSITIVE_INFINITY
  for (const part of parts) {
    if (part === null) continue
    const estimate = part.reduce(
      (sum, literal) => sum + popularity(literal) * 2 ** -Math.min(literal.text.length, 12),
      0,
    )
    if (estimate < chance) {
      chosen = part
      chance = estimate
    }
  }
  return chosen
}

/**
 * The condition grammar: `or` binds least, then `and`, `not`, `x of y`, parentheses. Keywords are matched without regard to
 * case, as old rules write `AND`. Source: rules specification, "Condition".
 */
import { Unusable } from './refusal.ts'
import type { Condition } from './rule.ts'

export const CONDITION_LIMITS = { characters: 16_384, depth: 64 } as const
const KEYWORDS = new Set(['and', 'or', 'not', 'of'])

/** `selections`: the names a condition may use, in the order written. Throws `Unusable`. */
export function parseCondition(text: string, selections: readonly string[], line: number): Condition {
  if (text.length > CONDITION_LIMITS.characters) {
    throw new Unusable('condition_invalid', `longer than ${CONDITION_LIMITS.characters} characters`, line)
  }
  // The aggregation syntax of Sigma 1 (`| count() by x > 5`, `| near`) was replaced by correlation rules in Sigma 2.
  if (text.includes('|')) {
    throw new Unusable('aggregation_unsupported', 'aggregations after `|` left the specification with version 2', line)
  }
  const tokens = text.match(/[()]|[^\s()]+/g) ?? []
  return new ConditionParser(tokens, selections, line).parse()
}

class ConditionParser {
  readonly #tokens: readonly string[]
  readonly #selections: readonly string[]
  readonly #known: ReadonlySet<string>
  readonly #line: number
  #at = 0
  #depth = 0

  constructor(tokens: readonly string[], selections: readonly string[], line: number) {
    this.#tokens = tokens
    this.#selections = selections
    this.#known = new Set(selections)
    this.#line = line
  }

  parse(): Condition {
    if (this.#tokens.length === 0) throw this.#wrong('it is empty')
    const condition = this.#or()
    const rest = this.#tokens[this.#at]
    if (rest !== undefined) throw this.#wrong(`${JSON.stringify(rest)} was not expected`)
    return condition
  }

  #or(): Condition {
    const of = [this.#and()]
    while (this.#accept('or')) of.push(this.#and())
    return of.length === 1 ? (of[0] as Condition) : { kind: 'or', of }
  }

  #and(): Condition {
    const of = [this.#not()]
    while (this.#accept('and')) of.push(this.#not())
    return of.length === 1 ? (of[0] as Condition) : { kind: 'and', of }
  }

  #not(): Condition {
    if (++this.#depth > CONDITION_LIMITS.depth) throw this.#wrong(`nested deeper than ${CONDITION_LIMITS.depth}`)
    try {
      return this.#accept('not') ? { kind: 'not', of: this.#not() } : this.#primary()
    } finally {
      this.#depth--
    }
  }

  #primary(): Condition {
    const token = this.#tokens[this.#at++]
    if (token === undefined) throw this.#wrong('it ends where a selection was expected')
    if (token === '(') {
      const inner = this.#or()
      if (this.#tokens[this.#at++] !== ')') throw this.#wrong('a parenthesis is not closed')
      return inner
    }
    if (token === ')') throw this.#wrong('a parenthesis closes nothing')
    const quantifier = token.toLowerCase()
    if (this.#tokens[this.#at]?.toLowerCase() === 'of' && !this.#known.has(token)) {
      if (quantifier !== '1' && quantifier !== 'any' && quantifier !== 'all') {
        throw this.#wrong(`${JSON.stringify(token)} of: only 1, any and all are defined`)
      }
      this.#at++
      return this.#selector(quantifier === 'all')
    }
    if (this.#known.has(token)) return { kind: 'selection', name: token }
    if (KEYWORDS.has(quantifier)) throw this.#wrong(`${JSON.stringify(token)} stands where a selection was expected`)
    throw new Unusable(
      'selection_unknown',
      `the condition names ${JSON.stringify(token)}, which is not defined`,
      this.#line,
    )
  }

  #selector(all: boolean): Condition {
    const pattern = this.#tokens[this.#at++]
    if (pattern === undefined || pattern === '(' || pattern === ')')
      throw this.#wrong('`of` needs a name, a pattern or them')
    // Names with a leading underscore are left out by convention, unless the pattern asks for them.
    const names =
      pattern.toLowerCase() === 'them' && !this.#known.has(pattern)
        ? this.#selections.filter((name) => !name.startsWith('_'))
        : this.#selections.filter(
            (name) => matchesName(pattern, name) && (pattern.startsWith('_') || !name.startsWith('_')),
          )
    if (names.length === 0) {
      throw new Unusable('selection_unknown', `no selection fits ${JSON.stringify(pattern)}`, this.#line)
    }
    const of = names.map((name): Condition => ({ kind: 'selection', name }))
    return of.length === 1 ? (of[0] as Condition) : { kind: all ? 'and' : 'or', of }
  }

  #accept(keyword: string): boolean {
    if (this.#tokens[this.#at]?.toLowerCase() !== keyword) return false
    this.#at++
    return true
  }

  #wrong(why: string): Unusable {
    return new Unusable('condition_invalid', `condition: ${why}`, this.#line)
  }
}

/** `*` stands for any run of characters; no backtracking, so that a pattern of stars costs nothing. */
function matchesName(pattern: string, name: string): boolean {
  const parts = pattern.split('*')
  if (parts.length === 1) return pattern === name
  const first = parts[0] as string
  const last = parts.at(-1) as string
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > name.length - last.length) return false
    at = found + part.length
  }
  return true
}

/**
 * A recursive descent over the tokens. `not` binds tightest, then `and`, then `or`; words that follow one another are one value;
 * `field:(a or not b)` is written out to `field:a or not field:b`, which is what it means.
 */
import {
  type Literal,
  literalText,
  type Query,
  QUERY_LIMITS,
  QueryRefusal,
  type RefusedQuery,
  refuseQuery,
  type Span,
} from './query.ts'
import { type Token, tokensOf } from './tokens.ts'

export function parseQuery(text: string): { readonly ok: true; readonly value: Query } | RefusedQuery {
  if (text.length > QUERY_LIMITS.length)
    return refuseQuery(
      'query_too_long',
      { from: QUERY_LIMITS.length, to: text.length },
      `the query is longer than ${QUERY_LIMITS.length} characters`,
    )
  try {
    return { ok: true, value: new Parser(text).whole() }
  } catch (thrown) {
    if (thrown instanceof QueryRefusal) return thrown.refused
    throw thrown
  }
}

/** What may stand where a value is asked for. */
type LeafOf = (value: Literal) => Query

class Parser {
  readonly #text: string
  readonly #tokens: readonly Token[]
  #next = 0
  #depth = 0
  #terms = 0

  constructor(text: string) {
    this.#text = text
    this.#tokens = tokensOf(text)
  }

  whole(): Query {
    if (this.#peek().kind === 'end') return { kind: 'all' }
    const query = this.#either(null)
    const rest = this.#peek()
    if (rest.kind !== 'end') throw this.#unexpected(rest, 'and, or, or the end of the query')
    return query
  }

  /** `field`: inside the parentheses of `field:( ... )`, where only values stand. */
  #either(field: Literal | null): Query {
    const parts = [this.#both(field)]
    while (this.#takeOperator('or')) parts.push(this.#both(field))
    return parts.length === 1 && parts[0] ? parts[0] : { kind: 'or', parts }
  }

  #both(field: Literal | null): Query {
    const parts = [this.#unary(field)]
    while (this.#takeOperator('and')) parts.push(this.#unary(field))
    return parts.length === 1 && parts[0] ? parts[0] : { kind: 'and', parts }
  }

  #unary(field: Literal | null): Query {
    const at = this.#peek()
    if (++this.#depth > QUERY_LIMITS.depth)
      throw new QueryRefusal('query_too_deep', at, `the query is nested deeper than ${QUERY_LIMITS.depth}`)
    const query = this.#takeOperator('not')
      ? ({ kind: 'not', part: this.#unary(field) } as const)
      : this.#group(field, () => (field ? this.#leaf(valueOf(field)) : this.#expression()))
    this.#depth--
    return query
  }

  #group(field: Literal | null, otherwise: () => Query): Query {
    const open = this.#peek()
    if (!isMark(open, '(')) return otherwise()
    this.#next++
    const query = this.#either(field)
    const close = this.#peek()
    if (!isMark(close, ')')) {
      if (close.kind === 'end')
        throw new QueryRefusal('query_syntax', open, 'this ( is never closed: expected ) before the end of the query')
      throw this.#unexpected(close, 'and, or, or )')
    }
    this.#next++
    return query
  }

  #expression(): Query {
    const literal = this.#literal('a field, a value, not, or (')
    const operator = this.#peek()
    if (isMark(operator, ':')) {
      this.#checkField(literal)
      this.#next++
      return this.#valueAfterColon(literal)
    }
    if (operator.kind === 'comparison') {
      this.#checkField(literal)
      this.#next++
      const value = this.#literal(`a value after ${operator.comparison}`)
      this.#count(value.at)
      return { kind: 'range', field: literal, comparison: operator.comparison, value }
    }
    this.#count(literal.at)
    return { kind: 'is', field: null, value: literal }
  }

  #valueAfterColon(field: Literal): Query {
    const next = this.#peek()
    if (isMark(next, '{'))
      throw new QueryRefusal(
        'query_nested',
        next,
        `nested queries ({ ... }) are not supported, and not needed: every field has its whole name, as in process.parent.name:bash`,
      )
    return this.#group(field, () => this.#leaf(valueOf(field)))
  }

  #leaf(leafOf: LeafOf): Query {
    const value = this.#literal('a value, a quoted phrase, or (')
    this.#count(value.at)
    const after = this.#peek()
    if (isMark(after, ':') || after.kind === 'comparison') throw this.#colonInValue(value, after)
    return leafOf(value)
  }

  /** A quoted text, or all words up to the next operator or mark. */
  #literal(expected: string): Literal {
    const first = this.#peek()
    if (first.kind === 'quoted') {
      this.#next++
      return { pieces: [first.text], quoted: true, at: first }
    }
    if (first.kind !== 'word' || first.operator !== null) throw this.#unexpected(first, expected)
    const pieces = [...first.pieces]
    let to = first.to
    this.#next++
    for (let word = this.#peek(); word.kind === 'word' && word.operator === null; word = this.#peek()) {
      const [head = '', ...tail] = word.pieces
      pieces[pieces.length - 1] += this.#text.slice(to, word.from) + head
      pieces.push(...tail)
      to = word.to
      this.#next++
    }
    return { pieces, quoted: false, at: { from: first.from, to } }
  }

  #checkField(field: Literal): void {
    if (field.quoted || !/\s/u.test(literalText(field))) return
    const words = literalText(field).split(/\s+/u)
    const last = words.at(-1) ?? ''
    const from = field.at.to - last.length
    throw new QueryRefusal(
      'query_syntax',
      { from, to: field.at.to },
      `expected and or or before ${last}: conditions are joined by and, or`,
    )
  }

  /** `a:b c:d` forgot an operator, `ip:fe80::1` forgot the quotes: told apart by the white space. */
  #colonInValue(value: Literal, after: Token): QueryRefusal {
    if (!value.quoted && /\s/u.test(literalText(value))) {
      const last = literalText(value).split(/\s+/u).at(-1) ?? ''
      return new QueryRefusal(
        'query_syntax',
        { from: value.at.to - last.length, to: value.at.to },
        `expected and or or before ${last}: conditions are joined by and, or`,
      )
    }
    const mark = this.#text.slice(after.from, after.to)
    return new QueryRefusal(
      'query_syntax',
      after,
      `a value ends before ${mark}; put a value that holds it in double quotes, as in destination.ip:"fe80::1"`,
    )
  }

  #count(at: Span): void {
    if (++this.#terms > QUERY_LIMITS.terms)
      throw new QueryRefusal(
        'query_too_many_terms',
        at,
        `the query has more than ${QUERY_LIMITS.terms} conditions; search several times, or use a wildcard`,
      )
  }

  #takeOperator(operator: 'and' | 'or' | 'not'): boolean {
    const token = this.#peek()
    if (token.kind !== 'word' || token.operator !== operator) return false
    this.#next++
    return true
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: 'end', from: this.#text.length, to: this.#text.length }
  }

  #unexpected(token: Token, expected: string): QueryRefusal {
    const found = token.kind === 'end' ? 'the end of the query' : this.#text.slice(token.from, token.to)
    return new QueryRefusal('query_syntax', token, `expected ${expected}, found ${found}${hintFor(token)}`)
  }
}

function valueOf(field: Literal): LeafOf {
  return (value) => ({ kind: 'is', field, value })
}

function isMark(token: Token, mark: string): boolean {
  return token.kind === 'mark' && token.mark === mark
}

function hintFor(token: Token): string {
  if (token.kind === 'word' && token.operator !== null)
    return token.operator === 'not'
      ? '; to exclude something write: and not'
      : `; to search for the word itself write "${token.operator}"`
  if (token.kind === 'quoted' || token.kind === 'word') return '; conditions are joined by and, or'
  if (token.kind === 'mark' && (token.mark === '{' || token.mark === '}'))
    return '; put a value that holds a brace in double quotes'
  return ''
}

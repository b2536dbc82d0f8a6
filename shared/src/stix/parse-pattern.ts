/** Reads a STIX pattern, or says where it is none. The grammar is that of STIX 2.1, 9, with the forms that only 2.0 had. */
import { type Result, ok, refuse } from '../result.ts'
import {
  ANY,
  type Comparison,
  type ComparisonExpression,
  type Literal,
  type ObservationExpression,
  type Operator,
  OPERATORS,
  PATTERN_LIMITS,
  type PathStep,
  type PatternRefusal,
  type Qualifier,
} from './pattern.ts'
import { PatternError, timeOf, type Token, tokensOf } from './tokens.ts'

export interface ParseOptions {
  /** Which STIX it is written for; both when left out. */
  readonly version?: '2.0' | '2.1'
}

export function parsePattern(text: string, options: ParseOptions = {}): Result<ObservationExpression, PatternRefusal> {
  try {
    return ok(new Parser(tokensOf(text), options).pattern())
  } catch (thrown) {
    if (thrown instanceof PatternError) return refuse(thrown.code, thrown.message)
    throw thrown
  }
}

const ORDERED = new Set(['<', '<=', '>', '>='])
const OF_STRINGS = new Set(['LIKE', 'MATCHES', 'ISSUBSET', 'ISSUPERSET'])

class Parser {
  readonly #tokens: readonly Token[]
  readonly #options: ParseOptions
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[], options: ParseOptions) {
    this.#tokens = tokens
    this.#options = options
  }

  pattern(): ObservationExpression {
    const whole = this.#followedBy()
    if (this.#peek.kind !== 'end') throw this.#unexpected('the end')
    return whole
  }

  /** FOLLOWEDBY binds least, then OR, then AND; a qualifier belongs to what stands right before it. */
  #followedBy(): ObservationExpression {
    return this.#chain('FOLLOWEDBY', 'followedby', () =>
      this.#chain('OR', 'or', () => this.#chain('AND', 'and', () => this.#qualified())),
    )
  }

  #chain(word: string, kind: 'and' | 'or' | 'followedby', part: () => ObservationExpression): ObservationExpression {
    const first = part()
    const parts = [first]
    while (this.#takeWord(word)) parts.push(part())
    return parts.length === 1 ? first : { kind, parts }
  }

  #qualified(): ObservationExpression {
    let expression = this.#observation()
    for (let by = this.#qualifier(); by !== undefined; by = this.#qualifier()) {
      expression = { kind: 'qualified', of: expression, by }
      if (++this.#depth > PATTERN_LIMITS.depth) throw this.#tooDeep()
    }
    return expression
  }

  #observation(): ObservationExpression {
    if (this.#takeMark('(')) {
      const inner = this.#deeper(() => this.#followedBy())
      this.#needMark(')')
      return inner
    }
    this.#needMark('[')
    const of = this.#comparisons()
    this.#needMark(']')
    this.#oneObjectType(of)
    return { kind: 'observation', of }
  }

  #qualifier(): Qualifier | undefined {
    if (this.#takeWord('WITHIN')) {
      const seconds = this.#number()
      if (!(seconds.value > 0)) throw new PatternError(seconds.at, 'WITHIN needs a number of seconds above 0')
      this.#needWord('SECONDS')
      return { kind: 'within', seconds: seconds.value }
    }
    if (this.#takeWord('REPEATS')) {
      const times = this.#number()
      if (!times.isInteger || times.value < 1) throw new PatternError(times.at, 'REPEATS needs a whole number from 1')
      if (times.value > PATTERN_LIMITS.repeats)
        throw new PatternError(times.at, `more than ${PATTERN_LIMITS.repeats} repetitions`, 'pattern_too_large')
      this.#needWord('TIMES')
      return { kind: 'repeats', times: times.value }
    }
    if (!this.#takeWord('START')) return undefined
    const start = this.#time()
    this.#needWord('STOP')
    return { kind: 'interval', start, stop: this.#time() }
  }

  #number(): { readonly value: number; readonly isInteger: boolean; readonly at: number } {
    const token = this.#next()
    if (token.kind !== 'literal' || token.literal.kind !== 'number') throw this.#unexpected('a number', token)
    return { value: token.literal.value, isInteger: token.literal.isInteger, at: token.at }
  }

  /** 2.0 wrote it as a plain string. */
  #time(): bigint {
    const token = this.#next()
    if (token.kind === 'literal') {
      const { literal } = token
      if (literal.kind === 'time' && this.#options.version !== '2.0') return literal.value
      if (literal.kind === 'string' && this.#options.version !== '2.1') {
        const time = timeOf(literal.value)
        if (time !== undefined) return time
      }
    }
    throw this.#unexpected('a time', token)
  }

  #comparisons(): ComparisonExpression {
    return this.#join('or', 'OR', () => this.#join('and', 'AND', () => this.#comparison()))
  }

  #join(kind: 'and' | 'or', word: string, part: () => ComparisonExpression): ComparisonExpression {
    const first = part()
    const parts = [first]
    while (this.#takeWord(word)) parts.push(part())
    return parts.length === 1 ? first : { kind, parts }
  }

  #comparison(): ComparisonExpression {
    if (this.#takeMark('(')) {
      const inner = this.#deeper(() => this.#comparisons())
      this.#needMark(')')
      return inner
    }
    // 2.1 has NOT EXISTS and EXISTS before the path.
    const before = this.#at
    const isNegated = this.#takeWord('NOT')
    if (this.#takeWord('EXISTS')) return { kind: 'exists', ...this.#objectPath(), negated: isNegated }
    this.#at = before
    const path = this.#objectPath()
    const negated = this.#takeWord('NOT')
    const operator = this.#operator()
    const at = this.#peek.at
    const values = operator === 'IN' ? this.#set() : [this.#literal()]
    this.#fits(operator, values, at)
    return { kind: 'comparison', ...path, operator, negated, values }
  }

  #objectPath(): Pick<Comparison, 'objectType' | 'path'> {
    const type = this.#next()
    if (type.kind !== 'word') throw this.#unexpected('the type of an object', type)
    this.#needMark(':')
    const path: PathStep[] = [this.#step()]
    for (;;) {
      if (this.#takeMark('.')) path.push(this.#step())
      else if (this.#takeMark('[')) {
        if (this.#takeMark('*')) path.push(ANY)
        else {
          const index = this.#number()
          if (!index.isInteger || index.value < 0) throw new PatternError(index.at, 'not an index')
          path.push(index.value)
        }
        this.#needMark(']')
      } else return { objectType: type.text, path }
    }
  }

  #step(): string {
    const token = this.#next()
    if (token.kind === 'word' && !token.text.includes('-')) return token.text
    if (token.kind === 'literal' && token.literal.kind === 'string') return token.literal.value
    if (token.kind === 'word') throw new PatternError(token.at, `${token.text} has to stand in quotes`)
    throw this.#unexpected('the name of a property', token)
  }

  #operator(): Operator {
    const token = this.#next()
    const text = token.kind === 'mark' || token.kind === 'word' ? token.text : ''
    const known = text === '==' ? '=' : text === '<>' ? '!=' : text
    const operator = OPERATORS.find((one) => one === known)
    if (!operator) throw this.#unexpected('an operator', token)
    return operator
  }

  #set(): Literal[] {
    this.#needMark('(')
    const values: Literal[] = []
    if (this.#takeMark(')')) return values
    do {
      values.push(this.#literal())
      if (values.length > PATTERN_LIMITS.values)
        throw new PatternError(this.#peek.at, `more than ${PATTERN_LIMITS.values} values`, 'pattern_too_large')
    } while (this.#takeMark(','))
    this.#needMark(')')
    return values
  }

  #literal(): Literal {
    const token = this.#next()
    if (token.kind !== 'literal') throw this.#unexpected('a value', token)
    return token.literal
  }

  #fits(operator: Operator, values: readonly Literal[], at: number): void {
    const kinds = new Set(values.map((value) => value.kind))
    if (kinds.size > 1) throw new PatternError(at, 'the values of a set are of one type')
    const [kind] = kinds
    if (OF_STRINGS.has(operator) && kind !== 'string') throw new PatternError(at, `${operator} needs a string`)
    if (ORDERED.has(operator) && kind === 'boolean') throw new PatternError(at, 'a truth value has no order')
  }

  /** AND joins properties of one object, so both sides are of one type (STIX 2.1, 9.6; 9.7.1). */
  #oneObjectType(expression: ComparisonExpression): ReadonlySet<string> {
    if (expression.kind === 'comparison' || expression.kind === 'exists') return new Set([expression.objectType])
    const sides = expression.parts.map((part) => this.#oneObjectType(part))
    if (expression.kind === 'or') return sides.reduce((all, one) => all.union(one), new Set<string>())
    const common = sides.reduce((all, one) => all.intersection(one))
    if (common.size === 0) throw new PatternError(this.#peek.at, 'AND joins properties of one type of object')
    return common
  }

  #deeper<T>(read: () => T): T {
    if (++this.#depth > PATTERN_LIMITS.depth) throw this.#tooDeep()
    const value = read()
    this.#depth--
    return value
  }

  #tooDeep(): PatternError {
    return new PatternError(this.#peek.at, `deeper than ${PATTERN_LIMITS.depth}`, 'pattern_too_large')
  }

  get #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', at: 0 }
  }

  #next(): Token {
    const token = this.#peek
    if (token.kind !== 'end') this.#at++
    return token
  }

  #takeWord(word: string): boolean {
    const token = this.#peek
    if (token.kind !== 'word' || token.text !== word) return false
    this.#at++
    return true
  }

  #takeMark(mark: string): boolean {
    const token = this.#peek
    if (token.kind !== 'mark' || token.text !== mark) return false
    this.#at++
    return true
  }

  #needWord(word: string): void {
    if (!this.#takeWord(word)) throw this.#unexpected(word)
  }

  #needMark(mark: string): void {
    if (!this.#takeMark(mark)) throw this.#unexpected(JSON.stringify(mark))
  }

  #unexpected(wanted: string, token: Token = this.#peek): PatternError {
    const found =
      token.kind === 'end'
        ? 'the end'
        : token.kind === 'literal'
          ? `a ${token.literal.kind}`
          : JSON.stringify(token.text)
    return new PatternError(token.at, `${wanted} is needed, not ${found}`)
  }
}

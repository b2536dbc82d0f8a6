/** Words of a STIX pattern. */
import { type Literal, PATTERN_LIMITS } from './pattern.ts'

export type Token =
  | { readonly kind: 'literal'; readonly literal: Literal; readonly at: number }
  | { readonly kind: 'word'; readonly text: string; readonly at: number }
  | { readonly kind: 'mark'; readonly text: string; readonly at: number }
  | { readonly kind: 'end'; readonly at: number }

export class PatternError extends Error {
  readonly at: number
  readonly code: 'pattern_syntax' | 'pattern_too_large'
  constructor(at: number, why: string, code: 'pattern_syntax' | 'pattern_too_large' = 'pattern_syntax') {
    super(`character ${at + 1}: ${why}`)
    this.name = 'PatternError'
    this.at = at
    this.code = code
  }
}

const SPACE = /[\s\u0085]/
const COMMENT = /\/\*[\s\S]*?\*\/|\/\/[^\r\n]*/y
const NUMBER = /[+-]?(?:\d+\.\d*|\.\d+|\d+)(?![\w.])/y
const WORD = /[A-Za-z_][A-Za-z0-9_-]*/y
const MARKS = ['!=', '<>', '==', '<=', '>=', '[', ']', '(', ')', ':', '.', ',', '=', '<', '>', '*']
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const TIME = /^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?Z$/

export function tokensOf(text: string): Token[] {
  if (text.length > PATTERN_LIMITS.characters)
    throw new PatternError(0, `longer than ${PATTERN_LIMITS.characters} characters`, 'pattern_too_large')
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    if (SPACE.test(text[at] ?? '')) {
      at++
      continue
    }
    const comment = matchAt(COMMENT, text, at)
    if (comment !== undefined) {
      at += comment.length
      continue
    }
    const prefixed = /[hbt]/.test(text[at] ?? '') && text[at + 1] === "'"
    if (text[at] === "'" || prefixed) {
      const { value, end } = quoted(text, prefixed ? at + 1 : at)
      tokens.push({ kind: 'literal', literal: literalOf(prefixed ? (text[at] ?? '') : '', value, at), at })
      at = end
      continue
    }
    const number = matchAt(NUMBER, text, at)
    if (number !== undefined) {
      const isInteger = /^[+-]?\d+$/.test(number)
      tokens.push({ kind: 'literal', literal: { kind: 'number', value: Number(number), isInteger }, at })
      at += number.length
      continue
    }
    const word = matchAt(WORD, text, at)
    if (word !== undefined) {
      tokens.push(
        word === 'true' || word === 'false'
          ? { kind: 'literal', literal: { kind: 'boolean', value: word === 'true' }, at }
          : { kind: 'word', text: word, at },
      )
      at += word.length
      continue
    }
    const mark = MARKS.find((one) => text.startsWith(one, at))
    if (mark === undefined) throw new PatternError(at, `${JSON.stringify(text[at])} means nothing here`)
    tokens.push({ kind: 'mark', text: mark, at })
    at += mark.length
  }
  tokens.push({ kind: 'end', at })
  return tokens
}

function matchAt(expression: RegExp, text: string, at: number): string | undefined {
  expression.lastIndex = at
  return expression.exec(text)?.[0]
}

/** Between quotes a backslash stands before a quote or a backslash. */
function quoted(text: string, from: number): { readonly value: string; readonly end: number } {
  let value = ''
  for (let at = from + 1; at < text.length; at++) {
    const char = text[at]
    if (char === "'") return { value, end: at + 1 }
    if (char === '\\') {
      const next = text[++at]
      if (next !== "'" && next !== '\\')
        throw new PatternError(at, 'a backslash stands only before a quote or a backslash')
      value += next
    } else value += char
  }
  throw new PatternError(from, 'the quote is never closed')
}

function literalOf(prefix: string, value: string, at: number): Literal {
  switch (prefix) {
    case 'h':
      if (!/^(?:[0-9a-f]{2})*$/i.test(value)) throw new PatternError(at, 'not hexadecimal')
      return { kind: 'binary', value: Buffer.from(value, 'hex') }
    case 'b':
      if (!BASE64.test(value)) throw new PatternError(at, 'not base64')
      return { kind: 'binary', value: Buffer.from(value, 'base64') }
    case 't': {
      const time = timeOf(value)
      if (time === undefined) throw new PatternError(at, `not a time such as t'2026-11-24T12:00:00Z'`)
      return { kind: 'time', value: time }
    }
    default:
      return { kind: 'string', value }
  }
}

/** Nanoseconds since 1970; a finer fraction is cut. */
export function timeOf(text: string): bigint | undefined {
  const parts = TIME.exec(text)
  if (!parts) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts.slice(1, 7).map(Number)
  const days = new Date(Date.UTC(2000, month - 1, day)).setUTCFullYear(year, month - 1, day)
  if (new Date(days).getUTCDate() !== day) return undefined
  const seconds = BigInt(days / 1_000) + BigInt(hour * 3_600 + minute * 60 + second)
  return seconds * 1_000_000_000n + BigInt((parts[7] ?? '').padEnd(9, '0').slice(0, 9))
}

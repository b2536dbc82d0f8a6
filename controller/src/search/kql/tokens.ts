/**
 * The text of a query as tokens. Escapes are Kibana's: without quotes `\` stands before one of `\():<>"*{}`, before t, r, n, before
 * uXXXX, and before a word that would else be an operator; in quotes only `\\`, `\"`, `\t`, `\r`, `\n` and `\uXXXX` are escapes, and
 * any other backslash is one. Source: Kibana Query Language reference; Kibana, kbn-es-query, kuery grammar (behaviour, not text).
 */
import { type Comparison, QueryRefusal, type Span } from './query.ts'

export const OPERATORS = ['and', 'or', 'not'] as const
export type Operator = (typeof OPERATORS)[number]
type Mark = '(' | ')' | '{' | '}' | ':'

export type Token = Span &
  (
    | { readonly kind: 'word'; readonly pieces: readonly string[]; readonly operator: Operator | null }
    | { readonly kind: 'quoted'; readonly text: string }
    | { readonly kind: 'mark'; readonly mark: Mark }
    | { readonly kind: 'comparison'; readonly comparison: Comparison }
    | { readonly kind: 'end' }
  )

const SPECIAL = new Set(String.raw`\():<>"*{}`)
const MARKS = new Set<string>(['(', ')', '{', '}', ':'] satisfies Mark[])
const WHITE_ESCAPES: Readonly<Record<string, string>> = { t: '\t', r: '\r', n: '\n' }
const UNICODE_ESCAPE = /^u[0-9a-fA-F]{4}/
const OPERATOR_ESCAPE = /^(?:and|or|not)(?![^\s\\():<>"*{}])/i

export function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  while (at < text.length) {
    const char = text.charAt(at)
    if (/\s/u.test(char)) {
      at++
      continue
    }
    const token = tokenAt(text, at, char)
    tokens.push(token)
    at = token.to
  }
  tokens.push({ kind: 'end', from: text.length, to: text.length })
  return tokens
}

function tokenAt(text: string, from: number, char: string): Token {
  if (char === '"') return quotedAt(text, from)
  if (MARKS.has(char)) return { kind: 'mark', mark: char as Mark, from, to: from + 1 }
  if (char === '<' || char === '>') {
    const comparison = text.charAt(from + 1) === '=' ? (`${char}=` as const) : char
    return { kind: 'comparison', comparison, from, to: from + comparison.length }
  }
  return wordAt(text, from)
}

function wordAt(text: string, from: number): Token {
  const pieces = ['']
  let plain = true
  let at = from
  const add = (part: string) => {
    pieces[pieces.length - 1] += part
  }
  while (at < text.length) {
    const char = text.charAt(at)
    if (char === '*') {
      pieces.push('')
      plain = false
      at++
    } else if (char === '\\') {
      const escape = escapeAt(text, at)
      add(escape.means)
      plain = false
      at = escape.to
    } else if (SPECIAL.has(char) || /\s/u.test(char)) break
    else {
      add(char)
      at++
    }
  }
  const operator = plain ? (OPERATORS.find((one) => one === pieces[0]?.toLowerCase()) ?? null) : null
  return { kind: 'word', pieces: withoutDoubles(pieces), operator, from, to: at }
}

/** `**` means what `*` means. */
function withoutDoubles(pieces: readonly string[]): string[] {
  return pieces.filter((piece, at) => piece !== '' || at === 0 || at === pieces.length - 1)
}

function escapeAt(text: string, at: number): { readonly means: string; readonly to: number } {
  const rest = text.slice(at + 1, at + 6)
  const next = rest.charAt(0)
  const [operator] = OPERATOR_ESCAPE.exec(rest) ?? []
  if (operator !== undefined) return { means: operator, to: at + 1 + operator.length }
  if (SPECIAL.has(next) && next !== '') return { means: next, to: at + 2 }
  if (UNICODE_ESCAPE.test(rest)) return { means: characterOf(rest), to: at + 6 }
  const white = WHITE_ESCAPES[next]
  if (white !== undefined) return { means: white, to: at + 2 }
  throw new QueryRefusal(
    'query_syntax',
    { from: at, to: Math.min(text.length, at + 2) },
    String.raw`a backslash outside quotes begins an escape; write \\ for a backslash, or put the value in double quotes`,
  )
}

function quotedAt(text: string, from: number): Token {
  let value = ''
  let at = from + 1
  while (at < text.length) {
    const char = text.charAt(at)
    if (char === '"') return { kind: 'quoted', text: value, from, to: at + 1 }
    const escape = char === '\\' ? quotedEscape(text.slice(at + 1, at + 6)) : undefined
    value += escape?.means ?? char
    at += escape?.length ?? 1
  }
  throw new QueryRefusal('query_syntax', { from, to: text.length }, 'this double quote is never closed')
}

function quotedEscape(rest: string): { readonly means: string; readonly length: number } | undefined {
  const next = rest.charAt(0)
  if (next === '\\' || next === '"') return { means: next, length: 2 }
  const white = WHITE_ESCAPES[next]
  if (white !== undefined) return { means: white, length: 2 }
  if (UNICODE_ESCAPE.test(rest)) return { means: characterOf(rest), length: 6 }
  return undefined
}

function characterOf(escape: string): string {
  return String.fromCharCode(Number.parseInt(escape.slice(1, 5), 16))
}

/** The text of a query: parsed again it is the same query. */
import type { Literal, Query } from './query.ts'

/** Where a word begins that would be an operator: it is one only where it stands alone. */
const OPERATOR_WORD = /(?<![^\s])(?=(?:and|or|not)(?![^\s]))/giu

export function printQuery(query: Query): string {
  switch (query.kind) {
    case 'all':
      return ''
    case 'and':
    case 'or':
      return query.parts.map((part) => inner(part)).join(` ${query.kind} `)
    case 'not':
      return `not ${inner(query.part)}`
    case 'is':
      return query.field === null
        ? printLiteral(query.value)
        : `${printLiteral(query.field)}:${printLiteral(query.value)}`
    case 'range':
      return `${printLiteral(query.field)} ${query.comparison} ${printLiteral(query.value)}`
    default:
      throw new Error(`unhandled query ${String(query satisfies never)}`)
  }
}

function inner(part: Query): string {
  const text = printQuery(part)
  return part.kind === 'and' || part.kind === 'or' || part.kind === 'not' ? `(${text})` : text
}

export function printLiteral({ pieces, quoted }: Literal): string {
  if (quoted) return `"${pieces.join('').replaceAll(/[\\"]/g, String.raw`\$&`)}"`
  const last = pieces.length - 1
  const text = pieces.map((piece, at) => escapeWords(piece, at === 0, at === last)).join('*')
  return text.replaceAll(OPERATOR_WORD, '\\')
}

/** White space that the parser would drop, or take for the space between two words of its own, is written as an escape. */
function escapeWords(piece: string, isFirst: boolean, isLast: boolean): string {
  return piece.replaceAll(/[\\():<>"*{}]/g, String.raw`\$&`).replaceAll(/\s/gu, (white, at: number, whole: string) => {
    const edge = (isFirst && at === 0) || (isLast && at === whole.length - 1)
    return white === ' ' && !edge ? white : escapeOf(white)
  })
}

function escapeOf(char: string): string {
  return String.raw`\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

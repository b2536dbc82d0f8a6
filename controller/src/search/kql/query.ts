/** A query of the Kibana Query Language as a tree, before anything is known about the fields that it names. */

/** Where something stands in the text: UTF-16 offsets, `to` exclusive. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Text with wildcards: any text may stand between two neighbours of `pieces`, so that `['a', 'b']` is `a*b` and `['a']` plain `a`. */
export interface Literal {
  readonly pieces: readonly string[]
  /** In double quotes: a phrase, and `*` in it stands for itself. */
  readonly quoted: boolean
  readonly at: Span
}

export const COMPARISONS = ['>=', '>', '<=', '<'] as const
export type Comparison = (typeof COMPARISONS)[number]

export type Query =
  /** An empty query: every event. */
  | { readonly kind: 'all' }
  | { readonly kind: 'and'; readonly parts: readonly Query[] }
  | { readonly kind: 'or'; readonly parts: readonly Query[] }
  | { readonly kind: 'not'; readonly part: Query }
  /** `field:value`; without a field a free text. */
  | { readonly kind: 'is'; readonly field: Literal | null; readonly value: Literal }
  | { readonly kind: 'range'; readonly field: Literal; readonly comparison: Comparison; readonly value: Literal }

/** What a query may be at most. Each is far above what people write, and far below what would hurt. */
export const QUERY_LIMITS = { length: 8_192, depth: 50, terms: 256 } as const

export const QUERY_PROBLEMS = [
  'query_too_long',
  'query_too_deep',
  'query_too_many_terms',
  'query_syntax',
  'query_nested',
  'query_unknown_field',
  'query_bad_value',
] as const
export type QueryProblem = (typeof QUERY_PROBLEMS)[number]

/** A query that is not one. `why` is for people and names the column; programs take `code` and `at`. */
export interface RefusedQuery {
  readonly ok: false
  readonly code: QueryProblem
  readonly why: string
  readonly at: Span
}

export function refuseQuery(code: QueryProblem, at: Span, why: string): RefusedQuery {
  return { ok: false, code, why: `column ${at.from + 1}: ${why}`, at }
}

/** Carries a refusal up through a recursion to the one function that gives it back as a value. */
export class QueryRefusal extends Error {
  readonly refused: RefusedQuery
  constructor(code: QueryProblem, at: Span, why: string) {
    super(why)
    this.name = 'QueryRefusal'
    this.refused = refuseQuery(code, at, why)
  }
}

export function hasWildcard({ pieces }: Literal): boolean {
  return pieces.length > 1
}

/** `field:*`: the field is there. */
export function isExistence(value: Literal): boolean {
  return hasWildcard(value) && value.pieces.every((piece) => piece === '')
}

/** As a person would write it, for messages. */
export function literalText({ pieces }: Literal): string {
  return pieces.join('*')
}

/**
 * A STIX pattern as a tree. Source: STIX 2.1 (OASIS Standard, 10 June 2021), 9 "STIX Patterning"; the forms that only 2.0 has (START and
 * STOP with plain strings, AND between comparisons of different object types) are read as 2.0 said.
 */
export type Literal =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'number'; readonly value: number; readonly isInteger: boolean }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'binary'; readonly value: Uint8Array }
  /** Nanoseconds since 1970. */
  | { readonly kind: 'time'; readonly value: bigint }

export const OPERATORS = ['=', '!=', '<', '<=', '>', '>=', 'IN', 'LIKE', 'MATCHES', 'ISSUBSET', 'ISSUPERSET'] as const
export type Operator = (typeof OPERATORS)[number]

/** A name, an index, or `*`: any member of a list. */
export type PathStep = string | number | typeof ANY
export const ANY = Symbol('any member')

export interface Comparison {
  readonly kind: 'comparison'
  readonly objectType: string
  readonly path: readonly PathStep[]
  readonly operator: Operator
  readonly negated: boolean
  /** Several only with IN. */
  readonly values: readonly Literal[]
}
export interface Existence {
  readonly kind: 'exists'
  readonly objectType: string
  readonly path: readonly PathStep[]
  readonly negated: boolean
}
export interface Joined<Of> {
  readonly kind: 'and' | 'or'
  readonly parts: readonly Of[]
}
export type ComparisonExpression = Comparison | Existence | Joined<ComparisonExpression>

export type Qualifier =
  | { readonly kind: 'within'; readonly seconds: number }
  | { readonly kind: 'repeats'; readonly times: number }
  /** Nanoseconds since 1970; `stop` is not in it any more. */
  | { readonly kind: 'interval'; readonly start: bigint; readonly stop: bigint }

export type ObservationExpression =
  | { readonly kind: 'observation'; readonly of: ComparisonExpression }
  | { readonly kind: 'and' | 'or' | 'followedby'; readonly parts: readonly ObservationExpression[] }
  | { readonly kind: 'qualified'; readonly of: ObservationExpression; readonly by: Qualifier }

export const PATTERN_LIMITS = { characters: 65_536, depth: 64, values: 4_096, repeats: 10_000 } as const

export type PatternRefusal = 'pattern_syntax' | 'pattern_too_large'

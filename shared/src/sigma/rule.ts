/**
 * What a Sigma file says, typed. Everything here is plain data (it crosses worker threads as it is); nothing here matches.
 * Source: Sigma specification 2.1.0 (rules, filters, correlation rules, modifiers appendix).
 */

export const LEVELS = ['informational', 'low', 'medium', 'high', 'critical'] as const
export type Level = (typeof LEVELS)[number]

export const STATUSES = ['stable', 'test', 'experimental', 'deprecated', 'unsupported'] as const
export type Status = (typeof STATUSES)[number]

/** Which telemetry a rule is meant for. `null`: the rule does not say, so any will do. */
export interface LogSource {
  readonly category: string | null
  readonly product: string | null
  readonly service: string | null
}

/** One piece of a Sigma string: plain characters, `*` (any run), `?` (one character), or `%name%` of the expand modifier. */
export type Token = string | Wildcard | Placeholder
export interface Wildcard {
  readonly wildcard: 'run' | 'one'
}
export const ANY_RUN: Wildcard = Object.freeze({ wildcard: 'run' })
export const ANY_ONE: Wildcard = Object.freeze({ wildcard: 'one' })
export interface Placeholder {
  readonly placeholder: string
}

export type Comparison = 'lt' | 'lte' | 'gt' | 'gte'
export type TimePart = 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year'
export type Anchor = 'equals' | 'contains' | 'startswith' | 'endswith'
export interface RegexFlags {
  readonly i: boolean
  readonly m: boolean
  readonly s: boolean
}

/** One question about one field (or, for a keyword, about every value of the event). */
export type Test =
  | { readonly kind: 'text'; readonly tokens: readonly Token[]; readonly cased: boolean; readonly dashes: boolean }
  | { readonly kind: 'regex'; readonly tokens: readonly Token[]; readonly flags: RegexFlags }
  | { readonly kind: 'cidr'; readonly tokens: readonly Token[] }
  | { readonly kind: 'number'; readonly value: number; readonly written: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' }
  | { readonly kind: 'exists'; readonly expected: boolean }
  | { readonly kind: 'compare'; readonly operator: Comparison; readonly value: number | string }
  | { readonly kind: 'time'; readonly part: TimePart; readonly operator: Comparison | 'eq'; readonly value: number }
  | { readonly kind: 'field'; readonly field: string; readonly anchor: Anchor; readonly cased: boolean }
  | { readonly kind: 'one-of'; readonly tests: readonly Test[] }

/** `field: null` is a keyword search. `negated` is the neq modifier. */
export interface DetectionItem {
  readonly kind: 'item'
  readonly field: string | null
  readonly tests: readonly Test[]
  readonly join: 'any' | 'all'
  readonly negated: boolean
  readonly line: number
}

export type Detection =
  | DetectionItem
  | { readonly kind: 'all'; readonly of: readonly Detection[] }
  | { readonly kind: 'any'; readonly of: readonly Detection[] }

/** A parsed condition. Selectors (`1 of them`, `all of x*`) are already resolved to the selections they name. */
export type Condition =
  | { readonly kind: 'selection'; readonly name: string }
  | { readonly kind: 'not'; readonly of: Condition }
  | { readonly kind: 'and'; readonly of: readonly Condition[] }
  | { readonly kind: 'or'; readonly of: readonly Condition[] }

/** Where a document came from: file as the caller named it, its line in that file, digest of its text (SHA-256, hexadecimal). */
export interface Origin {
  readonly file: string
  readonly line: number
  readonly sha256: string
}

export interface SigmaRule extends Origin {
  readonly kind: 'rule'
  readonly id: string | null
  readonly name: string | null
  readonly title: string
  readonly status: Status | null
  readonly level: Level | null
  readonly description: string
  readonly author: string
  readonly references: readonly string[]
  readonly falsePositives: readonly string[]
  readonly tags: readonly string[]
  readonly date: string | null
  readonly modified: string | null
  readonly taxonomy: string
  readonly logSource: LogSource
  readonly selections: ReadonlyMap<string, Detection>
  readonly condition: Condition
  /** Fields an analyst wants to see. */
  readonly fields: readonly string[]
}

/** A filter document: suppresses matches of the rules it names. */
export interface SigmaFilter extends Origin {
  readonly kind: 'filter'
  readonly id: string | null
  readonly title: string
  readonly logSource: LogSource
  /** Ids, names or titles of rules; `any`: every rule of its log source. */
  readonly rules: readonly string[] | 'any'
  readonly selections: ReadonlyMap<string, Detection>
  readonly condition: Condition
}

export const CORRELATION_TYPES = [
  'event_count',
  'value_count',
  'temporal',
  'temporal_ordered',
  'value_sum',
  'value_avg',
  'value_percentile',
] as const
export type CorrelationType = (typeof CORRELATION_TYPES)[number]
export const CORRELATION_OPERATORS = ['gt', 'gte', 'lt', 'lte', 'eq', 'neq'] as const
export type CorrelationOperator = (typeof CORRELATION_OPERATORS)[number]

export interface SigmaCorrelation extends Origin {
  readonly kind: 'correlation'
  readonly id: string | null
  readonly name: string | null
  readonly title: string
  readonly status: Status | null
  readonly level: Level | null
  readonly description: string
  readonly tags: readonly string[]
  readonly type: CorrelationType
  /** Ids or names of the rules and correlations it builds on, in the order written. */
  readonly rules: readonly string[]
  /** Where they stand in the file. */
  readonly rulesLine: number
  readonly groupBy: readonly string[]
  readonly timespanMs: number
  /** All must hold. Empty only for the temporal types, which then want every rule seen. */
  readonly bounds: readonly { readonly operator: CorrelationOperator; readonly value: number }[]
  readonly fields: readonly string[]
  readonly percentile: number | null
  /** Over rule names, where a temporal correlation has an expression instead of counting rules. */
  readonly expression: Condition | null
  /** Alias → (rule id or name → field of that rule's events). */
  readonly aliases: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly generate: boolean
}

export const REFUSALS = [
  'file_too_large',
  'yaml_invalid',
  'yaml_too_deep',
  'yaml_too_many_nodes',
  'yaml_too_many_documents',
  'not_a_rule',
  'field_invalid',
  'detection_missing',
  'detection_invalid',
  'condition_missing',
  'condition_invalid',
  'selection_unknown',
  'aggregation_unsupported',
  'modifier_unknown',
  'modifiers_conflict',
  'value_invalid',
  'regex_unsupported',
  'regex_too_long',
  'placeholder_unresolved',
  'too_many_variants',
  'correlation_invalid',
  'reference_unknown',
  'reference_ambiguous',
  'reference_repeated',
  'reference_cycle',
  'reference_refused',
  'filter_invalid',
] as const
export type RuleRefusalCode = (typeof REFUSALS)[number]

/** Why a document was not taken, so that its author finds the place. */
export interface RuleRefusal {
  readonly code: RuleRefusalCode
  readonly why: string
  readonly file: string
  readonly line: number
  /** Id, or title, of the rule where it has one. */
  readonly rule: string | null
}

/** Compared by value: a rule that came from another thread has its own objects. */
export function isWildcard(token: Token | undefined, kind: Wildcard['wildcard']): token is Wildcard {
  return typeof token === 'object' && 'wildcard' in token && token.wildcard === kind
}

/** A rule's id, or its title where it has none: what a match is reported under. */
export function ruleKey(rule: Pick<SigmaRule, 'id' | 'title'>): string {
  return rule.id ?? rule.title
}

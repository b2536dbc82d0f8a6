/** What the plan hands to the matcher. */
import type { Accessor, FieldShape } from './event-fields.ts'
import type { EventSource } from './log-source.ts'
import type { Predicate } from './predicate.ts'
import type { Requirement } from './required-literals.ts'
import type { SigmaRule } from './rule.ts'

export interface RuleMatch {
  readonly rule: SigmaRule
}

export interface CompiledRule {
  readonly rule: SigmaRule
  readonly match: RuleMatch
  readonly predicate: Predicate
  readonly requirement: Requirement
}

/** What the matcher asks of a plan. */
export interface PlanParts {
  readonly rules: readonly CompiledRule[]
  readonly fields: number
  accessorsOf(shape: FieldShape): readonly Accessor[]
  rulesFor(source: EventSource): readonly CompiledRule[]
  readonly anyLogSource: boolean
}

import type { RuleRefusalCode } from './rule.ts'

/**
 * Thrown inside the parser and the planner, caught once per document at their boundary and turned into a `RuleRefusal`:
 * the grammar is recursive, and passing a Result through every level of it would hide the grammar.
 */
export class Unusable extends Error {
  readonly code: RuleRefusalCode
  readonly line: number
  constructor(code: RuleRefusalCode, why: string, line = 0) {
    super(why)
    this.name = 'Unusable'
    this.code = code
    this.line = line
  }
}

/**
 * Filter documents: which rules they concern, and how they change them.
 *
 * The specification says that a filter suppresses matches, and its examples name in the condition what is to be suppressed
 * (`condition: selection`). Filters in use, and pySigma, write instead what remains (`condition: not selection`) and add it with
 * AND. Both are read as they are meant: a condition made of negations alone says what remains, any other what is suppressed.
 */
import type { Condition, LogSource, SigmaFilter, SigmaRule } from './rule.ts'

export function concerns(filter: SigmaFilter, rule: SigmaRule): boolean {
  if (!covers(filter.logSource, rule.logSource)) return false
  if (filter.rules === 'any') return true
  return filter.rules.some((name) => name === rule.id || name === rule.name || name === rule.title)
}

/** What the filter leaves open covers everything. */
function covers(filter: LogSource, rule: LogSource): boolean {
  return (['category', 'product', 'service'] as const).every(
    (part) => filter[part] === null || filter[part] === rule[part],
  )
}

/** The part that is added to the rule with AND. */
export function remaining(filter: SigmaFilter): Condition {
  return saysWhatRemains(filter.condition) ? filter.condition : { kind: 'not', of: filter.condition }
}

function saysWhatRemains(condition: Condition): boolean {
  switch (condition.kind) {
    case 'not':
      return true
    case 'selection':
      return false
    case 'and':
    case 'or':
      return condition.of.every(saysWhatRemains)
    default:
      throw new Error('unhandled condition', { cause: condition satisfies never })
  }
}

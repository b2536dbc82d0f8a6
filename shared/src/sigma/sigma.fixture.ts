/** A rule in a few lines, for tests. */
import { parseRules } from './parse.ts'
import { compilePlan, type PlanOptions } from './plan.ts'

/** `detection`: the body of the detection block, indented as if it stood alone. */
export function ruleText(detection: string, head = 'title: A rule\nlogsource:\n  category: test'): string {
  const body = detection
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
  return `${head}\ndetection:\n${body}\n`
}

/** Matches of one event against the rules in a text; throws when any of them is refused. */
export function countMatches(text: string, event: unknown, options: PlanOptions = {}): number {
  const parsed = parseRules([{ file: 'rule.yml', text }])
  const plan = compilePlan(parsed.rules, { filters: parsed.filters, ...options })
  const [refused] = [...parsed.refused, ...plan.refused]
  if (refused !== undefined) throw new Error(`${refused.code} at line ${refused.line}: ${refused.why}`)
  return plan.match(event).length
}

/** Does a detection with one selection, written as `key: value` YAML, match? */
export function selects(selection: string, event: unknown, options: PlanOptions = {}): boolean {
  const body = selection
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
  return countMatches(ruleText(`sel:\n${body}\ncondition: sel`), event, options) > 0
}

/** The code under which the only rule of a text is refused; `null` when it is taken. */
export function refusalOf(text: string, options: PlanOptions = {}): string | null {
  const parsed = parseRules([{ file: 'rule.yml', text }])
  const plan = compilePlan(parsed.rules, { filters: parsed.filters, correlations: parsed.correlations, ...options })
  return [...parsed.refused, ...plan.refused][0]?.code ?? null
}

export function selectionRefusal(selection: string, options: PlanOptions = {}): string | null {
  const body = selection
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
  return refusalOf(ruleText(`sel:\n${body}\ncondition: sel`), options)
}

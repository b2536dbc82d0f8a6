/** Rules and correlations of a text over events with their times, for tests. */
import { parseRules, type RuleFile } from '../parse.ts'
import { compilePlan, type PlanOptions, type RulePlan } from '../plan.ts'
import type { RuleRefusal } from '../rule.ts'
import { Correlator, type Firing } from './correlator.ts'
import { createFieldReader } from './fields.ts'
import { CORRELATION_LIMITS, type CorrelationLimits } from './limits.ts'

export interface Run {
  readonly plan: RulePlan
  readonly correlator: Correlator
  /** `time` in seconds; `received` too, as long as it does not matter 0. */
  see(time: number, event: Record<string, unknown>, received?: number): readonly Firing[]
}

export function planOf(
  files: string | readonly RuleFile[],
  options: PlanOptions = {},
): RulePlan & { refusals: readonly RuleRefusal[] } {
  const parsed = parseRules(typeof files === 'string' ? [{ file: 'rules.yml', text: files }] : files)
  const plan = compilePlan(parsed.rules, {
    filters: parsed.filters,
    correlations: parsed.correlations,
    alreadyRefused: parsed.refused,
    ...options,
  })
  return { ...plan, refusals: [...parsed.refused, ...plan.refused] }
}

/** Throws when anything of the text is refused. */
export function runOf(text: string, limits: Partial<CorrelationLimits> = {}, options: PlanOptions = {}): Run {
  const plan = planOf(text, options)
  const [refused] = plan.refusals
  if (refused !== undefined) throw new Error(`${refused.code} at line ${refused.line}: ${refused.why}`)
  const correlator = new Correlator(plan.correlations, { ...CORRELATION_LIMITS, ...limits })
  const read = createFieldReader()
  let seen = 0
  return {
    plan,
    correlator,
    see(time, event, received = 0) {
      const refs = `e${seen++}`
      return plan.match(event).flatMap(({ rule }) => {
        const names = correlator.fieldsOf(rule)
        if (names === undefined) return []
        const fields = read(event, names)
        return correlator.take(rule, { timeMs: time * 1_000, receivedMs: received * 1_000, refs, fields })
      })
    },
  }
}

/** A rule without a log source that matches `kind: <name>`. */
export function kindRule(name: string): string {
  return `title: ${name}\nname: ${name}\nid: id-${name}\ndetection:\n  s:\n    kind: ${name}\n  condition: s\n`
}

/** `body`: under `correlation:`, indented by two. `rules` are made for it with `kindRule`. */
export function correlationText(body: string, rules: readonly string[], head = 'title: C\nid: correlation'): string {
  const lines = body.split('\n').map((line) => `  ${line}`)
  return [...rules.map(kindRule), `${head}\ncorrelation:\n${lines.join('\n')}\n`].join('---\n')
}

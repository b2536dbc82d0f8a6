/**
 * Second stage: typed rules into a plan. A plan knows for each log source which rules can match there at all, the literals of
 * which one must appear for each of them, and every rule as one closure. What cannot be run is refused here with its reason.
 *
 * The seam for correlations: the plan says what each builds on; `correlate/` reads the matches that a plan returns, and needs nothing
 * of what is inside it.
 */
import type { Accessor, FieldShape } from './event-fields.ts'
import { FieldNames } from './event-view.ts'
import { type ResolvedCorrelation, resolveCorrelations } from './correlate/resolve.ts'
import { concerns, remaining } from './filters.ts'
import { admits } from './log-source.ts'
import type { CompiledRule, PlanParts, RuleMatch } from './compiled-rule.ts'
import { PlanMatcher } from './match.ts'
import { expandDetection, type Placeholders } from './placeholders.ts'
import { compileCondition, compileDetection, every } from './predicate.ts'
import { reasonOf } from '../result.ts'
import { Unusable } from './refusal.ts'
import { type Literal, literalsOf, requirementOf } from './required-literals.ts'
import {
  type Condition,
  type Detection,
  type RuleRefusal,
  ruleKey,
  type SigmaCorrelation,
  type SigmaFilter,
  type SigmaRule,
} from './rule.ts'

export interface PlanOptions {
  readonly filters?: readonly SigmaFilter[]
  readonly correlations?: readonly SigmaCorrelation[]
  /** What was refused before, so that a correlation that builds on it says so. */
  readonly alreadyRefused?: readonly RuleRefusal[]
  readonly placeholders?: Placeholders
  /** Try every rule on every event, whatever log source it is meant for. */
  readonly anyLogSource?: boolean
  /** Off: every rule of the log source is evaluated on every event. For checking that the prefilter hides nothing. */
  readonly prefilter?: boolean
}

export interface RulePlan {
  /** The rules that run, in the order given. */
  readonly rules: readonly SigmaRule[]
  /** What `correlate/correlator.ts` runs over the matches. */
  readonly correlations: readonly ResolvedCorrelation[]
  /** Rules that match for correlations only: their matches are no findings. */
  readonly silent: ReadonlySet<SigmaRule>
  readonly refused: readonly RuleRefusal[]
  /**
   * Every rule that matches, in the order given. Not to be called again from inside itself; anything but an object matches nothing.
   * `whole`: for speed, a text in ASCII in which every value of the event stands as it is, such as the JSON that it was parsed from
   * when nothing in it is escaped.
   */
  match(event: unknown, whole?: Uint8Array): readonly RuleMatch[]
}

export function compilePlan(rules: readonly SigmaRule[], options: PlanOptions = {}): RulePlan {
  const fields = new FieldNames()
  const refused: RuleRefusal[] = []
  const prepared: Prepared[] = []
  for (const rule of rules) {
    try {
      prepared.push(prepare(rule, options, fields))
    } catch (thrown) {
      refused.push(refusalOf(thrown, rule))
    }
  }
  const popularity = countLiterals(prepared, fields)
  const compiled: CompiledRule[] = []
  for (const each of prepared) {
    try {
      compiled.push(compile(each, fields, popularity, options.prefilter ?? true))
    } catch (thrown) {
      refused.push(refusalOf(thrown, each.rule))
    }
  }
  const running = compiled.map(({ rule }) => rule)
  const resolved = resolveCorrelations(running, options.correlations ?? [], [
    ...(options.alreadyRefused ?? []),
    ...refused,
  ])
  const matcher = new PlanMatcher(partsOf(compiled, fields, options.anyLogSource ?? false))
  return {
    rules: running,
    correlations: resolved.correlations,
    silent: resolved.silent,
    refused: [...refused, ...resolved.refused],
    match: (event, whole) => matcher.match(event, whole),
  }
}

interface Prepared {
  readonly rule: SigmaRule
  readonly selections: ReadonlyMap<string, Detection>
  readonly condition: Condition
}

/** Filters become further selections of the rule, under names that no rule can have. */
function prepare(rule: SigmaRule, options: PlanOptions, fields: FieldNames): Prepared {
  const placeholders = options.placeholders ?? new Map<string, readonly string[]>()
  const selections = new Map<string, Detection>()
  for (const [name, detection] of rule.selections) selections.set(name, expandDetection(detection, placeholders))
  const conditions = [rule.condition]
  const concerning = (options.filters ?? []).filter((filter) => concerns(filter, rule))
  concerning.forEach((filter, index) => {
    const rename = (name: string) => ` ${index} ${name}`
    for (const [name, detection] of filter.selections)
      selections.set(rename(name), expandDetection(detection, placeholders))
    conditions.push(renamed(remaining(filter), rename))
  })
  // Numbers the fields before any view is made.
  literalsOf(selections, fields)
  return { rule, selections, condition: conditions.length === 1 ? rule.condition : { kind: 'and', of: conditions } }
}

function renamed(condition: Condition, rename: (name: string) => string): Condition {
  switch (condition.kind) {
    case 'selection':
      return { kind: 'selection', name: rename(condition.name) }
    case 'not':
      return { kind: 'not', of: renamed(condition.of, rename) }
    case 'and':
    case 'or':
      return { kind: condition.kind, of: condition.of.map((part) => renamed(part, rename)) }
    default:
      throw new Error('unhandled condition', { cause: condition satisfies never })
  }
}

function countLiterals(prepared: readonly Prepared[], fields: FieldNames): (literal: Literal) => number {
  const counts = new Map<string, number>()
  const keyOf = ({ field, text }: Literal) => `${field} ${text}`
  for (const { selections } of prepared) {
    for (const key of new Set(literalsOf(selections, fields).map(keyOf))) counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return (literal) => counts.get(keyOf(literal)) ?? 1
}

function compile(
  { rule, selections, condition }: Prepared,
  fields: FieldNames,
  popularity: (literal: Literal) => number,
  prefilter: boolean,
): CompiledRule {
  const compiled = new Map([...selections].map(([name, detection]) => [name, compileDetection(detection, fields)]))
  return {
    rule,
    match: Object.freeze({ rule }),
    predicate: every([compileCondition(condition, compiled)]).predicate,
    requirement: prefilter ? requirementOf(condition, selections, fields, popularity) : null,
  }
}

function partsOf(rules: readonly CompiledRule[], fields: FieldNames, anyLogSource: boolean): PlanParts {
  const accessors = new Map<FieldShape, readonly Accessor[]>()
  return {
    rules,
    fields: fields.names.length,
    anyLogSource,
    accessorsOf(shape) {
      let known = accessors.get(shape)
      if (known === undefined) {
        known = fields.names.map((name) => shape.accessor(name))
        accessors.set(shape, known)
      }
      return known
    },
    rulesFor: (source) => (anyLogSource ? rules : rules.filter(({ rule }) => admits(source, rule.logSource))),
  }
}

function refusalOf(thrown: unknown, rule: SigmaRule): RuleRefusal {
  const at = { file: rule.file, rule: ruleKey(rule) }
  if (thrown instanceof Unusable)
    return { code: thrown.code, why: thrown.message, line: thrown.line || rule.line, ...at }
  return { code: 'detection_invalid', why: reasonOf(thrown), line: rule.line, ...at }
}

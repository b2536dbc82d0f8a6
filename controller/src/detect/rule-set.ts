/** The rules that run: read, checked, compiled; one that fails on events is switched off and named, the others go on. */
import type { Event } from '@firebreak/shared/events/event.ts'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import { type ParsedRules, parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import { ruleKey, type RuleRefusal, type SigmaFilter, type SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import { techniquesOf } from './attack-tags.ts'
import type { RuleStatus } from './index.ts'
import { classesOf } from './rule-classes.ts'
import type { RuleFiles } from './rule-files.ts'

/** A rule that failed so often is switched off until the rules are loaded anew. */
const FAILURES_BEFORE_OFF = 3

export interface RuleFailure {
  readonly rule: SigmaRule
  readonly why: string
  readonly switchedOff: boolean
}

interface Failed {
  count: number
  why: string
}

export class RuleSet {
  readonly refused: readonly Refusal[]
  readonly #parsed: ParsedRules
  /** Rules whose file is refused now and whose last good version goes on, with the reason. */
  readonly #kept: ReadonlyMap<SigmaRule, string>
  #plan: RulePlan
  readonly #single = new Map<SigmaRule, RulePlan>()
  readonly #failed = new Map<SigmaRule, Failed>()
  readonly #off = new Map<SigmaRule, string>()
  readonly #hits = new Map<SigmaRule, { matches: number; last: string }>()

  private constructor(
    parsed: ParsedRules,
    plan: RulePlan,
    refused: readonly Refusal[],
    kept: ReadonlyMap<SigmaRule, string> = new Map(),
  ) {
    this.#parsed = parsed
    this.#plan = plan
    this.refused = refused
    this.#kept = kept
  }

  static none(): RuleSet {
    const parsed = parseRules([])
    return new RuleSet(parsed, compilePlan([]), [])
  }

  /**
   * Refused when nothing at all would run although there are files: then the rules before it are the better ones. So it is with a
   * single rule or filter of `before` that is refused now: its last good version goes on until its file is right or gone.
   */
  static compile({ files, unreadable }: RuleFiles, before?: RuleSet): Result<RuleSet, 'no_rules'> {
    const parsed = withoutDuplicates(parseRules(files))
    const fresh = compilePlan(parsed.rules, { filters: parsed.filters, correlations: parsed.correlations })
    const refused: Refusal[] = [
      ...unreadable.map(({ file, why }) => ({ code: 'file_unreadable' as const, why, file, line: 0, rule: null })),
      ...parsed.refused,
      ...fresh.refused,
    ]
    if (fresh.rules.length === 0 && files.length > 0) {
      return refuse(
        'no_rules',
        `none of ${files.length} files has a rule that can run: ${refused[0]?.why ?? 'they are empty'}`,
      )
    }
    const last = before ?? RuleSet.none()
    const kept = lastGood(last.#plan.rules, new Set(fresh.rules.map(ruleKey)), refused)
    const filters = lastGood(last.#parsed.filters, new Set(parsed.filters.map(ruleKey)), refused)
    if (kept.size === 0 && filters.size === 0) return ok(new RuleSet(parsed, fresh, refused))
    const all = {
      ...parsed,
      rules: [...parsed.rules.filter((rule) => fresh.rules.includes(rule)), ...kept.keys()],
      filters: [...parsed.filters, ...filters.keys()],
    }
    const plan = compilePlan(all.rules, { filters: all.filters })
    return ok(new RuleSet(all, plan, refused, kept))
  }

  /** Rules that run in their last good version because what their file holds now is refused. */
  get kept(): readonly { readonly rule: SigmaRule; readonly why: string }[] {
    return [...this.#kept].map(([rule, why]) => ({ rule, why }))
  }

  /** What runs now, as data that crosses threads. */
  get running(): { readonly rules: readonly SigmaRule[]; readonly filters: readonly SigmaFilter[] } {
    return { rules: this.#plan.rules, filters: this.#parsed.filters }
  }

  get live(): number {
    return this.#plan.rules.length
  }

  /** Rules that match. One that throws is told to `onFailure` and does not hide the others. */
  match(event: Event, onFailure: (failure: RuleFailure) => void): readonly SigmaRule[] {
    let matched: readonly SigmaRule[]
    try {
      matched = this.#plan.match(event).map((match) => match.rule)
    } catch {
      matched = this.#matchOneByOne(event, onFailure)
    }
    for (const rule of matched) {
      const hits = this.#hits.get(rule)
      if (hits === undefined) this.#hits.set(rule, { matches: 1, last: event['@timestamp'] })
      else {
        hits.matches++
        hits.last = event['@timestamp']
      }
    }
    return matched
  }

  #matchOneByOne(event: Event, onFailure: (failure: RuleFailure) => void): SigmaRule[] {
    const matched: SigmaRule[] = []
    let switchedOff = false
    for (const rule of this.#plan.rules) {
      try {
        let plan = this.#single.get(rule)
        if (plan === undefined) {
          plan = compilePlan([rule], { filters: this.#parsed.filters })
          this.#single.set(rule, plan)
        }
        if (plan.match(event).length > 0) matched.push(rule)
      } catch (thrown) {
        const failed = this.#failed.get(rule) ?? { count: 0, why: '' }
        failed.count++
        failed.why = reasonOf(thrown)
        this.#failed.set(rule, failed)
        const off = failed.count >= FAILURES_BEFORE_OFF
        if (off) this.#off.set(rule, failed.why)
        switchedOff ||= off
        onFailure({ rule, why: failed.why, switchedOff: off })
      }
    }
    if (switchedOff) {
      const rules = this.#plan.rules.filter((rule) => !this.#off.has(rule))
      this.#plan = compilePlan(rules, { filters: this.#parsed.filters })
    }
    return matched
  }

  list(): RuleStatus[] {
    const live = this.#parsed.rules
      .filter((rule) => this.#plan.rules.includes(rule) || this.#off.has(rule))
      .map((rule): RuleStatus => {
        const off = this.#off.get(rule)
        const hits = this.#hits.get(rule)
        return {
          id: ruleKey(rule),
          title: rule.title,
          level: rule.level ?? 'medium',
          file: rule.file,
          techniques: techniquesOf(rule.tags),
          classes: classesOf(rule.logSource),
          state: off === undefined ? 'live' : 'refused',
          why: off === undefined ? this.#keptWhy(rule) : `switched off, it failed on events: ${off}`,
          matches: hits?.matches ?? 0,
          lastMatchAt: hits?.last ?? null,
        }
      })
    const keptFiles = new Set([...this.#kept.keys()].map(({ file }) => file))
    const told = ({ file, rule }: Refusal) =>
      keptFiles.has(file) && (rule === null || live.some((one) => one.file === file && one.id === rule))
    const refused = this.refused
      .filter((refusal) => !told(refusal))
      .map((refusal): RuleStatus => {
        const rule = this.#parsed.rules.find((rule) => rule.file === refusal.file && ruleKey(rule) === refusal.rule)
        return {
          id: refusal.rule ?? refusal.file,
          title: rule?.title ?? refusal.rule ?? refusal.file,
          level: rule?.level ?? 'informational',
          file: refusal.file,
          techniques: rule === undefined ? [] : techniquesOf(rule.tags),
          classes: rule === undefined ? [] : classesOf(rule.logSource),
          state: 'refused',
          why: `line ${refusal.line}: ${refusal.why} (${refusal.code})`,
          matches: 0,
          lastMatchAt: null,
        }
      })
    return [...live, ...refused]
  }

  #keptWhy(rule: SigmaRule): string | null {
    const why = this.#kept.get(rule)
    return why === undefined ? null : `its last good version runs, the file is refused: ${why}`
  }
}

export type Refusal = Omit<RuleRefusal, 'code'> & {
  readonly code: RuleRefusal['code'] | 'file_unreadable' | 'duplicate'
}

/** Those of `before` that are gone now because their file, or just they in it, is refused. */
function lastGood<T extends SigmaRule | SigmaFilter>(
  before: readonly T[],
  loaded: ReadonlySet<string>,
  refused: readonly Refusal[],
): Map<T, string> {
  const kept = new Map<T, string>()
  for (const one of before) {
    const key = ruleKey(one)
    const refusal = refused.find(
      ({ code, file, rule }) => code !== 'duplicate' && file === one.file && (rule === null || rule === key),
    )
    if (refusal !== undefined && !loaded.has(key))
      kept.set(one, `line ${refusal.line}: ${refusal.why} (${refusal.code})`)
  }
  return kept
}

/** Two rules under one id would be one signal: the first is kept, the other is named. */
function withoutDuplicates(parsed: ParsedRules): ParsedRules & { readonly refused: readonly Refusal[] } {
  const seen = new Map<string, SigmaRule>()
  const refused: Refusal[] = [...parsed.refused]
  for (const rule of parsed.rules) {
    const key = ruleKey(rule)
    const first = seen.get(key)
    if (first === undefined) seen.set(key, rule)
    else {
      const why = `the id is taken by ${first.file}, line ${first.line}`
      refused.push({ code: 'duplicate', why, file: rule.file, line: rule.line, rule: key })
    }
  }
  return { ...parsed, rules: [...seen.values()], refused: refused as ParsedRules['refused'] }
}

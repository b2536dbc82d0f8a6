/** The rules that run: read, checked, compiled; one that fails on events is switched off and named, the others go on. */
import { EVENT_CLASSES, type EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { ok, reasonOf, refuse, type Result } from '@firebreak/shared/result.ts'
import { type ParsedRules, parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import type { CorrelationFigures } from '@firebreak/shared/sigma/correlate/groups.ts'
import type { Correlated, ResolvedCorrelation } from '@firebreak/shared/sigma/correlate/resolve.ts'
import {
  ruleKey,
  type RuleRefusal,
  type SigmaCorrelation,
  type SigmaFilter,
  type SigmaRule,
} from '@firebreak/shared/sigma/rule.ts'
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
  readonly #kept: ReadonlyMap<SigmaRule | SigmaCorrelation, string>
  #plan: RulePlan
  readonly #single = new Map<SigmaRule, RulePlan>()
  readonly #failed = new Map<SigmaRule, Failed>()
  readonly #off = new Map<SigmaRule, string>()
  readonly #hits = new Map<SigmaRule | SigmaCorrelation, { matches: number; last: string }>()

  private constructor(
    parsed: ParsedRules,
    plan: RulePlan,
    refused: readonly Refusal[],
    kept: ReadonlyMap<SigmaRule | SigmaCorrelation, string> = new Map(),
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
    const fresh = planOf(parsed)
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
    const running = fresh.correlations.map(({ correlation }) => correlation)
    const correlations = lastGood(
      last.#plan.correlations.map(({ correlation }) => correlation),
      new Set(running.map(ruleKey)),
      refused,
    )
    if (kept.size === 0 && filters.size === 0 && correlations.size === 0) return ok(new RuleSet(parsed, fresh, refused))
    const all = {
      ...parsed,
      rules: [...parsed.rules.filter((rule) => fresh.rules.includes(rule)), ...kept.keys()],
      filters: [...parsed.filters, ...filters.keys()],
      correlations: [...running, ...correlations.keys()],
    }
    return ok(
      new RuleSet(all, planOf(all), refused, new Map<SigmaRule | SigmaCorrelation, string>([...kept, ...correlations])),
    )
  }

  /** Rules that run in their last good version because what their file holds now is refused. */
  get kept(): readonly { readonly rule: SigmaRule | SigmaCorrelation; readonly why: string }[] {
    return [...this.#kept].map(([rule, why]) => ({ rule, why }))
  }

  /** What runs now, as data that crosses threads. */
  get running(): { readonly rules: readonly SigmaRule[]; readonly filters: readonly SigmaFilter[] } {
    return { rules: this.#plan.rules, filters: this.#parsed.filters }
  }

  get live(): number {
    return this.#plan.rules.length + this.#plan.correlations.length
  }

  get correlations(): readonly ResolvedCorrelation[] {
    return this.#plan.correlations
  }

  sourcesOf(correlation: SigmaCorrelation): readonly Correlated[] {
    const resolved = this.#plan.correlations.find((one) => one.correlation === correlation)
    return resolved?.sources.map(({ of }) => of) ?? []
  }

  /** Its matches are for correlations only. */
  isSilent(rule: SigmaRule): boolean {
    return this.#plan.silent.has(rule)
  }

  /** Rules that match. One that throws is told to `onFailure` and does not hide the others. */
  match(event: Event, onFailure: (failure: RuleFailure) => void): readonly SigmaRule[] {
    let matched: readonly SigmaRule[]
    try {
      matched = this.#plan.match(event).map((match) => match.rule)
    } catch {
      matched = this.#matchOneByOne(event, onFailure)
    }
    for (const rule of matched) this.noteHit(rule, event['@timestamp'])
    return matched
  }

  noteHit(rule: SigmaRule | SigmaCorrelation, at: string): void {
    const hits = this.#hits.get(rule)
    if (hits === undefined) this.#hits.set(rule, { matches: 1, last: at })
    else {
      hits.matches++
      hits.last = at
    }
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
      this.#plan = planOf({ ...this.#parsed, rules })
    }
    return matched
  }

  list(correlating: ReadonlyMap<string, CorrelationFigures> = new Map()): RuleStatus[] {
    const rules = this.#parsed.rules
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
          correlation: null,
        }
      })
    const live = [...rules, ...this.#correlationList(correlating)]
    const keptFiles = new Set([...this.#kept.keys()].map(({ file }) => file))
    const told = ({ file, rule }: Refusal) =>
      keptFiles.has(file) && (rule === null || live.some((one) => one.file === file && one.id === rule))
    const refused = this.refused
      .filter((refusal) => !told(refusal))
      .map((refusal): RuleStatus => {
        const rule = [...this.#parsed.rules, ...this.#parsed.correlations].find(
          (rule) => rule.file === refusal.file && ruleKey(rule) === refusal.rule,
        )
        return {
          id: refusal.rule ?? refusal.file,
          title: rule?.title ?? refusal.rule ?? refusal.file,
          level: rule?.level ?? 'informational',
          file: refusal.file,
          techniques: rule === undefined ? [] : techniquesOf(rule.tags),
          classes: rule?.kind === 'rule' ? classesOf(rule.logSource) : [],
          state: 'refused',
          why: `line ${refusal.line}: ${refusal.why} (${refusal.code})`,
          matches: 0,
          lastMatchAt: null,
          correlation: null,
        }
      })
    return [...live, ...refused]
  }

  /** One that ran until a rule under it was switched off is shown with the reason. */
  #correlationList(correlating: ReadonlyMap<string, CorrelationFigures>): RuleStatus[] {
    const refused = new Map(this.#plan.refused.map((refusal) => [`${refusal.file}\0${refusal.rule}`, refusal]))
    const running = new Map(this.#plan.correlations.map((resolved) => [resolved.correlation, resolved]))
    return this.#parsed.correlations.flatMap((correlation): RuleStatus[] => {
      const key = ruleKey(correlation)
      const refusal = refused.get(`${correlation.file}\0${key}`)
      const resolved = running.get(correlation)
      // What was refused at the load is listed with the others that were.
      if (
        resolved === undefined &&
        (refusal === undefined || this.refused.some((one) => one.file === correlation.file && one.rule === key))
      )
        return []
      const hits = this.#hits.get(correlation)
      return [
        {
          id: key,
          title: correlation.title,
          level: correlation.level ?? 'medium',
          file: correlation.file,
          techniques: techniquesOf(correlation.tags),
          classes: resolved === undefined ? [] : classesUnder(resolved, this.#plan.correlations),
          state: resolved === undefined ? 'refused' : 'live',
          why: refusal === undefined ? this.#keptWhy(correlation) : `it runs no more: ${refusal.why}`,
          matches: hits?.matches ?? 0,
          lastMatchAt: hits?.last ?? null,
          correlation: correlating.get(key) ?? null,
        },
      ]
    })
  }

  #keptWhy(rule: SigmaRule | SigmaCorrelation): string | null {
    const why = this.#kept.get(rule)
    return why === undefined ? null : `its last good version runs, the file is refused: ${why}`
  }
}

export type Refusal = Omit<RuleRefusal, 'code'> & {
  readonly code: RuleRefusal['code'] | 'file_unreadable' | 'duplicate'
}

function planOf({ rules, filters, correlations, refused }: ParsedRules): RulePlan {
  return compilePlan(rules, { filters, correlations, alreadyRefused: refused })
}

/** Of everything that a correlation builds on. */
function classesUnder({ sources }: ResolvedCorrelation, all: readonly ResolvedCorrelation[]): readonly EventClass[] {
  const under = sources.flatMap(({ of }) => {
    if (of.kind === 'rule') return classesOf(of.logSource)
    const inner = all.find(({ correlation }) => correlation === of)
    return inner === undefined ? [] : classesUnder(inner, all)
  })
  const classes = new Set(under)
  return EVENT_CLASSES.filter((name) => classes.has(name))
}

/** Those of `before` that are gone now because their file, or just they in it, is refused. */
function lastGood<T extends SigmaRule | SigmaFilter | SigmaCorrelation>(
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
  const seen = new Map<string, SigmaRule | SigmaCorrelation>()
  const refused: Refusal[] = [...parsed.refused]
  const isFirst = (rule: SigmaRule | SigmaCorrelation) => {
    const key = ruleKey(rule)
    const first = seen.get(key)
    if (first === undefined) {
      seen.set(key, rule)
      return true
    }
    const why = `the id is taken by ${first.file}, line ${first.line}`
    refused.push({ code: 'duplicate', why, file: rule.file, line: rule.line, rule: key })
    return false
  }
  const rules = parsed.rules.filter(isFirst)
  const correlations = parsed.correlations.filter(isFirst)
  return { ...parsed, rules, correlations, refused: refused as ParsedRules['refused'] }
}

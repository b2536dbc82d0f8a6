/**
 * Third stage: one event against a plan. Its log source picks the rules; one pass over the fields that have literals picks the
 * few rules that can match; those are evaluated. Rules that cannot match cost nothing, and nothing is allocated for them.
 */
import type { SigmaEvent } from './event-fields.ts'
import { EventView } from './event-view.ts'
import { createRecogniser, type EventSource, type Recogniser } from './log-source.ts'
import type { CompiledRule, PlanParts, RuleMatch } from './compiled-rule.ts'
import { recordedOf } from './recorded.ts'
import { createScans, type Scan } from './prefilter.ts'

const NOTHING: readonly RuleMatch[] = Object.freeze([])
/** Compiled rule sets kept at once; they are made again from the plan when a rare source comes back. */
const MAX_ROUTES = 64

export class PlanMatcher {
  readonly #parts: PlanParts
  readonly #view: EventView
  readonly #recogniser: Recogniser = createRecogniser()
  readonly #routes = new Map<EventSource, Route>()
  /** Sources with the same rules share one route. */
  readonly #routesByRules = new Map<string, Route>()

  constructor(parts: PlanParts) {
    this.#parts = parts
    this.#view = new EventView(parts.fields)
  }

  match(event: unknown, whole?: Uint8Array): readonly RuleMatch[] {
    if (typeof event !== 'object' || event === null || Array.isArray(event)) return NOTHING
    const record = recordedOf(event as SigmaEvent)
    const source = this.#recogniser.sourceOf(record)
    const route = this.#routes.get(source) ?? this.#makeRoute(source)
    if (route.empty) return NOTHING
    this.#view.look(record, this.#parts.accessorsOf(source.shape), whole)
    return route.run(this.#view)
  }

  #makeRoute(source: EventSource): Route {
    const rules = this.#parts.rulesFor(source)
    const numbers = new Map(this.#parts.rules.map((rule, index) => [rule, index]))
    const key = rules.map((rule) => numbers.get(rule)).join()
    let route = this.#routesByRules.get(key)
    if (route === undefined) {
      route = new Route(rules)
      if (this.#routesByRules.size >= MAX_ROUTES) {
        this.#routesByRules.clear()
        this.#routes.clear()
      }
      this.#routesByRules.set(key, route)
    }
    this.#routes.set(source, route)
    return route
  }
}

/** The rules of one log source, ready to run. */
class Route {
  readonly #rules: readonly CompiledRule[]
  /** Rules that no literal stands for: always evaluated. */
  readonly #always: Int32Array
  readonly #scans: readonly Scan[]
  readonly #candidates: Int32Array
  readonly #seenTurn: Uint32Array
  #count = 0
  #turn = 0
  readonly #propose = (rule: number): void => {
    if (this.#seenTurn[rule] === this.#turn) return
    this.#seenTurn[rule] = this.#turn
    this.#candidates[this.#count++] = rule
  }

  constructor(rules: readonly CompiledRule[]) {
    this.#rules = rules
    this.#candidates = new Int32Array(rules.length)
    this.#seenTurn = new Uint32Array(rules.length)
    this.#always = Int32Array.from(rules.flatMap(({ requirement }, index) => (requirement === null ? [index] : [])))
    this.#scans = createScans(rules.map(({ requirement }) => requirement))
  }

  get empty(): boolean {
    return this.#rules.length === 0
  }

  run(view: EventView): readonly RuleMatch[] {
    this.#turn = this.#turn === 0xffff_ffff ? this.#restart() : this.#turn + 1
    this.#count = 0
    const scans = this.#scans
    for (let index = 0; index < scans.length; index++) (scans[index] as Scan)(view, this.#propose)
    const always = this.#always
    for (let index = 0; index < always.length; index++) this.#candidates[this.#count++] = always[index] as number
    if (this.#count === 0) return NOTHING
    let found: number[] | null = null
    for (let index = 0; index < this.#count; index++) {
      const number = this.#candidates[index] as number
      if ((this.#rules[number] as CompiledRule).predicate(view)) (found ??= []).push(number)
    }
    if (found === null) return NOTHING
    return found.sort((one, other) => one - other).map((number) => (this.#rules[number] as CompiledRule).match)
  }

  #restart(): number {
    this.#seenTurn.fill(0)
    return 1
  }
}

/**
 * Third stage: one event against a plan. Its log source picks the rules; one pass over the fields that have literals picks the
 * few rules that can match; those are evaluated. Rules that cannot match cost nothing, and nothing is allocated for them.
 */
import type { SigmaEvent } from './event-fields.ts'
import { EventView, type FieldText } from './event-view.ts'
import { LiteralAutomaton } from './literal-automaton.ts'
import { createRecogniser, type EventSource, type Recogniser } from './log-source.ts'
import type { CompiledRule, PlanParts, RuleMatch } from './plan.ts'
import { ANYWHERE, type Literal } from './required-literals.ts'

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

  match(event: unknown): readonly RuleMatch[] {
    if (typeof event !== 'object' || event === null || Array.isArray(event)) return NOTHING
    const record = event as SigmaEvent
    const source = this.#recogniser.sourceOf(record)
    const route = this.#routes.get(source) ?? this.#makeRoute(source)
    if (route.empty) return NOTHING
    this.#view.look(record, this.#parts.accessorsOf(source.shape))
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

  constructor(rules: readonly CompiledRule[]) {
    this.#rules = rules
    this.#candidates = new Int32Array(rules.length)
    this.#seenTurn = new Uint32Array(rules.length)
    const always: number[] = []
    const byField = new Map<number, Map<string, number[]>>()
    rules.forEach(({ requirement }, index) => {
      if (requirement === null) always.push(index)
      else for (const literal of requirement) enter(byField, literal, index)
    })
    this.#always = Int32Array.from(always)
    this.#scans = [...byField].map(([field, literals]) => this.#scanOf(field, literals))
  }

  get empty(): boolean {
    return this.#rules.length === 0
  }

  run(view: EventView): readonly RuleMatch[] {
    this.#turn = this.#turn === 0xffff_ffff ? this.#restart() : this.#turn + 1
    this.#count = 0
    for (const scan of this.#scans) scan(view)
    for (let index = 0; index < this.#always.length; index++)
      this.#candidates[this.#count++] = this.#always[index] as number
    let found: RuleMatch[] | null = null
    const candidates = this.#candidates.subarray(0, this.#count)
    if (candidates.length > 1) candidates.sort()
    for (let index = 0; index < candidates.length; index++) {
      const rule = this.#rules[candidates[index] as number] as CompiledRule
      if (rule.predicate(view)) (found ??= []).push(rule.match)
    }
    return found ?? NOTHING
  }

  #restart(): number {
    this.#seenTurn.fill(0)
    return 1
  }

  #scanOf(field: number, literals: ReadonlyMap<string, readonly number[]>): Scan {
    const automaton = new LiteralAutomaton([...literals.keys()])
    const rulesOf = [...literals.values()].map((rules) => Int32Array.from(new Set(rules)))
    const hit = (literal: number) => {
      const rules = rulesOf[literal] as Int32Array
      for (let index = 0; index < rules.length; index++) this.#propose(rules[index] as number)
    }
    if (field === ANYWHERE) return (view) => view.lowerLeaves().forEach((leaf) => automaton.scan(leaf, hit))
    return (view) => scanField(view.lower(field), automaton, hit)
  }

  #propose(rule: number): void {
    if (this.#seenTurn[rule] === this.#turn) return
    this.#seenTurn[rule] = this.#turn
    this.#candidates[this.#count++] = rule
  }
}

type Scan = (view: EventView) => void

function scanField(text: FieldText, automaton: LiteralAutomaton, hit: (literal: number) => void): void {
  if (typeof text === 'string') automaton.scan(text, hit)
  else if (text !== undefined) for (const each of text) automaton.scan(each, hit)
}

function enter(byField: Map<number, Map<string, number[]>>, { field, text }: Literal, rule: number): void {
  let literals = byField.get(field)
  if (literals === undefined) {
    literals = new Map()
    byField.set(field, literals)
  }
  const rules = literals.get(text)
  if (rules === undefined) literals.set(text, [rule])
  else rules.push(rule)
}

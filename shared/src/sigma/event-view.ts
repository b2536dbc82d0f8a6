/**
 * One event, looked at by many predicates: each field is found, turned into text and lower-cased at most once, and only when
 * somebody asks. The view is reused from event to event; nothing is allocated per rule.
 */
import type { Accessor, SigmaEvent } from './event-fields.ts'
import { searchedOf } from './recorded.ts'
import { DASH_PATTERN } from './sigma-text.ts'

/** Text of a field: one value, the values of a list, or `undefined` when there is nothing to read. */
export type FieldText = string | readonly string[] | undefined

/** How much of one event keyword searches read. */
const LEAVES = { depth: 16, count: 4_096 } as const

/** Names of the fields that the rules of a plan use, numbered. */
export class FieldNames {
  readonly #numbers = new Map<string, number>()
  readonly names: string[] = []

  numberOf(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.names.length
      this.#numbers.set(name, number)
      this.names.push(name)
    }
    return number
  }
}

/** Lower case as both sides of every comparison use it. The last sigma of a word has its own form; substrings must not notice. */
export function lowerCase(text: string): string {
  const lower = text.toLowerCase()
  return lower.includes('\u03c2') ? lower.replaceAll('\u03c2', '\u03c3') : lower
}

export class EventView {
  /** Text that holds every value of the event, where the caller has it. */
  whole: Uint8Array | undefined
  #event: SigmaEvent = {}
  /** The part of it that keywords are looked for in. */
  #searched: SigmaEvent = {}
  #accessors: readonly Accessor[] = []
  #turn = 0
  readonly #rawTurn: Uint32Array
  readonly #raw: unknown[]
  readonly #textTurn: Uint32Array
  readonly #text: FieldText[]
  readonly #lowerTurn: Uint32Array
  readonly #lower: FieldText[]
  readonly #dashTurn: Uint32Array
  readonly #dashed: FieldText[]
  #leavesTurn = 0
  #leaves: string[] = []
  #lowerLeavesTurn = 0
  #lowerLeaves: string[] = []

  constructor(fields: number) {
    this.#rawTurn = new Uint32Array(fields)
    this.#raw = Array.from<unknown>({ length: fields })
    this.#textTurn = new Uint32Array(fields)
    this.#text = Array.from<FieldText>({ length: fields })
    this.#lowerTurn = new Uint32Array(fields)
    this.#lower = Array.from<FieldText>({ length: fields })
    this.#dashTurn = new Uint32Array(fields)
    this.#dashed = Array.from<FieldText>({ length: fields })
  }

  /** `accessors`: one a field, for the shape of this event. */
  look(event: SigmaEvent, accessors: readonly Accessor[], whole?: Uint8Array): void {
    this.#event = event
    this.#searched = searchedOf(event)
    this.whole = whole
    this.#accessors = accessors
    this.#turn = this.#turn === 0xffff_ffff ? this.#restart() : this.#turn + 1
  }

  /** After four thousand million events the counters begin again; old marks must not look new. */
  #restart(): number {
    this.#rawTurn.fill(0)
    this.#textTurn.fill(0)
    this.#lowerTurn.fill(0)
    this.#dashTurn.fill(0)
    this.#leavesTurn = 0
    this.#lowerLeavesTurn = 0
    return 1
  }

  raw(field: number): unknown {
    if (this.#rawTurn[field] === this.#turn) return this.#raw[field]
    const value = (this.#accessors[field] as Accessor)(this.#event)
    this.#rawTurn[field] = this.#turn
    this.#raw[field] = value
    return value
  }

  text(field: number): FieldText {
    if (this.#textTurn[field] === this.#turn) return this.#text[field]
    const text = textOf(this.raw(field))
    this.#textTurn[field] = this.#turn
    this.#text[field] = text
    return text
  }

  lower(field: number): FieldText {
    if (this.#lowerTurn[field] === this.#turn) return this.#lower[field]
    const text = this.text(field)
    const lower = text === undefined ? undefined : typeof text === 'string' ? lowerCase(text) : text.map(lowerCase)
    this.#lowerTurn[field] = this.#turn
    this.#lower[field] = lower
    return lower
  }

  /** Lower case with every kind of dash as `-`. */
  dashed(field: number): FieldText {
    if (this.#dashTurn[field] === this.#turn) return this.#dashed[field]
    const lower = this.lower(field)
    const dashed =
      lower === undefined ? undefined : typeof lower === 'string' ? plainDashes(lower) : lower.map(plainDashes)
    this.#dashTurn[field] = this.#turn
    this.#dashed[field] = dashed
    return dashed
  }

  /** Every value of the event, however deep, with the name it stands under: what keywords are looked for in. */
  eachLeaf(visit: (text: string, name: string) => void): void {
    visitLeaves(this.#searched, '', visit, { left: LEAVES.count }, 0)
  }

  leaves(): readonly string[] {
    if (this.#leavesTurn !== this.#turn) {
      const leaves: string[] = []
      this.eachLeaf((text) => leaves.push(text))
      this.#leaves = leaves
      this.#leavesTurn = this.#turn
    }
    return this.#leaves
  }

  lowerLeaves(): readonly string[] {
    if (this.#lowerLeavesTurn !== this.#turn) {
      this.#lowerLeaves = this.leaves().map(lowerCase)
      this.#lowerLeavesTurn = this.#turn
    }
    return this.#lowerLeaves
  }
}

export function plainDashes(text: string): string {
  return text.replace(DASH_PATTERN, '-')
}

function textOf(value: unknown): FieldText {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (!Array.isArray(value)) return undefined
  const texts: string[] = []
  collectScalars(value, texts, 0)
  return texts
}

function collectScalars(list: readonly unknown[], into: string[], depth: number): void {
  for (const item of list) {
    if (into.length >= LEAVES.count) return
    if (Array.isArray(item)) {
      if (depth < LEAVES.depth) collectScalars(item, into, depth + 1)
    } else {
      const text = textOf(item)
      if (typeof text === 'string') into.push(text)
    }
  }
}

type Visit = (text: string, name: string) => void
interface Budget {
  left: number
}

/** Keys first and then values: `for in` took three times as long on events (20,000 process events, 3.3 against 0.8 µs each). */
function visitLeaves(value: object, name: string, visit: Visit, budget: Budget, depth: number): void {
  if (depth > LEAVES.depth) return
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length && budget.left > 0; index++)
      visitLeaf(value[index], name, visit, budget, depth)
    return
  }
  const keys = Object.keys(value)
  for (let index = 0; index < keys.length && budget.left > 0; index++) {
    const key = keys[index] as string
    visitLeaf((value as Record<string, unknown>)[key], key, visit, budget, depth)
  }
}

function visitLeaf(inner: unknown, name: string, visit: Visit, budget: Budget, depth: number): void {
  if (typeof inner === 'string') {
    budget.left--
    visit(inner, name)
  } else if (typeof inner === 'object' && inner !== null) visitLeaves(inner, name, visit, budget, depth + 1)
  else if (typeof inner === 'number' || typeof inner === 'boolean') {
    budget.left--
    visit(String(inner), name)
  }
}

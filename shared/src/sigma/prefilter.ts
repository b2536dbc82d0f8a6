/**
 * Which rules of a set can match an event at all. Each field that has literals is read once by its automaton; values that come
 * again and again (channels, programs, hosts) are not even read: what was found in them is remembered, as long as that pays.
 */
import type { EventView, FieldText } from './event-view.ts'
import { LiteralAutomaton } from './literal-automaton.ts'
import { ANYWHERE, END, type Requirement, START } from './required-literals.ts'
import { SHORTEST, SkipSearch } from './skip-search.ts'

/** Rules by position; the same one may be proposed only once an event. */
export type Propose = (rule: number) => void
export type Scan = (view: EventView, propose: Propose) => void

/** One scan a field. `requirements`: by position of the rule; `null` ones are not looked for. */
export function createScans(requirements: readonly Requirement[]): readonly Scan[] {
  const byField = new Map<number, Map<string, number[]>>()
  requirements.forEach((requirement, rule) => {
    for (const { field, text } of requirement ?? []) {
      const literals = byField.get(field) ?? new Map<string, number[]>()
      byField.set(field, literals)
      const rules = literals.get(text)
      if (rules === undefined) literals.set(text, [rule])
      else rules.push(rule)
    }
  })
  return [...byField].map(([field, literals]) => scanOf(field, literals))
}

function scanOf(field: number, literals: ReadonlyMap<string, readonly number[]>): Scan {
  const finder = new RuleFinder(literals)
  if (field === ANYWHERE) return textScan(literals, leafScan(finder))
  const memory = new ScanMemory(finder)
  return (view, propose) => {
    const text: FieldText = view.text(field)
    if (text === undefined) return
    if (typeof text === 'string') memory.find(text, propose)
    else for (const each of text) memory.find(each, propose)
  }
}

/** Keywords are looked for in every value; what is remembered is kept by the name of the field, as some never repeat. */
function leafScan(finder: RuleFinder): Scan {
  const memories = new Map<string, ScanMemory>()
  const spare = new ScanMemory(finder)
  const memoryOf = (name: string): ScanMemory => {
    let memory = memories.get(name)
    if (memory === undefined) {
      if (memories.size >= MAX_NAMES) return spare
      memory = new ScanMemory(finder)
      memories.set(name, memory)
    }
    return memory
  }
  return (view, propose) => view.eachLeaf((text, name) => memoryOf(name).find(text, propose))
}

/** Events after which it is judged whether reading them whole pays, the share that it may propose rules for, and the pause if not. */
const WHOLE = { trial: 1_024, share: 0.2, pause: 65_536 } as const
/** Such a literal could be in a number that JSON writes in another form than we do: `1e3`, `1.0`, `1e999`. */
const IN_NUMBERS = /^[-+.\de]*$|^[-infty]*$/
const ASCII = /^[\0-\x7f]*$/

/**
 * The text of an event, where the caller has it, searched in one go instead of value by value: what is in a value is in the text.
 * It also finds names of fields and texts across values, so it proposes more, never less; where that is too much, it is left for a while.
 */
function textScan(literals: ReadonlyMap<string, readonly number[]>, byLeaf: Scan): Scan {
  const rulesOf = new Map<string, readonly number[]>()
  for (const [literal, rules] of literals) {
    const text = literal.replaceAll(START, '').replaceAll(END, '')
    if (text.length < SHORTEST || IN_NUMBERS.test(text) || !ASCII.test(text)) return byLeaf
    rulesOf.set(text, [...(rulesOf.get(text) ?? []), ...rules])
  }
  const search = new SkipSearch([...rulesOf.keys()])
  const rules = [...rulesOf.values()]
  let asked = 0
  let proposed = 0
  let paused = 0
  return (view, propose) => {
    const { whole } = view
    if (whole === undefined) return byLeaf(view, propose)
    if (paused > 0) {
      paused--
      return byLeaf(view, propose)
    }
    let found = false
    search.scan(whole, (literal) => {
      found = true
      for (const rule of rules[literal] as readonly number[]) propose(rule)
    })
    if (found) proposed++
    if (++asked < WHOLE.trial) return
    if (proposed > WHOLE.trial * WHOLE.share) paused = WHOLE.pause
    asked = 0
    proposed = 0
  }
}

const MAX_NAMES = 512
const NONE: Int32Array = new Int32Array(0)

/** From a text to the rules whose literals are in it. */
class RuleFinder {
  readonly #automaton: LiteralAutomaton
  readonly #rulesOf: readonly Int32Array[]
  #found = new Set<number>()
  readonly #hit = (literal: number): void => {
    for (const rule of this.#rulesOf[literal] as Int32Array) this.#found.add(rule)
  }

  constructor(literals: ReadonlyMap<string, readonly number[]>) {
    this.#automaton = new LiteralAutomaton([...literals.keys()])
    this.#rulesOf = [...literals.values()].map((rules) => Int32Array.from(new Set(rules)))
  }

  /** Shorter than every literal. Only the capital I with a dot grows when it is lower-cased. */
  isTooShort(text: string): boolean {
    return text.length < this.#automaton.shortest && !text.includes('\u0130')
  }

  rulesIn(text: string): Int32Array {
    this.#automaton.scan(text, this.#hit)
    if (this.#found.size === 0) return NONE
    const rules = Int32Array.from(this.#found)
    this.#found = new Set()
    return rules
  }
}

const MEMORY = { entries: 2_048, characters: 512, trial: 2_048, pause: 32_768, worthwhile: 0.4 } as const

class ScanMemory {
  readonly #finder: RuleFinder
  readonly #known = new Map<string, Int32Array>()
  #asked = 0
  #remembered = 0
  /** Texts still to be read without asking the memory, because asking did not pay. */
  #paused = 0

  constructor(finder: RuleFinder) {
    this.#finder = finder
  }

  find(text: string, propose: Propose): void {
    if (this.#finder.isTooShort(text)) return
    const rules = text.length > MEMORY.characters || this.#isPaused() ? this.#finder.rulesIn(text) : this.#recall(text)
    for (let index = 0; index < rules.length; index++) propose(rules[index] as number)
  }

  #isPaused(): boolean {
    if (this.#paused === 0) return false
    this.#paused--
    return true
  }

  #recall(text: string): Int32Array {
    this.#asked++
    const known = this.#known.get(text)
    if (known !== undefined) {
      this.#remembered++
      return known
    }
    if (this.#asked >= MEMORY.trial) this.#judge()
    const rules = this.#finder.rulesIn(text)
    if (this.#known.size >= MEMORY.entries) this.#known.clear()
    this.#known.set(text, rules)
    return rules
  }

  #judge(): void {
    if (this.#remembered < this.#asked * MEMORY.worthwhile) {
      this.#paused = MEMORY.pause
      this.#known.clear()
    }
    this.#asked = 0
    this.#remembered = 0
  }
}

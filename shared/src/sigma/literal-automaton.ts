/**
 * Many literals searched in one pass (Aho and Corasick, 1975), as one table of next states: reading a character costs one
 * look-up, however many literals there are.
 */
import { lowerCase } from './event-view.ts'
import { END, START } from './required-literals.ts'

const ASCII = 128
/** Set in a table entry whose state ends at least one literal: the sign bit, so that the test is `< 0`. */
const ENDS = 0x8000_0000 | 0

export class LiteralAutomaton {
  readonly #classOf: Uint16Array
  readonly #wideClassOf: ReadonlyMap<number, number>
  readonly #next: Int32Array
  readonly #outputStart: Int32Array
  readonly #outputs: Int32Array
  readonly #width: number
  readonly #start: number
  readonly #end: number

  /** A text with fewer characters holds none of the literals. */
  readonly shortest: number

  /** `literals`: not empty; the number reported for each is its position. */
  constructor(literals: readonly string[]) {
    const { classOf, wideClassOf, width } = classify(literals)
    this.shortest = Math.min(...literals.map((literal) => literal.replaceAll(START, '').replaceAll(END, '').length))
    this.#classOf = classOf
    this.#wideClassOf = wideClassOf
    this.#width = width
    this.#start = classOf[START.charCodeAt(0)] as number
    this.#end = classOf[END.charCodeAt(0)] as number
    const trie = new Trie(literals, (code) => (code < ASCII ? (classOf[code] as number) : (wideClassOf.get(code) ?? 0)))
    const { next, outputStart, outputs } = trie.toTable(width)
    this.#next = next
    this.#outputStart = outputStart
    this.#outputs = outputs
  }

  get states(): number {
    return this.#outputStart.length - 1
  }

  /**
   * Calls `hit` for every literal that is in the text or touches its ends, possibly more than once. Literals are in lower case;
   * the text may have any: ASCII letters share one class with their capitals, and a text with others is lower-cased first.
   */
  scan(text: string, hit: (literal: number) => void): void {
    const next = this.#next
    const classOf = this.#classOf
    const { length } = text
    let state = this.#step(0, this.#start, hit)
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index)
      if (code >= ASCII) {
        this.#scanWide(lowerCase(text), hit)
        return
      }
      state = next[state + (classOf[code] as number)] as number
      if (state < 0) {
        state &= 0x7fff_ffff
        this.#report(state, hit)
      }
    }
    this.#step(state, this.#end, hit)
  }

  #scanWide(text: string, hit: (literal: number) => void): void {
    let state = this.#step(0, this.#start, hit)
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index)
      const kind = code < ASCII ? (this.#classOf[code] as number) : (this.#wideClassOf.get(code) ?? 0)
      state = this.#step(state, kind, hit)
    }
    this.#step(state, this.#end, hit)
  }

  #step(state: number, kind: number, hit: (literal: number) => void): number {
    const next = this.#next[state + kind] as number
    if (next >= 0) return next
    const plain = next & 0x7fff_ffff
    this.#report(plain, hit)
    return plain
  }

  #report(state: number, hit: (literal: number) => void): void {
    const number = state / this.#width
    const end = this.#outputStart[number + 1] as number
    for (let index = this.#outputStart[number] as number; index < end; index++) hit(this.#outputs[index] as number)
  }
}

/** Characters that no literal has are one class: they all lead back to the beginning. */
function classify(literals: readonly string[]): {
  classOf: Uint16Array
  wideClassOf: Map<number, number>
  width: number
} {
  const classOf = new Uint16Array(ASCII)
  const wideClassOf = new Map<number, number>()
  let width = 1
  for (const literal of literals) {
    for (let index = 0; index < literal.length; index++) {
      const code = literal.charCodeAt(index)
      if (code < ASCII) {
        if (classOf[code] === 0) classOf[code] = width++
      } else if (!wideClassOf.has(code)) wideClassOf.set(code, width++)
    }
  }
  for (let letter = 0x61; letter <= 0x7a; letter++) classOf[letter - 0x20] = classOf[letter] as number
  return { classOf, wideClassOf, width }
}

class Trie {
  readonly #children: Map<number, number>[] = [new Map()]
  readonly #own: number[][] = [[]]

  constructor(literals: readonly string[], classOf: (code: number) => number) {
    literals.forEach((literal, position) => {
      let node = 0
      for (let index = 0; index < literal.length; index++) {
        const kind = classOf(literal.charCodeAt(index))
        const children = this.#children[node] as Map<number, number>
        let child = children.get(kind)
        if (child === undefined) {
          child = this.#children.length
          this.#children.push(new Map())
          this.#own.push([])
          children.set(kind, child)
        }
        node = child
      }
      ;(this.#own[node] as number[]).push(position)
    })
  }

  /** States are numbered breadth first: text mostly stays near the root, whose rows then share the processor's cache. */
  toTable(width: number): { next: Int32Array; outputStart: Int32Array; outputs: Int32Array } {
    const nodes = [0]
    const fallback = [0]
    const next = new Int32Array(this.#children.length * width)
    const reported: (readonly number[])[] = []
    for (let state = 0; state < nodes.length; state++) {
      const node = nodes[state] as number
      const fall = fallback[state] as number
      const own = this.#own[node] as number[]
      const inherited = state === 0 ? [] : (reported[fall] as readonly number[])
      reported.push(inherited.length === 0 ? own : [...own, ...inherited])
      const row = state * width
      // The state fallen back to is nearer to the root, so its row is complete.
      if (state > 0) next.copyWithin(row, fall * width, (fall + 1) * width)
      for (const [kind, child] of this.#children[node] as Map<number, number>) {
        fallback.push(state === 0 ? 0 : (next[row + kind] as number))
        next[row + kind] = nodes.length
        nodes.push(child)
      }
    }
    return finish(next, reported, width)
  }
}

/** State numbers become offsets into the table, with the mark of those that end a literal. */
function finish(next: Int32Array, reported: readonly (readonly number[])[], width: number) {
  for (let index = 0; index < next.length; index++) {
    const state = next[index] as number
    next[index] = (state * width) | ((reported[state] as readonly number[]).length > 0 ? ENDS : 0)
  }
  const outputStart = new Int32Array(reported.length + 1)
  reported.forEach((outputs, state) => {
    outputStart[state + 1] = (outputStart[state] as number) + outputs.length
  })
  return { next, outputStart, outputs: Int32Array.from(reported.flat()) }
}

/**
 * Reads the part of the PCRE syntax that rules use into a tree, so that three things can be known about a pattern: whether
 * V8's backtracking can be bounded for it, which literal every match must contain, and how it is written for each engine with
 * the same meaning (PCRE's `\s`, `.` and `\d` differ from JavaScript's). What this does not know goes to RE2 as it stands.
 */
import type { RegexFlags } from './rule.ts'

export type Regex =
  | { readonly kind: 'char'; readonly code: number }
  | { readonly kind: 'class'; readonly source: string }
  | { readonly kind: 'any' }
  | { readonly kind: 'anchor'; readonly source: string }
  | { readonly kind: 'concat'; readonly of: readonly Regex[] }
  | { readonly kind: 'alternate'; readonly of: readonly Regex[] }
  | { readonly kind: 'repeat'; readonly of: Regex; readonly min: number; readonly max: number; readonly lazy: boolean }

export interface ParsedRegex {
  readonly tree: Regex
  readonly flags: RegexFlags
}

const SPACE = String.raw`\t\n\v\f\r `
const SHORTHANDS: Readonly<Record<string, string>> = { d: '0-9', w: '0-9A-Za-z_', s: SPACE }
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27 }
const MAX_DEPTH = 64

/** `null`: some syntax this parser does not know (lookaround, back-references, possessive quantifiers, ...). */
export function parseRegex(pattern: string, flags: RegexFlags): ParsedRegex | null {
  const inline = /^\(\?([ims]+)\)/.exec(pattern)
  const named = inline?.[1] ?? ''
  const merged = {
    i: flags.i || named.includes('i'),
    m: flags.m || named.includes('m'),
    s: flags.s || named.includes('s'),
  }
  const tree = new RegexParser(pattern.slice(inline?.[0].length ?? 0)).parse()
  return tree === null ? null : { tree, flags: merged }
}

class RegexParser {
  readonly #chars: readonly string[]
  #at = 0
  #depth = 0
  #failed = false

  constructor(pattern: string) {
    this.#chars = Array.from(pattern)
  }

  parse(): Regex | null {
    const tree = this.#alternation()
    return this.#failed || this.#at < this.#chars.length ? null : tree
  }

  #fail(): Regex {
    this.#failed = true
    this.#at = this.#chars.length
    return { kind: 'any' }
  }

  #alternation(): Regex {
    if (++this.#depth > MAX_DEPTH) return this.#fail()
    const of = [this.#concat()]
    while (this.#peek() === '|') {
      this.#at++
      of.push(this.#concat())
    }
    this.#depth--
    return of.length === 1 ? (of[0] as Regex) : { kind: 'alternate', of }
  }

  #concat(): Regex {
    const of: Regex[] = []
    for (let next = this.#peek(); next !== undefined && next !== '|' && next !== ')'; next = this.#peek()) {
      of.push(this.#quantified())
    }
    return of.length === 1 ? (of[0] as Regex) : { kind: 'concat', of }
  }

  #quantified(): Regex {
    let atom = this.#atom()
    for (let bounds = this.#quantifier(); bounds !== null; bounds = this.#quantifier()) {
      // `a**` and `a{2}{3}` differ between engines, and so does a repeated anchor.
      if (atom.kind === 'repeat' || atom.kind === 'anchor') return this.#fail()
      const follow = this.#peek()
      if (follow === '+') return this.#fail()
      const lazy = follow === '?'
      if (lazy) this.#at++
      atom = { kind: 'repeat', of: atom, min: bounds[0], max: bounds[1], lazy }
    }
    return atom
  }

  #quantifier(): readonly [number, number] | null {
    const char = this.#peek()
    if (char === '*' || char === '+' || char === '?') {
      this.#at++
      return char === '*' ? [0, Number.POSITIVE_INFINITY] : char === '+' ? [1, Number.POSITIVE_INFINITY] : [0, 1]
    }
    if (char !== '{') return null
    const rest = this.#chars.slice(this.#at, this.#at + 16).join('')
    const counted = /^\{(\d{1,5})(,(\d{0,5}))?\}/.exec(rest)
    // A brace that opens no quantifier is a plain character, as in PCRE.
    if (counted === null) return null
    this.#at += counted[0].length
    const min = Number(counted[1])
    const max = counted[2] === undefined ? min : counted[3] === '' ? Number.POSITIVE_INFINITY : Number(counted[3])
    if (max < min) this.#fail()
    return [min, max]
  }

  #atom(): Regex {
    const char = this.#chars[this.#at++] as string
    switch (char) {
      case '.':
        return { kind: 'any' }
      case '^':
      case '$':
        return { kind: 'anchor', source: char }
      case '(':
        return this.#group()
      case '[':
        return this.#class()
      case '\\':
        return this.#escape()
      case '*':
      case '+':
      case '?':
        return this.#fail()
      default:
        return { kind: 'char', code: char.codePointAt(0) as number }
    }
  }

  #group(): Regex {
    if (this.#peek() === '?') {
      if (this.#chars[this.#at + 1] !== ':') return this.#fail()
      this.#at += 2
    }
    const inner = this.#alternation()
    if (this.#chars[this.#at++] !== ')') return this.#fail()
    // A group of one repeat must not merge with a quantifier that follows it.
    return inner.kind === 'repeat' || inner.kind === 'anchor' ? { kind: 'concat', of: [inner] } : inner
  }

  #escape(): Regex {
    const char = this.#chars[this.#at++]
    if (char === undefined) return this.#fail()
    const shorthand = SHORTHANDS[char.toLowerCase()]
    if (shorthand !== undefined)
      return { kind: 'class', source: char === char.toLowerCase() ? `[${shorthand}]` : `[^${shorthand}]` }
    if (char === 'b' || char === 'B') return { kind: 'anchor', source: `\\${char}` }
    const code = this.#escapedCode(char)
    return code === null ? this.#fail() : { kind: 'char', code }
  }

  #escapedCode(char: string): number | null {
    const control = CONTROLS[char]
    if (control !== undefined) return control
    if (char === 'x') {
      const digits = /^(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})/.exec(
        this.#chars.slice(this.#at, this.#at + 9).join(''),
      )
      if (digits === null) return null
      this.#at += digits[0].length
      const code = Number.parseInt(digits[1] ?? digits[2] ?? '', 16)
      return code <= 0x10ffff ? code : null
    }
    return /[0-9A-Za-z]/.test(char) ? null : (char.codePointAt(0) as number)
  }

  #class(): Regex {
    let source = '['
    if (this.#peek() === '^') {
      source += '^'
      this.#at++
    }
    let first = true
    for (;;) {
      const char = this.#chars[this.#at++]
      if (char === undefined) return this.#fail()
      if (char === ']' && !first) break
      first = false
      if (char === '[' && /[:.=]/.test(this.#peek() ?? '')) return this.#fail()
      let code: number | null
      if (char === '\\') {
        const escaped = this.#chars[this.#at++]
        if (escaped === undefined) return this.#fail()
        const shorthand = SHORTHANDS[escaped]
        if (shorthand !== undefined) {
          source += shorthand
          // `[\w-z]`: the hyphen is plain.
          if (this.#peek() === '-' && this.#chars[this.#at + 1] !== ']') {
            this.#at++
            source += '\\-'
          }
          continue
        }
        code = escaped === 'b' ? 8 : this.#escapedCode(escaped)
        if (code === null) return this.#fail()
      } else code = char.codePointAt(0) as number
      if (this.#peek() === '-' && this.#chars[this.#at + 1] !== ']' && this.#chars[this.#at + 1] !== undefined) {
        const end = this.#rangeEnd()
        if (end === null || end < code) return this.#fail()
        source += `${written(code)}-${written(end)}`
      } else source += written(code)
    }
    return { kind: 'class', source: `${source}]` }
  }

  #rangeEnd(): number | null {
    this.#at++
    const char = this.#chars[this.#at++] as string
    if (char !== '\\') return char === '[' ? null : (char.codePointAt(0) as number)
    const escaped = this.#chars[this.#at++]
    if (escaped === undefined || SHORTHANDS[escaped.toLowerCase()] !== undefined) return null
    return this.#escapedCode(escaped)
  }

  #peek(): string | undefined {
    return this.#chars[this.#at]
  }
}

/** One code point so that no engine takes it for syntax; understood by RE2 and by V8 with the `u` flag. */
function written(code: number): string {
  const plain = (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 95
  if (plain) return String.fromCodePoint(code)
  if (code < 128) return `\\x${code.toString(16).padStart(2, '0')}`
  return String.fromCodePoint(code)
}

/** The pattern in the words of one engine. RE2 and V8 agree on everything this prints. */
export function printRegex(tree: Regex, flags: RegexFlags): string {
  switch (tree.kind) {
    case 'char':
      return written(tree.code)
    case 'class':
      return tree.source
    case 'any':
      return flags.s ? String.raw`[\s\S]` : String.raw`[^\n]`
    case 'anchor':
      return tree.source
    case 'concat':
      return tree.of
        .map((part) => (part.kind === 'alternate' ? `(?:${printRegex(part, flags)})` : printRegex(part, flags)))
        .join('')
    case 'alternate':
      return tree.of.map((part) => printRegex(part, flags)).join('|')
    case 'repeat': {
      const inner = printRegex(tree.of, flags)
      const atom =
        tree.of.kind === 'char' || tree.of.kind === 'class' || tree.of.kind === 'any' ? inner : `(?:${inner})`
      return `${atom}${printBounds(tree.min, tree.max)}${tree.lazy ? '?' : ''}`
    }
    default:
      throw new Error('unhandled node', { cause: tree satisfies never })
  }
}

function printBounds(min: number, max: number): string {
  if (max === Number.POSITIVE_INFINITY) return min === 0 ? '*' : min === 1 ? '+' : `{${min},}`
  if (min === 0 && max === 1) return '?'
  return min === max ? `{${min}}` : `{${min},${max}}`
}

/** Takes away what cannot change whether something is found: `.*` at either end of a search (RE2 would still walk it). */
export function trimSearch(tree: Regex): Regex {
  if (tree.kind !== 'concat') return isFreeRun(tree) ? { kind: 'concat', of: [] } : tree
  let of = tree.of
  while (of[0] !== undefined && isFreeRun(of[0])) of = of.slice(1)
  for (let last = of.at(-1); last !== undefined && isFreeRun(last); last = of.at(-1)) of = of.slice(0, -1)
  return of.length === 1 ? (of[0] as Regex) : { kind: 'concat', of }
}

function isFreeRun(tree: Regex): boolean {
  return tree.kind === 'repeat' && tree.min === 0 && (tree.of.kind === 'any' || tree.max === 0)
}

/** Most ways in which one start position can be matched, `Infinity` with an unbounded repeat: what bounds backtracking. */
export function countPaths(tree: Regex): number {
  switch (tree.kind) {
    case 'char':
    case 'class':
    case 'any':
    case 'anchor':
      return 1
    case 'concat':
      return tree.of.reduce((paths, part) => paths * countPaths(part), 1)
    case 'alternate':
      return tree.of.reduce((paths, part) => paths + countPaths(part), 0)
    case 'repeat': {
      if (tree.max === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY
      const inner = countPaths(tree.of)
      if (inner === 1) return tree.max - tree.min + 1
      let paths = 0
      for (let count = tree.min; count <= tree.max && paths < 1e6; count++) paths += inner ** count
      return paths
    }
    default:
      throw new Error('unhandled node', { cause: tree satisfies never })
  }
}

/** Most characters one attempt can read. */
export function longestMatch(tree: Regex): number {
  switch (tree.kind) {
    case 'anchor':
      return 0
    case 'char':
    case 'class':
    case 'any':
      return 1
    case 'concat':
      return tree.of.reduce((length, part) => length + longestMatch(part), 0)
    case 'alternate':
      return Math.max(...tree.of.map(longestMatch))
    case 'repeat':
      return tree.max === 0 ? 0 : longestMatch(tree.of) * tree.max
    default:
      throw new Error('unhandled node', { cause: tree satisfies never })
  }
}

/** Literals in lower case of which every match contains at least one; `null` when none can be named. ASCII only. */
export function requiredLiterals(tree: Regex): readonly string[] | null {
  switch (tree.kind) {
    case 'char':
      return tree.code < 128 ? [String.fromCharCode(tree.code).toLowerCase()] : null
    case 'class':
    case 'any':
    case 'anchor':
      return null
    case 'alternate': {
      const each = tree.of.map(requiredLiterals)
      return each.every((literals) => literals !== null) ? each.flat() : null
    }
    case 'repeat':
      return tree.min > 0 ? requiredLiterals(tree.of) : null
    case 'concat':
      return bestOfConcat(tree.of)
    default:
      throw new Error('unhandled node', { cause: tree satisfies never })
  }
}

/** The candidate whose shortest literal is longest: runs of plain characters, or what one part requires by itself. */
function bestOfConcat(parts: readonly Regex[]): readonly string[] | null {
  let best: readonly string[] | null = null
  const offer = (literals: readonly string[] | null) => {
    if (literals !== null && (best === null || shortest(literals) > shortest(best))) best = literals
  }
  let run = ''
  for (const part of parts) {
    if (part.kind === 'char' && part.code < 128) run += String.fromCharCode(part.code).toLowerCase()
    else if (part.kind === 'anchor') continue
    else {
      if (run !== '') offer([run])
      run = ''
      offer(requiredLiterals(part))
    }
  }
  if (run !== '') offer([run])
  return best
}

function shortest(literals: readonly string[]): number {
  return Math.min(...literals.map((literal) => literal.length))
}

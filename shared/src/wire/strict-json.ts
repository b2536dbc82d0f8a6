/**
 * JSON as strict as a signature deserves (RFC 8259 leaves these open): valid UTF-8 without a byte order mark, no duplicate names,
 * no `__proto__`, no number outside the safe range, bounded depth and member count. Objects have no prototype.
 * JSON.parse alone keeps the last of two equal names and rounds large integers silently.
 */
import { type Result, ok, reasonOf, refuse } from '../result.ts'

export interface JsonLimits {
  readonly maxBytes: number
  readonly maxDepth: number
  /** Values of all kinds in the whole text. */
  readonly maxValues: number
}

export type JsonRefusal = 'too_large' | 'malformed'
export const CONTROL_JSON_LIMITS: JsonLimits = { maxBytes: 1024 * 1024, maxDepth: 16, maxValues: 20_000 }

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function parseStrictJson(
  bytes: Uint8Array,
  limits: JsonLimits = CONTROL_JSON_LIMITS,
): Result<unknown, JsonRefusal> {
  if (bytes.length > limits.maxBytes)
    return refuse('too_large', `${bytes.length} bytes are more than ${limits.maxBytes}`)
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    return refuse('malformed', 'not valid UTF-8')
  }
  const reader = new StrictReader(text, limits)
  try {
    return ok(reader.readWhole())
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return refuse('malformed', reasonOf(thrown))
    throw thrown
  }
}

class StrictReader {
  readonly #text: string
  readonly #limits: JsonLimits
  #at = 0
  #values = 0

  constructor(text: string, limits: JsonLimits) {
    this.#text = text
    this.#limits = limits
  }

  readWhole(): unknown {
    const value = this.#value(1)
    this.#space()
    if (this.#at !== this.#text.length) throw this.#wrong('something follows the value')
    return value
  }

  #value(depth: number): unknown {
    if (depth > this.#limits.maxDepth) throw this.#wrong(`deeper than ${this.#limits.maxDepth}`)
    if (++this.#values > this.#limits.maxValues) throw this.#wrong(`more than ${this.#limits.maxValues} values`)
    this.#space()
    const next = this.#text[this.#at]
    if (next === '{') return this.#object(depth)
    if (next === '[') return this.#array(depth)
    if (next === '"') return this.#string()
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length
        return value
      }
    }
    return this.#number()
  }

  #object(depth: number): Record<string, unknown> {
    const object = Object.create(null) as Record<string, unknown>
    this.#at++
    this.#space()
    if (this.#take('}')) return object
    do {
      this.#space()
      const name = this.#string()
      if (name === '__proto__') throw this.#wrong('the name __proto__')
      if (name in object) throw this.#wrong(`the name ${JSON.stringify(name.slice(0, 64))} twice`)
      this.#space()
      this.#expect(':')
      object[name] = this.#value(depth + 1)
      this.#space()
    } while (this.#take(','))
    this.#expect('}')
    return object
  }

  #array(depth: number): unknown[] {
    const array: unknown[] = []
    this.#at++
    this.#space()
    if (this.#take(']')) return array
    do {
      array.push(this.#value(depth + 1))
      this.#space()
    } while (this.#take(','))
    this.#expect(']')
    return array
  }

  #string(): string {
    STRING.lastIndex = this.#at
    const found = STRING.exec(this.#text)
    if (!found) throw this.#wrong('a string was expected')
    this.#at = STRING.lastIndex
    const value = JSON.parse(found[0]) as string
    if (!value.isWellFormed()) throw this.#wrong('a lone surrogate')
    return value
  }

  #number(): number {
    NUMBER.lastIndex = this.#at
    const found = NUMBER.exec(this.#text)
    if (!found) throw this.#wrong('a value was expected')
    this.#at = NUMBER.lastIndex
    const value = Number(found[0])
    if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER)
      throw this.#wrong('a number outside the safe range')
    return value
  }

  #space(): void {
    SPACE.lastIndex = this.#at
    SPACE.exec(this.#text)
    this.#at = SPACE.lastIndex
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false
    this.#at++
    return true
  }

  #expect(character: string): void {
    if (!this.#take(character)) throw this.#wrong(`${character} was expected`)
  }

  #wrong(what: string): SyntaxError {
    return new SyntaxError(`${what} at character ${this.#at}`)
  }
}

const WORDS: readonly (readonly [string, boolean | null])[] = [
  ['true', true],
  ['false', false],
  ['null', null],
]
const SPACE = /[ \t\n\r]*/y
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// oxlint-disable-next-line no-control-regex -- RFC 8259, section 7: control characters must be escaped
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y

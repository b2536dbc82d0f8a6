/**
 * Whether some of many literals are in a long text of which most can be skipped (Wu and Manber, 1994): where the two characters at the
 * end of a window are in no literal, the window moves on by nearly the length of the shortest one. For ASCII only.
 */

/** Windows that move less are no faster than an automaton. */
export const SHORTEST = 3
/** A few short ones would hold up all others, so they are looked for by themselves. */
const LONG = 8
/** Every pair of ASCII characters has a place of its own, in all its cases: text is looked up as it stands. */
const TABLE = 1 << 14

export class SkipSearch {
  readonly #parts: readonly { readonly windows: Windows; readonly numbers: readonly number[] }[]

  /** Each literal: ASCII, lower case, at least `SHORTEST` characters. */
  constructor(literals: readonly string[]) {
    const numbers = literals.map((_, number) => number)
    const isLong = (number: number) => (literals[number] as string).length >= LONG
    const groups = [numbers.filter(isLong), numbers.filter((number) => !isLong(number))]
    this.#parts = groups
      .filter((group) => group.length > 0)
      .map((group) => ({ windows: new Windows(group.map((number) => literals[number] as string)), numbers: group }))
  }

  /** Calls `hit` for every place of every literal. Capitals count as small letters. `text`: ASCII, byte by byte. */
  scan(text: Uint8Array, hit: (literal: number) => void): void {
    for (const { windows, numbers } of this.#parts) windows.scan(text, (place) => hit(numbers[place] as number))
  }
}

class Windows {
  readonly #window: number
  /** By two characters: how far the window may move. */
  readonly #shift = new Uint8Array(TABLE)
  /** By the last two characters of the window: literals that may lie here, as numbers. */
  readonly #here: (readonly number[] | undefined)[] = Array.from<undefined>({ length: TABLE })
  readonly #literals: readonly string[]
  readonly #lower = new Uint8Array(128)

  constructor(literals: readonly string[]) {
    for (let code = 0; code < 128; code++) this.#lower[code] = code >= 0x41 && code <= 0x5a ? code + 0x20 : code
    this.#literals = literals
    this.#window = Math.min(255, ...literals.map(({ length }) => length))
    this.#shift.fill(this.#window - 1)
    const here = new Map<number, number[]>()
    literals.forEach((literal, number) => {
      for (let end = 1; end < this.#window; end++) {
        for (const place of placesOf(literal[end - 1] as string, literal[end] as string))
          this.#shift[place] = Math.min(this.#shift[place] as number, this.#window - 1 - end)
      }
      const last = placesOf(literal[this.#window - 2] as string, literal[this.#window - 1] as string)
      for (const place of last) here.set(place, [...(here.get(place) ?? []), number])
    })
    for (const [place, numbers] of here) this.#here[place] = numbers
  }

  scan(text: Uint8Array, hit: (literal: number) => void): void {
    const shift = this.#shift
    const window = this.#window
    const { length } = text
    let end = window - 1
    while (end < length) {
      const place = placeOf(text[end - 1] as number, text[end] as number)
      const far = shift[place] as number
      if (far > 0) {
        end += far
        continue
      }
      for (const number of this.#here[place] ?? []) {
        if (this.#liesAt(this.#literals[number] as string, text, end - window + 1)) hit(number)
      }
      end++
    }
  }

  #liesAt(literal: string, text: Uint8Array, start: number): boolean {
    if (start + literal.length > text.length) return false
    for (let index = 0; index < literal.length; index++) {
      if ((this.#lower[(text[start + index] as number) & 127] as number) !== literal.charCodeAt(index)) return false
    }
    return true
  }
}

function placeOf(one: number, other: number): number {
  return ((one & 127) << 7) | (other & 127)
}

/** Of two characters in lower case: where they stand in each of their cases. */
function placesOf(one: string, other: string): ReadonlySet<number> {
  const places = new Set<number>()
  for (const a of [one, one.toUpperCase()])
    for (const b of [other, other.toUpperCase()]) places.add(placeOf(a.charCodeAt(0), b.charCodeAt(0)))
  return places
}

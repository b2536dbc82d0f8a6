/**
 * Words and phrases in prose. A phrase stands in a text where its characters do, without case, and no letter or digit touches its ends:
 * `curl` is in `/usr/bin/curl -s` and not in `libcurl`. The regular expression is RE2's, which is what the engine runs.
 */
const WORD_CHARACTER = String.raw`0-9A-Za-z\x{80}-\x{10FFFF}`
const BEFORE = String.raw`(?:\A|[^${WORD_CHARACTER}])`
const AFTER = String.raw`(?:\z|[^${WORD_CHARACTER}])`
const IS_WORD_CHARACTER = /^[0-9A-Za-z\u{80}-\u{10ffff}]$/u

/** Any text of one line may stand between the pieces. */
export function phrasePattern(pieces: readonly string[]): string {
  const characters = pieces.map((piece) => Array.from(piece))
  const first = characters[0]?.[0]
  const last = characters.at(-1)?.at(-1)
  const body = characters.map((piece) => piece.map(escaped).join('')).join(String.raw`[^\n]*`)
  return `(?i)${isWordCharacter(first) ? BEFORE : ''}${body}${isWordCharacter(last) ? AFTER : ''}`
}

function isWordCharacter(character: string | undefined): boolean {
  return character !== undefined && IS_WORD_CHARACTER.test(character)
}

function escaped(character: string): string {
  if (/^[0-9A-Za-z]$/.test(character)) return character
  const point = character.codePointAt(0) ?? 0
  // A lone surrogate is no character: the store keeps U+FFFD in its place.
  return String.raw`\x{${(point >= 0xd800 && point <= 0xdfff ? 0xff_fd : point).toString(16)}}`
}

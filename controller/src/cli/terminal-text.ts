/**
 * Command lines, paths and names are written by attackers: shown as they are, they could move the cursor, retitle the window, answer
 * a prompt, or read backwards. What a terminal would act on is shown as an escape instead. Sources: ECMA-48 (control functions),
 * Unicode Standard Annex 9 (bidirectional text), CVE-2021-42574.
 */

/** Controls (C0, C1, DEL), formats (bidi, zero width, tags), line and paragraph separators, lone surrogates, private use. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/gu
/** More marks than any script stacks: they would paint over the lines around. */
const STACKED_MARKS = /(\p{M}{4})\p{M}+/gu
const SHORT: Readonly<Record<string, string>> = { '\n': String.raw`\n`, '\r': String.raw`\r`, '\t': String.raw`\t` }

/** One line, safe to print. */
export function safeText(text: string): string {
  return text.replaceAll(STACKED_MARKS, '$1…').replaceAll(UNSAFE, (char) => SHORT[char] ?? escapeOf(char))
}

/** At most `width` characters; the end is cut and marked. */
export function fitText(text: string, width: number): string {
  const safe = Array.from(safeText(text))
  return safe.length <= width ? safe.join('') : `${safe.slice(0, Math.max(0, width - 1)).join('')}…`
}

/** Lines of at most `width` characters, broken at spaces where there are any. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = []
  let rest = Array.from(safeText(text))
  while (rest.length > width) {
    const space = rest.slice(0, width + 1).lastIndexOf(' ')
    const at = space > width / 2 ? space : width
    lines.push(rest.slice(0, at).join('').trimEnd())
    rest = rest.slice(at)
    while (rest[0] === ' ') rest.shift()
  }
  if (rest.length > 0 || lines.length === 0) lines.push(rest.join(''))
  return lines
}

/** JSON that means the same and holds nothing that a terminal would act on. */
export function safeJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, undefined, indent) ?? 'null'
  return text.replaceAll(UNSAFE, (char) => (char === '\n' && indent !== undefined ? char : unicodeEscapes(char)))
}

export function hasUnsafe(text: string): boolean {
  return text.search(UNSAFE) >= 0
}

export function replaceUnsafe(text: string, replacement: (char: string) => string): string {
  return text.replaceAll(UNSAFE, replacement)
}

function escapeOf(char: string): string {
  const point = char.codePointAt(0) ?? 0
  return point < 0x100
    ? String.raw`\x${point.toString(16).padStart(2, '0')}`
    : `${String.raw`\u`}{${point.toString(16)}}`
}

/** JSON has only four hexadecimal digits, so an astral character takes two. */
function unicodeEscapes(char: string): string {
  let out = ''
  for (let at = 0; at < char.length; at++) out += String.raw`\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`
  return out
}

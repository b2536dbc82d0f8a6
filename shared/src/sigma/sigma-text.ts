/**
 * Sigma strings: wildcards and their escapes, and the string modifiers that rewrite a value.
 * Source: rules specification, "String Wildcard" and "Escape Character"; modifiers appendix, "Encoding".
 */
import { Unusable } from './refusal.ts'
import { ANY_ONE, ANY_RUN, isWildcard, type Placeholder, type Token } from './rule.ts'

/** Characters that a Windows command line takes for one another (modifiers appendix, windash). */
export const DASHES = ['-', '/', '\u2013', '\u2014', '\u2015'] as const
export const DASH_PATTERN = /[-/\u2013\u2014\u2015]/g
const MAX_VARIANTS = 3_125

/**
 * Splits a value into plain runs and wildcards. A backslash escapes `*`, `?` and itself, and is plain before anything else:
 * `\\` is one backslash, `\\*` a backslash and a wildcard, `\\\*` a backslash and an asterisk. With `expand`, `%name%` is a
 * placeholder and `\%` a plain percent sign.
 */
export function parseSigmaText(text: string, expand = false): Token[] {
  const tokens: Token[] = []
  let run = ''
  const flush = () => {
    if (run !== '') tokens.push(run)
    run = ''
  }
  for (let index = 0; index < text.length; index++) {
    const char = text[index] as string
    if (char === '\\') {
      const next = text[index + 1]
      if (next === '*' || next === '?' || next === '\\' || (expand && next === '%')) {
        run += next
        index++
      } else run += char
    } else if (char === '*') {
      flush()
      if (!isWildcard(tokens.at(-1), 'run')) tokens.push(ANY_RUN)
    } else if (char === '?') {
      flush()
      tokens.push(ANY_ONE)
    } else if (expand && char === '%') {
      const name = /^%([\w.-]{1,128})%/.exec(text.slice(index, index + 132))?.[1]
      if (name === undefined) run += char
      else {
        flush()
        tokens.push({ placeholder: name })
        index += name.length + 1
      }
    } else run += char
  }
  flush()
  return tokens
}

/** Placeholders of a regular expression or network: no wildcards there, so only `%name%` is looked for. */
export function parsePlaceholders(text: string): Token[] {
  const tokens: Token[] = []
  let last = 0
  for (const found of text.matchAll(/(\\*)%([\w.-]{1,128})%/g)) {
    const [whole, slashes = '', name = ''] = found
    if (slashes.length % 2 === 1) continue
    tokens.push(text.slice(last, found.index + slashes.length), { placeholder: name })
    last = found.index + whole.length
  }
  tokens.push(text.slice(last))
  return tokens.filter((token) => token !== '')
}

export function isPlaceholder(token: Token): token is Placeholder {
  return typeof token === 'object' && 'placeholder' in token
}

export function hasPlaceholder(tokens: readonly Token[]): boolean {
  return tokens.some(isPlaceholder)
}

/** The text of a value without wildcards, or `null` when it has any. */
export function plainText(tokens: readonly Token[]): string | null {
  let text = ''
  for (const token of tokens) {
    if (typeof token !== 'string') return null
    text += token
  }
  return text
}

/** Adds `*` before and after, where there is none yet. */
export function widen(tokens: readonly Token[], before: boolean, after: boolean): Token[] {
  const widened = [...tokens]
  if (before && !isWildcard(widened[0], 'run')) widened.unshift(ANY_RUN)
  if (after && !isWildcard(widened.at(-1), 'run')) widened.push(ANY_RUN)
  return widened
}

/** Puts neighbouring plain runs together and drops doubled `*`, after placeholders were replaced. */
export function joinTokens(tokens: readonly Token[]): Token[] {
  const joined: Token[] = []
  for (const token of tokens) {
    const last = joined.at(-1)
    if (typeof token === 'string' && typeof last === 'string') joined[joined.length - 1] = last + token
    else if (isWildcard(token, 'run') && isWildcard(last, 'run')) continue
    else joined.push(token)
  }
  return joined
}

/** All combinations of a value with each dash character replaced by each of the five: needed only before an encoding. */
export function dashVariants(tokens: readonly Token[], line: number): Token[][] {
  let variants: Token[][] = [[]]
  for (const token of tokens) {
    const choices = typeof token === 'string' ? dashVariantsOf(token, line) : [token]
    if (variants.length * choices.length > MAX_VARIANTS) {
      throw new Unusable('too_many_variants', 'windash before an encoding: too many dashes in one value', line)
    }
    variants = variants.flatMap((variant) => choices.map((choice) => [...variant, choice]))
  }
  return variants
}

function dashVariantsOf(text: string, line: number): string[] {
  const parts = text.split(DASH_PATTERN)
  if (DASHES.length ** (parts.length - 1) > MAX_VARIANTS) {
    throw new Unusable('too_many_variants', 'windash before an encoding: too many dashes in one value', line)
  }
  let variants = [parts[0] ?? '']
  for (const part of parts.slice(1)) variants = variants.flatMap((head) => DASHES.map((dash) => head + dash + part))
  return variants
}

export type Utf16 = 'utf16le' | 'utf16be' | 'utf16'

/** The bytes of a value in UTF-16, each byte as one character, so that a following base64 encodes exactly them. */
export function toUtf16(text: string, form: Utf16): string {
  const little = Buffer.from(text, 'utf16le')
  if (form === 'utf16le') return little.toString('latin1')
  if (form === 'utf16be') return Buffer.from(little).swap16().toString('latin1')
  return `\u00ff\u00fe${little.toString('latin1')}`
}

/** Standard Base64. `bytes`: the text already stands for bytes (after a UTF-16 modifier), otherwise it is encoded as UTF-8. */
export function toBase64(text: string, bytes: boolean): string {
  return Buffer.from(text, bytes ? 'latin1' : 'utf8').toString('base64')
}

/**
 * The three forms that a value takes inside a longer Base64 text, by its position modulo 3. The characters that also depend on
 * what stands before or after are cut off: 0, 2 or 3 at the start; at the end what does not fill 24 bits.
 */
export function toBase64Offsets(text: string, bytes: boolean): string[] {
  const value = Buffer.from(text, bytes ? 'latin1' : 'utf8')
  const startCut = [0, 2, 3]
  const endCut = [0, 3, 2]
  return [0, 1, 2].map((offset) => {
    const encoded = Buffer.concat([Buffer.alloc(offset), value]).toString('base64')
    return encoded.slice(startCut[offset], encoded.length - (endCut[(value.length + offset) % 3] as number))
  })
}

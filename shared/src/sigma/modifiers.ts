/**
 * Value modifiers: which exist, which go together, and what each makes of a value, applied in the order written.
 * Source: modifiers appendix 2.1.0. What it leaves open is settled as follows, and said in README.md:
 * compare modifiers also take text (ordinal comparison, so that ISO dates and versions can be compared);
 * windash takes every dash of the value for every other.
 */
import ipaddr from 'ipaddr.js'
import { checkRegex } from './regex.ts'
import { Unusable } from './refusal.ts'
import type { Anchor, Comparison, DetectionItem, RegexFlags, Test, TimePart, Token } from './rule.ts'
import {
  dashVariants,
  hasPlaceholder,
  parsePlaceholders,
  parseSigmaText,
  plainText,
  toBase64,
  toBase64Offsets,
  toUtf16,
  type Utf16,
  widen,
} from './sigma-text.ts'
import type { TreeScalar } from './yaml-tree.ts'

const ANCHORS = ['contains', 'startswith', 'endswith'] as const
const COMPARISONS = ['lt', 'lte', 'gt', 'gte'] as const
const TIME_PARTS = ['minute', 'hour', 'day', 'week', 'month', 'year'] as const
const WIDE = ['utf16le', 'utf16be', 'utf16', 'wide'] as const
const BASE64 = ['base64', 'base64offset'] as const
const REGEX_FLAGS = ['i', 'm', 's'] as const
const SINGLE = ['all', 'cased', 'neq', 'exists', 're', 'cidr', 'windash', 'expand', 'fieldref'] as const
const MODIFIERS = [...ANCHORS, ...COMPARISONS, ...TIME_PARTS, ...WIDE, ...BASE64, ...REGEX_FLAGS, ...SINGLE] as const
export type Modifier = (typeof MODIFIERS)[number]

/** At most one of each group. */
const EXCLUSIVE: readonly (readonly Modifier[])[] = [ANCHORS, COMPARISONS, TIME_PARTS, WIDE, BASE64]

/** What makes a value something else than text, and what may stand beside it. Everything left out of these lists is text. */
const COMPANIONS = {
  re: [...REGEX_FLAGS, 'all', 'neq', 'expand'],
  cidr: ['all', 'neq', 'expand'],
  exists: [],
  fieldref: [...ANCHORS, 'cased', 'neq', 'all'],
} satisfies Partial<Record<Modifier, readonly Modifier[]>>
const COMPARE_COMPANIONS: ReadonlySet<Modifier> = new Set<Modifier>([...COMPARISONS, ...TIME_PARTS, 'all', 'neq'])

export interface ModifiedField {
  readonly field: string | null
  readonly modifiers: readonly Modifier[]
}

/** Reads `Field|modifier|modifier`. An empty field is a keyword search. Throws `Unusable`. */
export function parseFieldKey(key: string, line: number): ModifiedField {
  const [name = '', ...rest] = key.split('|')
  const modifiers = rest.map((word): Modifier => {
    if (isModifier(word)) return word
    throw new Unusable('modifier_unknown', `${JSON.stringify(word)} is not a modifier of Sigma 2.1`, line)
  })
  checkCombination(modifiers, name === '', line)
  return { field: name === '' ? null : name, modifiers }
}

function isModifier(word: string): word is Modifier {
  return (MODIFIERS as readonly string[]).includes(word)
}

function checkCombination(modifiers: readonly Modifier[], keyword: boolean, line: number): void {
  const conflict = (why: string): never => {
    throw new Unusable('modifiers_conflict', why, line)
  }
  const used = new Set(modifiers)
  for (const group of EXCLUSIVE) {
    const both = group.filter((modifier) => used.has(modifier))
    if (both.length > 1) conflict(`${both.join(' and ')} exclude each other`)
  }
  for (const [kind, companions] of Object.entries(COMPANIONS) as [Modifier, readonly Modifier[]][]) {
    if (!used.has(kind)) continue
    const odd = modifiers.find((modifier) => modifier !== kind && !companions.includes(modifier))
    if (odd !== undefined) conflict(`${odd} cannot be combined with ${kind}`)
  }
  const compared = modifiers.find(
    (modifier) => COMPARE_COMPANIONS.has(modifier) && modifier !== 'all' && modifier !== 'neq',
  )
  if (compared !== undefined) {
    const odd = modifiers.find((modifier) => !COMPARE_COMPANIONS.has(modifier))
    if (odd !== undefined) conflict(`${odd} cannot be combined with ${compared}`)
  }
  const flag = modifiers.findIndex((modifier) => (REGEX_FLAGS as readonly string[]).includes(modifier))
  if (flag >= 0 && !modifiers.slice(0, flag).includes('re')) conflict(`${modifiers[flag]} is only defined after re`)
  if (keyword) {
    const odd = modifiers.find((modifier) =>
      ['exists', 'fieldref', 'cidr', ...COMPARISONS, ...TIME_PARTS].includes(modifier),
    )
    if (odd !== undefined) conflict(`${odd} needs a field`)
  }
}

/** Turns the values under one key into the tests of one detection item. Throws `Unusable`. */
export function buildItem(
  { field, modifiers }: ModifiedField,
  values: readonly TreeScalar[],
  line: number,
): DetectionItem {
  if (values.length === 0) throw new Unusable('value_invalid', 'a list of values must not be empty', line)
  const all = modifiers.includes('all')
  // "Single item values are not allowed to have an all modifier" (modifiers appendix).
  if (all && values.length === 1) throw new Unusable('modifiers_conflict', 'all needs more than one value', line)
  // "null cannot be part of a list of field values" (rules specification, special field values).
  if (values.length > 1 && values.some((value) => value.value === null)) {
    throw new Unusable('value_invalid', 'null cannot be part of a list: give it a selection of its own', line)
  }
  const tests = values.map((value) => buildTest(field, modifiers, value))
  return { kind: 'item', field, tests, join: all ? 'all' : 'any', negated: modifiers.includes('neq'), line }
}

function buildTest(field: string | null, modifiers: readonly Modifier[], scalar: TreeScalar): Test {
  if (modifiers.includes('re')) return regexTest(modifiers, scalar)
  if (modifiers.includes('cidr')) return cidrTest(modifiers, scalar)
  if (modifiers.includes('exists')) {
    if (typeof scalar.value !== 'boolean')
      throw new Unusable('value_invalid', 'exists takes true or false', scalar.line)
    return { kind: 'exists', expected: scalar.value }
  }
  if (modifiers.includes('fieldref')) return fieldTest(modifiers, scalar)
  const part = modifiers.find((modifier): modifier is TimePart => (TIME_PARTS as readonly string[]).includes(modifier))
  const operator = modifiers.find((modifier): modifier is Comparison =>
    (COMPARISONS as readonly string[]).includes(modifier),
  )
  if (part !== undefined) return { kind: 'time', part, operator: operator ?? 'eq', value: numberOf(scalar, part) }
  if (operator !== undefined) return compareTest(operator, scalar)
  return valueTest(field, modifiers, scalar)
}

function regexTest(modifiers: readonly Modifier[], scalar: TreeScalar): Test {
  if (scalar.value === null || scalar.value === '')
    throw new Unusable('value_invalid', 're needs a pattern', scalar.line)
  const pattern = typeof scalar.value === 'string' ? scalar.value : scalar.written
  const flags: RegexFlags = { i: modifiers.includes('i'), m: modifiers.includes('m'), s: modifiers.includes('s') }
  const tokens: Token[] = modifiers.includes('expand') ? parsePlaceholders(pattern) : [pattern]
  if (!hasPlaceholder(tokens)) {
    const checked = checkRegex(pattern, flags)
    if (!checked.ok) throw new Unusable(checked.code, checked.why, scalar.line)
  }
  return { kind: 'regex', tokens, flags }
}

function cidrTest(modifiers: readonly Modifier[], scalar: TreeScalar): Test {
  if (typeof scalar.value !== 'string') throw new Unusable('value_invalid', 'cidr needs a network', scalar.line)
  const tokens: Token[] = modifiers.includes('expand') ? parsePlaceholders(scalar.value) : [scalar.value]
  if (!hasPlaceholder(tokens) && !isNetwork(scalar.value)) {
    throw new Unusable('value_invalid', `${JSON.stringify(scalar.value)} is not a network`, scalar.line)
  }
  return { kind: 'cidr', tokens }
}

export function isNetwork(text: string): boolean {
  return ipaddr.isValidCIDR(text) || ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)
}

function fieldTest(modifiers: readonly Modifier[], scalar: TreeScalar): Test {
  const name = typeof scalar.value === 'string' ? plainText(parseSigmaText(scalar.value)) : null
  if (name === null || name === '')
    throw new Unusable('value_invalid', 'fieldref needs the name of a field', scalar.line)
  const anchor = modifiers.find((modifier): modifier is Exclude<Anchor, 'equals'> =>
    (ANCHORS as readonly string[]).includes(modifier),
  )
  return { kind: 'field', field: name, anchor: anchor ?? 'equals', cased: modifiers.includes('cased') }
}

function numberOf(scalar: TreeScalar, modifier: string): number {
  const value =
    typeof scalar.value === 'number'
      ? scalar.value
      : typeof scalar.value === 'string'
        ? Number(scalar.value.trim() || Number.NaN)
        : Number.NaN
  if (!Number.isFinite(value)) throw new Unusable('value_invalid', `${modifier} takes a number`, scalar.line)
  return value
}

function compareTest(operator: Comparison, scalar: TreeScalar): Test {
  if (typeof scalar.value === 'string' && scalar.value !== '' && !Number.isFinite(Number(scalar.value))) {
    return { kind: 'compare', operator, value: scalar.value }
  }
  return { kind: 'compare', operator, value: numberOf(scalar, operator) }
}

/** A value that stays a value: null, number, boolean, or text with its modifiers in the order written. */
function valueTest(field: string | null, modifiers: readonly Modifier[], scalar: TreeScalar): Test {
  const rewriting = modifiers.filter((modifier) => modifier !== 'all' && modifier !== 'neq')
  if (scalar.value === null) {
    if (rewriting.length > 0 || field === null) {
      throw new Unusable(
        'value_invalid',
        field === null ? 'a keyword cannot be null' : `null takes no ${rewriting.join(', ')}`,
        scalar.line,
      )
    }
    return { kind: 'null' }
  }
  if (field !== null && rewriting.every((modifier) => modifier === 'cased')) {
    if (typeof scalar.value === 'number') return { kind: 'number', value: scalar.value, written: scalar.written }
    if (typeof scalar.value === 'boolean') return { kind: 'boolean', value: scalar.value }
  }
  return textTest(field, rewriting, scalar)
}

interface TextState {
  variants: Token[][]
  bytes: boolean
  cased: boolean
  dashes: boolean
}

function textTest(field: string | null, modifiers: readonly Modifier[], scalar: TreeScalar): Test {
  // Numbers and booleans under text modifiers are taken as they were written.
  const text = typeof scalar.value === 'string' ? scalar.value : scalar.written
  const state: TextState = {
    variants: [parseSigmaText(text, modifiers.includes('expand'))],
    bytes: false,
    cased: false,
    dashes: false,
  }
  modifiers.forEach((modifier, index) => rewrite(state, modifier, modifiers.slice(index + 1), scalar.line))
  // Keywords are looked for anywhere in the log message (rules specification, "Lists").
  if (field === null && !modifiers.some((modifier) => (ANCHORS as readonly string[]).includes(modifier))) {
    state.variants = state.variants.map((tokens) => widen(tokens, true, true))
  }
  const tests = state.variants.map(
    (tokens): Test => ({ kind: 'text', tokens, cased: state.cased, dashes: state.dashes }),
  )
  return tests.length === 1 ? (tests[0] as Test) : { kind: 'one-of', tests }
}

function rewrite(state: TextState, modifier: Modifier, later: readonly Modifier[], line: number): void {
  const encodesLater = later.some((next) => ([...WIDE, ...BASE64] as readonly Modifier[]).includes(next))
  switch (modifier) {
    case 'contains':
      state.variants = state.variants.map((tokens) => widen(tokens, true, true))
      return
    case 'startswith':
      state.variants = state.variants.map((tokens) => widen(tokens, false, true))
      return
    case 'endswith':
      state.variants = state.variants.map((tokens) => widen(tokens, true, false))
      return
    case 'cased':
      state.cased = true
      return
    case 'windash':
      if (encodesLater) state.variants = state.variants.flatMap((tokens) => dashVariants(tokens, line))
      else state.dashes = true
      return
    case 'wide':
    case 'utf16le':
    case 'utf16be':
    case 'utf16': {
      const form: Utf16 = modifier === 'wide' ? 'utf16le' : modifier
      state.variants = state.variants.map((tokens) =>
        tokens.map((token) => (typeof token === 'string' ? toUtf16(token, form) : token)),
      )
      if (state.variants.some(hasPlaceholder))
        throw new Unusable('modifiers_conflict', `${modifier} cannot encode a placeholder`, line)
      state.bytes = true
      return
    }
    case 'base64':
    case 'base64offset': {
      const encode =
        modifier === 'base64'
          ? (text: string) => [toBase64(text, state.bytes)]
          : (text: string) => toBase64Offsets(text, state.bytes)
      state.variants = state.variants.flatMap((tokens) => {
        const text = plainText(tokens)
        if (text === null || text === '')
          throw new Unusable('value_invalid', `${modifier} needs text without wildcards or placeholders`, line)
        return encode(text)
          .filter((encoded) => encoded !== '')
          .map((encoded): Token[] => [encoded])
      })
      state.bytes = false
      if (state.variants.length === 0)
        throw new Unusable('value_invalid', `${modifier}: the value is too short to be recognised`, line)
      return
    }
    default:
      // all, neq and expand were read before; the other kinds never come here.
      return
  }
}

/** What a loader gathers: entries that became indicators, and those that did not, by reason with examples. */
import { observableOf, type ObservableType } from '@firebreak/shared/indicators/observable.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { type FeedContent, type KeptPattern, type NewIndicator, type Tlp, TLPS } from '../index.ts'

export type FeedRefusal = 'empty_feed' | 'malformed' | 'truncated' | 'too_large' | 'not_this_format'

export const FEED_LIMITS = { entries: 10_000_000, examples: 5, text: 2_000, patterns: 100_000, depth: 64 } as const

export type Details = Omit<NewIndicator, 'type' | 'value'>

export class Entries {
  readonly #indicators: NewIndicator[] = []
  readonly #patterns: KeptPattern[] = []
  readonly #revoked: string[] = []
  readonly #refused = new Map<string, { entries: number; examples: string[] }>()
  #all = 0

  get isTooLarge(): boolean {
    return this.#all > FEED_LIMITS.entries || this.#patterns.length > FEED_LIMITS.patterns
  }

  add(written: string, type: ObservableType | undefined, details: Details): void {
    this.#all++
    const found = observableOf(written, type)
    if (found.ok) this.#indicators.push({ ...found.value, ...details })
    else this.#note(found.code, found.why)
  }

  refuse(code: string, example: string): void {
    this.#all++
    this.#note(code, example)
  }

  keep(pattern: KeptPattern): void {
    this.#all++
    this.#patterns.push(pattern)
  }

  revoke(reference: string): void {
    this.#all++
    this.#revoked.push(reference)
  }

  /** A feed of which nothing could be used is none: an error page, a login, a file of something else. */
  content(): Result<FeedContent, FeedRefusal> {
    if (this.isTooLarge) return refuse('too_large', `more than ${FEED_LIMITS.entries} entries`)
    const refused = [...this.#refused].map(([code, { entries, examples }]) => ({ code, entries, examples }))
    if (this.#all === 0) return refuse('empty_feed', 'there is nothing in it')
    const bad = refused.filter(({ code }) => code === 'unknown_form').reduce((sum, { entries }) => sum + entries, 0)
    if (bad > 0 && bad * 2 >= this.#all)
      return refuse(
        'not_this_format',
        `${bad} of ${this.#all} entries are no indicator, such as ${refused[0]?.examples[0] ?? ''}`,
      )
    return ok({ indicators: this.#indicators, patterns: this.#patterns, refused, revoked: this.#revoked })
  }

  #note(code: string, example: string): void {
    const known = this.#refused.get(code) ?? { entries: 0, examples: [] }
    known.entries++
    if (known.examples.length < FEED_LIMITS.examples) known.examples.push(example.slice(0, 200))
    this.#refused.set(code, known)
  }
}

export function tlpOf(text: string): Tlp | undefined {
  const name = text
    .trim()
    .toLowerCase()
    .replace(/^tlp:/, '')
    .replace(/^white$/, 'clear')
  return TLPS.find((tlp) => tlp === name)
}

/** ISO 8601 UTC with ms, as times are compared as text; `undefined`: it is none, or lies outside of 1970 to 2262. */
export function timeText(text: string): string | undefined {
  const at = /^\d{4}-\d\d-\d\d/.test(text)
    ? Date.parse(/\d\dT.*(?:Z|[+-]\d\d:?\d\d)$|^\d{4}-\d\d-\d\d$/.test(text) ? text : `${text}Z`)
    : Number.NaN
  return at >= 0 && at < Date.UTC(2262, 0, 1) ? new Date(at).toISOString() : undefined
}

export function confidenceOf(value: unknown): number | undefined {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof number === 'number' && number >= 0 && number <= 100 ? Math.round(number) : undefined
}

export function shortText(value: unknown): string | undefined {
  return typeof value === 'string' && value.trim() !== '' ? value.trim().slice(0, FEED_LIMITS.text) : undefined
}

export type Json = Readonly<Record<string, unknown>>
export function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON of a feed. What ends in the middle is told apart from what was never JSON; what is nested too deep is refused before it is read. */
export function parseJson(text: string): Result<unknown, FeedRefusal> {
  let depth = 0
  let isInText = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (isInText) {
      if (code === 0x5c) at++
      else if (code === 0x22) isInText = false
    } else if (code === 0x22) isInText = true
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > FEED_LIMITS.depth) return refuse('malformed', `it is nested deeper than ${FEED_LIMITS.depth}`)
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  if (text.trim() === '') return refuse('empty_feed', 'there is nothing in it')
  try {
    return ok(JSON.parse(text) as unknown)
  } catch (thrown) {
    const begins = /^\s*[[{]/.test(text)
    return begins && (depth > 0 || isInText)
      ? refuse('truncated', 'it ends in the middle')
      : refuse('malformed', `it is not JSON: ${thrown instanceof Error ? thrown.message.slice(0, 200) : ''}`)
  }
}

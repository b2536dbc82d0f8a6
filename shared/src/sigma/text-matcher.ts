/** Sigma text as a function of a string. No regular expressions: wildcards are walked from left to right, never back. */
import { isWildcard, type Token, type Wildcard } from './rule.ts'

export type TextMatcher = (subject: string) => boolean

/** Tokens must be joined and hold no placeholder; case and dashes are the caller's business, on both sides. */
export function textMatcher(tokens: readonly Token[]): TextMatcher {
  const before = isWildcard(tokens[0], 'run')
  const after = tokens.length > 1 ? isWildcard(tokens.at(-1), 'run') : before
  const inner = tokens.slice(before ? 1 : 0, after && tokens.length > 1 ? -1 : undefined)
  if (inner.length === 0) return before ? () => true : (subject) => subject === ''
  const [only] = inner
  if (inner.length === 1 && typeof only === 'string') {
    if (before && after) return (subject) => subject.includes(only)
    if (before) return (subject) => subject.endsWith(only)
    if (after) return (subject) => subject.startsWith(only)
    return (subject) => subject === only
  }
  return globMatcher(inner, before, after)
}

/** What stands between two `*`: plain runs and single-character wildcards. */
type Segment = readonly (string | Wildcard)[]

function globMatcher(tokens: readonly Token[], before: boolean, after: boolean): TextMatcher {
  const segments: Segment[] = []
  let current: (string | Wildcard)[] = []
  for (const token of tokens) {
    if (isWildcard(token, 'run')) {
      segments.push(current)
      current = []
    } else if (typeof token === 'string' || isWildcard(token, 'one')) current.push(token)
  }
  segments.push(current)
  const first = before ? null : (segments.shift() as Segment)
  // With a single segment both ends are fixed to it, unless it was taken as the first.
  const last = after ? null : (segments.pop() ?? null)
  return (subject) => {
    let at = 0
    if (first !== null) {
      at = matchAt(first, subject, 0)
      if (at < 0) return false
      if (segments.length === 0 && last === null) return after || at === subject.length
    }
    for (const segment of segments) {
      at = find(segment, subject, at)
      if (at < 0) return false
    }
    return last === null || matchesEnd(last, subject, at)
  }
}

/** Where the segment ends when it begins at `at`; -1 when it does not. */
function matchAt(segment: Segment, subject: string, at: number): number {
  let index = at
  for (const part of segment) {
    if (typeof part === 'string') {
      if (!subject.startsWith(part, index)) return -1
      index += part.length
    } else {
      if (index >= subject.length) return -1
      index += widthAt(subject, index)
    }
  }
  return index
}

/** `?` is one character, also one outside the basic plane, which takes two units. */
function widthAt(subject: string, index: number): number {
  const code = subject.codePointAt(index)
  return code !== undefined && code > 0xffff ? 2 : 1
}

/** The first place from `from` on where the segment fits; returns its end. The leftmost one leaves most room for the rest. */
function find(segment: Segment, subject: string, from: number): number {
  const [head] = segment
  for (let at = from; at <= subject.length; at++) {
    if (typeof head === 'string') {
      at = subject.indexOf(head, at)
      if (at < 0) return -1
    }
    const end = matchAt(segment, subject, at)
    if (end >= 0) return end
  }
  return -1
}

/** Does the segment fit the very end, beginning at `from` or later? */
function matchesEnd(segment: Segment, subject: string, from: number): boolean {
  const units = segment.reduce((length, part) => length + (typeof part === 'string' ? part.length : 1), 0)
  const singles = segment.reduce((count, part) => count + (typeof part === 'string' ? 0 : 1), 0)
  for (let at = subject.length - units; at >= from && at >= subject.length - units - singles; at--) {
    if (matchAt(segment, subject, at) === subject.length) return true
  }
  return false
}

/**
 * Regular expressions of rules, in time linear in the subject. RE2 (re2js) runs what it can, V8's own engine only patterns
 * whose number of backtracking paths is proved small; what neither can (lookaround, back-references) is refused at load.
 */
import { RE2JS } from 're2js'
import { reasonOf } from '../result.ts'
import type { Result } from '../result.ts'
import { countPaths, longestMatch, parseRegex, printRegex, requiredLiterals, trimSearch } from './regex-syntax.ts'
import type { RegexFlags } from './rule.ts'

/** Pattern and subject, in UTF-16 units. A longer subject is searched up to the limit. */
export const REGEX_LIMITS = { pattern: 4_096, subject: 65_536, paths: 64, attempt: 256 } as const

export interface CompiledRegex {
  /** Is it found anywhere in the subject? */
  readonly test: (subject: string) => boolean
  /** Every subject that matches contains one of these, in lower case; `null` when nothing is known. */
  readonly literals: readonly string[] | null
  readonly engine: 're2' | 'v8' | 'none'
}

export type RegexRefusal = 'regex_unsupported' | 'regex_too_long'

export function checkRegex(pattern: string, flags: RegexFlags): Result<void, RegexRefusal> {
  const compiled = compileRegex(pattern, flags)
  return compiled.ok ? { ok: true, value: undefined } : compiled
}

export function compileRegex(pattern: string, flags: RegexFlags): Result<CompiledRegex, RegexRefusal> {
  if (pattern.length > REGEX_LIMITS.pattern) {
    return { ok: false, code: 'regex_too_long', why: `the pattern is longer than ${REGEX_LIMITS.pattern} characters` }
  }
  const parsed = parseRegex(pattern, flags)
  if (parsed === null) return compileRe2(pattern, flags, null)
  const tree = trimSearch(parsed.tree)
  const literals = requiredLiterals(tree)
  const source = printRegex(tree, parsed.flags)
  if (source === '') return { ok: true, value: { test: () => true, literals: null, engine: 'none' } }
  if (countPaths(tree) <= REGEX_LIMITS.paths && longestMatch(tree) <= REGEX_LIMITS.attempt) {
    const expression = new RegExp(source, `u${parsed.flags.i ? 'i' : ''}${parsed.flags.m ? 'm' : ''}`)
    return { ok: true, value: { test: (subject) => expression.test(limited(subject)), literals, engine: 'v8' } }
  }
  return compileRe2(source, parsed.flags, literals)
}

function compileRe2(
  source: string,
  flags: RegexFlags,
  literals: readonly string[] | null,
): Result<CompiledRegex, RegexRefusal> {
  const bits = (flags.i ? RE2JS.CASE_INSENSITIVE : 0) | (flags.m ? RE2JS.MULTILINE : 0) | (flags.s ? RE2JS.DOTALL : 0)
  try {
    const expression = RE2JS.compile(source, bits)
    return { ok: true, value: { test: (subject) => expression.test(limited(subject)), literals, engine: 're2' } }
  } catch (thrown) {
    return {
      ok: false,
      code: 'regex_unsupported',
      why: `no regular expression that runs in linear time: ${reasonOf(thrown)}`,
    }
  }
}

function limited(subject: string): string {
  return subject.length > REGEX_LIMITS.subject ? subject.slice(0, REGEX_LIMITS.subject) : subject
}

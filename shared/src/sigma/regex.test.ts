import { describe, expect, it } from 'vitest'
import { compileRegex, REGEX_LIMITS } from './regex.ts'

const plain = { i: false, m: false, s: false }

function compiled(pattern: string, flags = plain) {
  const result = compileRegex(pattern, flags)
  if (!result.ok) throw new Error(result.why)
  return result.value
}

describe('regular expressions of rules', () => {
  it.each([
    '(a+)+$',
    '(a|a)*b',
    '(a*)*b',
    '(.*a){20}',
    '^(([a-z])+.)+[A-Z]([a-z])+$',
    '(x+x+)+y',
    'a?'.repeat(30) + 'a'.repeat(30),
  ])('%s takes no time over a text made for it', (pattern) => {
    const { test } = compiled(pattern)
    const started = process.threadCpuUsage()
    test('a'.repeat(30_000))
    test('x'.repeat(30_000))
    expect(process.threadCpuUsage(started).user / 1_000).toBeLessThan(3_000)
  })

  it.each([
    [String.raw`cmd\.exe`, 'v8'],
    ['[a-z]{2,8}x', 'v8'],
    ['foo.*', 'v8'],
    ['.*foo', 'v8'],
    ['foo.*bar', 're2'],
    ['(a+)+b', 're2'],
    ['(a?){40}b', 're2'],
    ['.*', 'none'],
  ])('%s runs on %s', (pattern, engine) => {
    expect(compiled(pattern).engine).toBe(engine)
  })

  it.each([
    ['(?<!a)b(?=c)', 'regex_unsupported'],
    [String.raw`(a)\1`, 'regex_unsupported'],
    ['(unclosed', 'regex_unsupported'],
    ['x'.repeat(REGEX_LIMITS.pattern + 1), 'regex_too_long'],
  ])('%s is refused', (pattern, code) => {
    expect(compileRegex(pattern, plain)).toMatchObject({ ok: false, code })
  })

  it('reads only so much of a subject', () => {
    const { test } = compiled('needle')
    expect(test(`${'x'.repeat(REGEX_LIMITS.subject)}needle`)).toBe(false)
    expect(test(`needle${'x'.repeat(REGEX_LIMITS.subject)}`)).toBe(true)
  })

  it.each([
    [String.raw`\s`, '\u00a0', false],
    [String.raw`\d`, '٣', false],
    ['^.$', '\u2028', true],
    ['^.$', '😀', true],
    ['[^a]', '\n', true],
    [String.raw`[\w-]+`, '-', true],
    ['[]a]', ']', true],
    ['a{,3}', 'a{,3}', true],
    [String.raw`\x41\x{1F600}`, 'A😀', true],
    ['(?i)abc', 'ABC', true],
    ['a|bc|', '', true],
    [String.raw`\bfoo\b`, 'a foo b', true],
    [String.raw`\\\\`, String.raw`\\`, true],
  ])('%s on %j means what PCRE means: %s', (pattern, subject, expected) => {
    expect(compiled(pattern).test(subject)).toBe(expected)
    // RE2 must say the same as V8 on everything that is given to either.
    expect(
      compiled(`(?:${pattern.replace('(?i)', '')})(?:q*q*)*`, { ...plain, i: pattern.startsWith('(?i)') }).test(
        subject,
      ),
    ).toBe(expected)
  })

  it.each([
    ['foo(bar|bazz)qux', ['foo']],
    ['(alpha|beta)', ['alpha', 'beta']],
    ['[0-9]+', null],
    ['x?', null],
    [String.raw`\\Temp\\[a-z]`, [String.raw`\temp` + '\\']],
    ['(powershell|pwsh).*-enc', ['powershell', 'pwsh']],
  ])('%s cannot match without one of %j', (pattern, literals) => {
    expect(compiled(pattern).literals).toEqual(literals)
  })
})

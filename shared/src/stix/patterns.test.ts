import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { matchPattern } from './match-pattern.ts'
import { observationsOf } from './observations.ts'
import { parsePattern } from './parse-pattern.ts'
import { valuesOfPattern } from './pattern-values.ts'

const CORPUS = join(resolve(import.meta.dirname, '../../../../shared/data'), 'stix-patterns/cases.jsonl.gz')

interface Case {
  readonly case: string
  readonly stix_version: '2.0' | '2.1'
  readonly pattern: string
  readonly observations: readonly unknown[]
  readonly expected: 'match' | 'no match' | 'error'
}

function outcome({ pattern, stix_version: version, observations }: Case): string {
  const parsed = parsePattern(pattern, { version })
  if (!parsed.ok) return 'error'
  const matched = matchPattern(parsed.value, observationsOf(observations) ?? [])
  return matched.ok ? (matched.value ? 'match' : 'no match') : 'error'
}

describe('STIX patterns', () => {
  it.skipIf(!existsSync(CORPUS))('agree with each of the 407 published cases', () => {
    const cases = gunzipSync(readFileSync(CORPUS))
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Case)
    const wrong = cases.filter((one) => outcome(one) !== one.expected)
    expect(wrong.map((one) => `${one.case}: ${one.pattern} is ${one.expected}, not ${outcome(one)}`)).toEqual([])
    expect(cases).toHaveLength(407)
  })

  it.each([
    ["[ipv4-addr:value = '203.0.113[.]9']", 'ipv4 203.0.113.9'],
    ["[ipv4-addr:value ISSUBSET '198.51.100.0/24']", 'cidr 198.51.100.0/24'],
    [
      "[domain-name:value = 'evil.example' OR url:value = 'http://evil.example/x']",
      'domain evil.example, url http://evil.example/x',
    ],
    ["[domain-name:value IN ('a.example', 'b.example')]", 'domain a.example, domain b.example'],
    ["[a-b:c = 1] OR [ipv4-addr:value = '1.2.3.4']", 'unsupported_object'],
    [
      `[file:hashes.'SHA-256' = '${'a'.repeat(64)}' AND file:hashes.MD5 = '${'b'.repeat(32)}']`,
      `sha256 ${'a'.repeat(64)}`,
    ],
    ["[network-traffic:dst_ref.value = '1.2.3.4' AND network-traffic:dst_port = 443]", 'several_properties'],
    ["[ipv4-addr:value = '1.2.3.4'] FOLLOWEDBY [ipv4-addr:value = '1.2.3.5']", 'several_observations'],
    ["[ipv4-addr:value = '1.2.3.4'] REPEATS 5 TIMES WITHIN 60 SECONDS", 'several_observations'],
    ["[ipv4-addr:value = '1.2.3.4'] WITHIN 60 SECONDS", 'ipv4 1.2.3.4'],
    ["[domain-name:value LIKE '%.evil.example']", 'unsupported_operator'],
    ["[ipv4-addr:value != '1.2.3.4']", 'unsupported_operator'],
    ["[ipv4-addr:value NOT = '1.2.3.4']", 'unsupported_operator'],
    ["[file:name = 'x.exe']", 'unsupported_object'],
    ["[ipv4-addr:value = 'nothing']", 'no_value'],
  ])('%s comes down to %s', (text, wanted) => {
    const parsed = parsePattern(text)
    const values = parsed.ok ? valuesOfPattern(parsed.value) : parsed
    expect(values.ok ? values.value.map(({ type, value }) => `${type} ${value}`).join(', ') : values.code).toBe(wanted)
  })

  it.each([
    ['(', 'character 2: "[" is needed, not the end'],
    ["[ipv4-addr:value = '1.2.3.4", 'character 20: the quote is never closed'],
    ["[a:b = 'x'] [c:d = 1]", 'character 13: the end is needed, not "["'],
    ['[a:b = 1 AND c:d = 2]', 'character 22: AND joins properties of one type of object'],
    ['['.repeat(10), 'character 2: the type of an object is needed, not "["'],
  ])('%s is refused with its place', (text, why) => {
    expect(parsePattern(text)).toMatchObject({ ok: false, code: 'pattern_syntax', why })
  })

  it('are bounded in length, depth and repetitions', () => {
    for (const text of [
      `[a:b = '${'x'.repeat(70_000)}']`,
      `${'('.repeat(5_000)}[a:b = 1]${')'.repeat(5_000)}`,
      `[${'('.repeat(5_000)}a:b = 1${')'.repeat(5_000)}]`,
      '[a:b = 1] REPEATS 1000000 TIMES',
      `[a:b IN (${'1,'.repeat(5_000)}1)]`,
      `[a:b = 1]${' WITHIN 1 SECONDS'.repeat(1_000)}`,
    ])
      expect(parsePattern(text)).toMatchObject({ ok: false, code: 'pattern_too_large' })
  })

  it('that explode are told to be too much instead of being tried for ever', () => {
    const seen = Array.from({ length: 40 }, (_, n) => ({
      type: 'observed-data',
      number_observed: 1,
      first_observed: `2026-01-01T00:00:${String(n).padStart(2, '0')}Z`,
      last_observed: `2026-01-01T00:00:${String(n).padStart(2, '0')}Z`,
      objects: { '0': { type: 'a', b: 1 } },
    }))
    const parsed = parsePattern(`${Array.from({ length: 12 }, () => '[a:b = 1]').join(' AND ')} AND [a:b = 2]`)
    const started = performance.now()
    expect(parsed.ok && matchPattern(parsed.value, observationsOf(seen) ?? [])).toMatchObject({ code: 'too_many_ways' })
    expect(performance.now() - started).toBeLessThan(5_000)
  })

  it('with hostile expressions take time linear in the value', () => {
    const seen = [
      {
        type: 'observed-data',
        number_observed: 1,
        first_observed: '2026-01-01T00:00:00Z',
        last_observed: '2026-01-01T00:00:00Z',
        objects: { '0': { type: 'a', b: `${'a'.repeat(5_000)}!` } },
      },
    ]
    const observed = observationsOf(seen) ?? []
    const started = performance.now()
    for (const text of ["[a:b MATCHES '^(a+)+$']", `[a:b LIKE '${'%a'.repeat(50)}b']`]) {
      const parsed = parsePattern(text)
      expect(parsed.ok && matchPattern(parsed.value, observed)).toMatchObject({ ok: true, value: false })
    }
    expect(performance.now() - started).toBeLessThan(2_000)
  })
})

import { describe, expect, it } from 'vitest'
import { parseRules } from './parse.ts'
import { refusalOf, ruleText } from './sigma.fixture.ts'
import { YAML_LIMITS } from './yaml-tree.ts'

const parse = (text: string) => parseRules([{ file: 'a.yml', text }])

describe('reading rule files', () => {
  it('takes every document of a file and says where each stands', () => {
    const { rules } = parse(`${ruleText('s:\n  A: 1\ncondition: s')}---\n${ruleText('s:\n  B: 2\ncondition: s')}`)
    expect(rules.map(({ line }) => line)).toEqual([1, 9])
    expect(new Set(rules.map(({ sha256 }) => sha256)).size).toBe(2)
  })

  it('refuses one bad document with its line and its rule, and takes the others', () => {
    const text = `${ruleText('s:\n  A: 1\ncondition: s')}---\nid: abc\ntitle: Bad\ndetection:\n  s:\n    A|nonsense: 1\n  condition: s\n`
    const { rules, refused } = parse(text)
    expect(rules).toHaveLength(1)
    expect(refused).toEqual([
      { code: 'modifier_unknown', why: expect.stringContaining('nonsense'), file: 'a.yml', line: 13, rule: 'abc' },
    ])
  })

  it('refuses broken YAML with the place, and goes on with the next file', () => {
    const { rules, refused } = parseRules([
      { file: 'bad.yml', text: 'title: x\ndetection:\n  s: [1, 2\n  condition: s\n' },
      { file: 'good.yml', text: ruleText('s:\n  A: 1\ncondition: s') },
    ])
    expect(refused).toMatchObject([{ code: 'yaml_invalid', file: 'bad.yml' }])
    expect(rules.map(({ file }) => file)).toEqual(['good.yml'])
  })

  it('keeps what a rule says of itself', () => {
    const head =
      'title: T\nid: 1\nstatus: stable\nlevel: high\nauthor: A\ndate: 2026-01-02\ntags:\n  - attack.t1059\nlogsource:\n  product: Linux'
    expect(parse(ruleText('s:\n  A: 1\ncondition: s', head)).rules[0]).toMatchObject({
      id: '1',
      title: 'T',
      status: 'stable',
      level: 'high',
      date: '2026-01-02',
      tags: ['attack.t1059'],
      logSource: { product: 'linux', category: null, service: null },
    })
  })

  it('shows a rule without title and id under its file', () => {
    expect(parse('detection:\n  s:\n    A: 1\n  condition: s\n').rules[0]?.title).toBe('a.yml')
  })

  it('lends a global document to the ones after it until a reset', () => {
    const global = 'action: global\nlevel: high\nlogsource:\n  product: windows\n'
    const rule = (name: string) => `title: ${name}\ndetection:\n  s:\n    A: 1\n  condition: s\n`
    const { rules } = parse([global, rule('one'), 'action: reset\n', rule('two')].join('---\n'))
    expect(rules.map(({ title, level }) => [title, level])).toEqual([
      ['one', 'high'],
      ['two', null],
    ])
  })

  it('starts a repeated document from the one before', () => {
    const { rules } = parse(
      `${ruleText('s:\n  A: 1\ncondition: s', 'title: one\nlevel: low')}---\naction: repeat\ntitle: two\ndetection:\n  s:\n    A: 2\n`,
    )
    expect(rules.map(({ title, level }) => [title, level])).toEqual([
      ['one', 'low'],
      ['two', 'low'],
    ])
    expect(rules[1]?.selections.get('s')).toMatchObject({ tests: [{ value: 2 }] })
  })

  it('refuses a key that appears twice', () => {
    expect(refusalOf('title: x\ndetection:\n  s:\n    A: 1\n    A: 2\n  condition: s\n')).toBe('yaml_invalid')
  })

  it.each([
    ['no detection', 'title: x\n', 'not_a_rule'],
    ['a list', '- a\n', 'not_a_rule'],
    ['no condition', 'detection:\n  s:\n    A: 1\n', 'condition_missing'],
    ['an empty selection', 'detection:\n  s: {}\n  condition: s\n', 'detection_invalid'],
    ['a map as a value', 'detection:\n  s:\n    A:\n      B: 1\n  condition: s\n', 'detection_invalid'],
    ['an unknown level', 'level: huge\ndetection:\n  s:\n    A: 1\n  condition: s\n', 'field_invalid'],
    ['an old aggregation', 'detection:\n  s:\n    A: 1\n  condition: s | count() > 5\n', 'aggregation_unsupported'],
  ])('refuses %s under its own code', (_what, text, code) => {
    expect(refusalOf(text)).toBe(code)
  })
})

describe('hostile rule files', () => {
  const quick = (text: string) => {
    // Time of the processor, not of the clock: other tests run beside this one.
    const started = process.threadCpuUsage()
    const result = parse(text)
    expect(process.threadCpuUsage(started).user / 1_000).toBeLessThan(5_000)
    return result
  }

  it('does not unfold a bomb of aliases', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) => `l${level + 1}: &l${level + 1} [${Array(10).fill(`*l${level}`).join(', ')}]`,
    )
    const { refused } = quick(`l0: &l0 x\n${levels.join('\n')}\ndetection:\n  s:\n    A: 1\n  condition: s\n`)
    expect(refused).toMatchObject([{ code: 'yaml_too_many_nodes' }])
  })

  it('does not follow an alias into itself', () => {
    expect(quick('a: &a\n  b: *a\n').refused).toMatchObject([{ code: 'yaml_too_deep' }])
  })

  it.each([
    ['brackets', `a: ${'['.repeat(100_000)}`],
    ['list dashes', `a:\n${'- '.repeat(100_000)}x`],
    ['braces over lines', `a: ${'{b:\n'.repeat(20_000)}`],
    ['indentation', Array.from({ length: 1_000 }, (_, depth) => `${' '.repeat(depth)}k:`).join('\n')],
    ['many keys', Array.from({ length: 60_000 }, (_, index) => `k${index}: 1`).join('\n')],
    ['many aliases', `a: &a 1\nb: [${Array(60_000).fill('*a').join(',')}]`],
    ['many documents', '---\na: 1\n'.repeat(2_000)],
    ['quotes', `a: "${'\\'.repeat(99_999)}`],
  ])('refuses %s without end, quickly', (_what, text) => {
    expect(quick(text).refused.length).toBeGreaterThan(0)
  })

  it('refuses a file over the limit', () => {
    expect(refusalOf(`title: ${'x'.repeat(YAML_LIMITS.bytes)}`)).toBe('file_too_large')
  })
})

describe('correlation documents', () => {
  const correlation = (body: string) => `title: C\ncorrelation:\n${body}`

  it('are read and checked, and refused by the plan when what they build on is not there', () => {
    const text = correlation(
      '  type: event_count\n  rules:\n    - a\n  group-by:\n    - User\n  timespan: 90m\n  condition:\n    gte: 3\n',
    )
    expect(parse(text).correlations).toMatchObject([
      {
        type: 'event_count',
        rules: ['a'],
        groupBy: ['User'],
        timespanMs: 5_400_000,
        bounds: [{ operator: 'gte', value: 3 }],
      },
    ])
    expect(refusalOf(text)).toBe('reference_unknown')
  })

  it.each([
    ['an unknown type', '  type: sum\n  rules: [a]\n  timespan: 1h\n'],
    ['no rules', '  type: temporal\n  timespan: 1h\n'],
    ['a bad time span', '  type: temporal\n  rules: [a]\n  timespan: 1 hour\n'],
    ['no condition where one is needed', '  type: event_count\n  rules: [a]\n  timespan: 1h\n'],
    ['no field to count values of', '  type: value_count\n  rules: [a]\n  timespan: 1h\n  condition:\n    gte: 2\n'],
  ])('are refused with %s', (_what, body) => {
    expect(refusalOf(correlation(body))).toBe('correlation_invalid')
  })
})

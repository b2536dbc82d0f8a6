import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRules } from './parse.ts'
import { compilePlan } from './plan.ts'
import { countMatches, ruleText } from './sigma.fixture.ts'

const rule = (title: string, detection: string) => ruleText(detection, `title: ${title}`)

describe('plans', () => {
  it('return every rule that matches, in the order given, with what it says of itself', () => {
    const texts = Array.from({ length: 50 }, (_, index) =>
      rule(`r${index}`, `s:\n  F|contains: ${index % 2 === 0 ? 'a' : 'b'}\ncondition: s`),
    )
    const plan = compilePlan(parseRules([{ file: 'f.yml', text: texts.join('---\n') }]).rules)
    expect(plan.match({ F: 'xax' }).map((match) => match.rule.title)).toEqual(
      Array.from({ length: 25 }, (_, index) => `r${index * 2}`),
    )
    expect(plan.match({ F: 'xax' })[0]?.rule).toMatchObject({ title: 'r0', file: 'f.yml', line: 1 })
  })

  it('refuse a rule that needs a placeholder, and run the others', () => {
    const text = [rule('one', 's:\n  F|expand: "%x%"\ncondition: s'), rule('two', 's:\n  F: 1\ncondition: s')].join(
      '---\n',
    )
    const plan = compilePlan(parseRules([{ file: 'f.yml', text }]).rules)
    expect(plan.refused).toMatchObject([{ code: 'placeholder_unresolved', rule: 'one', file: 'f.yml' }])
    expect(plan.match({ F: 1 })).toHaveLength(1)
  })

  it('keep no memory of the event before', () => {
    const plan = compilePlan(
      parseRules([{ file: 'f', text: rule('r', 's:\n  F|contains: a\n  G: null\ncondition: s') }]).rules,
    )
    expect(plan.match({ F: 'a' })).toHaveLength(1)
    expect(plan.match({ F: 'a', G: 1 })).toHaveLength(0)
    expect(plan.match({})).toHaveLength(0)
    expect(plan.match({ F: 'A' })).toHaveLength(1)
  })

  it('answer the same however often values repeat or change', () => {
    const plan = compilePlan(
      parseRules([{ file: 'f', text: rule('r', 's:\n  F|endswith: needle\nk:\n  - keyword\ncondition: s or k') }])
        .rules,
    )
    for (let round = 0; round < 20_000; round++) {
      const hit = round % 7 === 0
      const event = {
        F: `${round % 3 === 0 ? round : 'same'} ${hit ? 'needle' : 'hay'}`,
        G: round % 11 === 0 ? 'the KEYWORD' : `v${round}`,
      }
      expect(plan.match(event).length > 0).toBe(hit || round % 11 === 0)
    }
  })

  it('take ten thousand rules and one that matches everything', () => {
    const texts = Array.from({ length: 10_000 }, (_, index) =>
      rule(`r${index}`, `s:\n  F|contains: value-${index}-x\ncondition: s`),
    )
    const files = texts.map((text, index) => ({ file: `${index}.yml`, text }))
    const plan = compilePlan(
      parseRules([...files, { file: 'all.yml', text: rule('all', 's:\n  F: "*"\ncondition: s') }]).rules,
    )
    expect(plan.match({ F: 'has value-77-x in it' }).map((match) => match.rule.title)).toEqual(['r77', 'all'])
  })
})

describe('keywords', () => {
  const words = ['/dev/tcp/', 'rootkit', 'bash -i >&', 'mimikatz', 'no packet from', 'scp ']
  const text = words
    .map((word, n) => `title: k${n}\nlogsource: { product: linux }\ndetection: { k: ['${word}'], condition: k }\n`)
    .join('---\n')
  const plan = compilePlan(parseRules([{ file: 'k.yml', text }]).rules)
  const titles = (event: unknown, json?: string) =>
    plan.match(event, json === undefined ? undefined : Buffer.from(json)).map(({ rule }) => rule.title)

  it('are found in the text of an event as they are in its values, wherever they stand', () => {
    const piece = fc.constantFrom(...words, 'ROOTKIT', '/dev/tc', 'p/', 'x', ' ', 'bash -i >', '& ', 'nopacketfrom')
    const value = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.array(value, { maxLength: 5 }), value, fc.integer(), (list, message, pid) => {
        const event = { host: { os: { type: 'linux' } }, process: { args: list, pid }, message }
        expect(titles(event, JSON.stringify(event))).toEqual(titles(event))
      }),
      { numRuns: 500 },
    )
  })

  it('are found also where reading the text whole does not pay, because its names hold them', () => {
    const event = { host: { os: { type: 'linux' } }, rootkit: 'no', message: 'none' }
    for (let n = 0; n < 3_000; n++) expect(titles(event, JSON.stringify(event))).toEqual([])
    expect(titles({ ...event, message: 'a rootkit' }, '{"message":"a rootkit"}')).toEqual(['k1'])
  })
})

describe('filters', () => {
  const base = 'title: Base\nid: base-1\nlogsource:\n  product: windows\ndetection:\n  s:\n    A: 1\n  condition: s\n'
  const filter = (body: string, head = 'title: Filter\nlogsource:\n  product: windows') =>
    `${head}\nfilter:\n${body
      .split('\n')
      .map((line) => `  ${line}`)
      .join('\n')}\n`
  const count = (filterText: string, event: unknown) => countMatches(`${base}---\n${filterText}`, event)

  it('suppress what their condition names, as the specification shows it', () => {
    const text = filter('rules:\n  - base-1\nselection:\n  User|startswith: adm_\ncondition: selection')
    expect(count(text, { A: 1, User: 'adm_x' })).toBe(0)
    expect(count(text, { A: 1, User: 'eve' })).toBe(1)
  })

  it('keep what their condition leaves, as filters in use write it', () => {
    const text = filter('rules:\n  - Base\nselection:\n  User|startswith: adm_\ncondition: not selection')
    expect(count(text, { A: 1, User: 'adm_x' })).toBe(0)
    expect(count(text, { A: 1, User: 'eve' })).toBe(1)
  })

  it('concern only the rules they name, of their log source', () => {
    const others = filter('rules:\n  - base-2\nselection:\n  A: 1\ncondition: selection')
    const elsewhere = filter(
      'rules:\n  - base-1\nselection:\n  A: 1\ncondition: selection',
      'title: F\nlogsource:\n  product: linux',
    )
    const any = filter('rules: any\nselection:\n  A: 1\ncondition: selection')
    expect(count(others, { A: 1 })).toBe(1)
    expect(count(elsewhere, { A: 1 })).toBe(1)
    expect(count(any, { A: 1 })).toBe(0)
  })
})

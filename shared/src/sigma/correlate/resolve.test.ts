import { describe, expect, it } from 'vitest'
import { kindRule, planOf } from './correlate.fixture.ts'

const correlation = (name: string, rules: string, more = '') =>
  `title: ${name}\nname: ${name}\nid: id-${name}\ncorrelation:\n  type: temporal\n  timespan: 1m\n  rules: ${rules}\n${more}`
const join = (...texts: readonly string[]) => texts.join('---\n')
const runs = (plan: ReturnType<typeof planOf>) => plan.correlations.map((one) => one.correlation.name)

describe('references of correlations', () => {
  it('are ids or names, in one file or across files, in any order', () => {
    const plan = planOf([
      { file: 'c.yml', text: join(correlation('outer', '[inner, id-b]'), correlation('inner', '[a]')) },
      { file: 'r.yml', text: join(kindRule('a'), kindRule('b')) },
    ])
    expect(plan.refusals).toEqual([])
    expect(new Set(runs(plan))).toEqual(new Set(['inner', 'outer']))
  })

  it('mean the rule of their own file where another file has the same name', () => {
    const own = join(correlation('c', '[a]'), kindRule('a'))
    const plan = planOf([
      { file: 'x.yml', text: kindRule('a').replace('id-a', 'other') },
      { file: 'y.yml', text: own },
    ])
    expect(plan.refusals).toEqual([])
    expect(plan.correlations[0]?.sources[0]?.of.id).toBe('id-a')
  })

  it.each([
    ['reference_unknown', 'no rule has this id or name', [correlation('c', '[a, gone]')]],
    ['reference_repeated', 'more than once', [correlation('c', '[a, id-a]')]],
    [
      'reference_ambiguous',
      'rules.yml, line',
      [correlation('c', '[x]'), kindRule('x'), kindRule('x').replace('id-x', 'y')],
    ],
    ['reference_unknown', 'alias ip', [correlation('c', '[a]', '  aliases:\n    ip: { b: source.ip }\n')]],
  ])('are refused as %s, with file, line and rule, and nothing else is', (code, why, texts) => {
    const plan = planOf(join(kindRule('a'), ...texts, correlation('good', '[a]')))
    expect(plan.refusals).toEqual([
      { code, file: 'rules.yml', line: 15, rule: 'id-c', why: expect.stringContaining(why) },
    ])
    expect(runs(plan)).toEqual(['good'])
  })

  it('in a circle are all refused, those that build on them too, and no others', () => {
    const plan = planOf(
      join(
        kindRule('a'),
        correlation('top', '[p, a]'),
        correlation('p', '[q]'),
        correlation('q', '[r]'),
        correlation('r', '[p]'),
        correlation('self', '[self]'),
        correlation('good', '[a]'),
      ),
    )
    const told = Object.fromEntries(plan.refusals.map(({ rule, code, why }) => [rule, `${code} ${why}`]))
    expect(told).toEqual({
      'id-p': 'reference_cycle it builds on itself: p → q → r → p',
      'id-q': 'reference_cycle it builds on itself: p → q → r → p',
      'id-r': 'reference_cycle it builds on itself: p → q → r → p',
      'id-self': 'reference_cycle it builds on itself: self → self',
      'id-top': expect.stringContaining('reference_refused it names "p", which is refused'),
    })
    expect(runs(plan)).toEqual(['good'])
  })

  it('to a rule that is refused itself say so', () => {
    const broken = kindRule('b').replace('condition: s', 'condition: nothing')
    const plan = planOf(join(broken, correlation('c', '[id-b]')))
    expect(plan.refusals.map(({ code }) => code)).toEqual(['selection_unknown', 'reference_unknown'])
    expect(plan.refusals[1]?.why).toContain('refused itself')
  })

  it('of a thousand correlations on top of each other end with a reason', () => {
    const texts = Array.from({ length: 500 }, (_, n) => correlation(`c${n}`, `[${n === 0 ? 'a' : `c${n - 1}`}]`))
    const plan = planOf(join(kindRule('a'), ...texts))
    expect(plan.correlations.length).toBeGreaterThan(30)
    expect(plan.correlations.length + plan.refusals.length).toBe(500)
  })

  it('leave a rule that only a refused correlation names to itself', () => {
    const plan = planOf(join(kindRule('a'), correlation('c', '[a, gone]')))
    expect(plan.silent.size).toBe(0)
  })
})

import { describe, expect, it } from 'vitest'
import { parseCondition } from './condition.ts'
import { countMatches, refusalOf, ruleText } from './sigma.fixture.ts'

/** Selections a, b, c and _d match an event that has the field of their name. */
function holds(condition: string, ...fields: string[]): boolean {
  const names = ['a', 'b', 'c1', 'c2', '_d']
  const selections = names.map((name) => `${name}:\n  ${name}|exists: true`).join('\n')
  return (
    countMatches(
      ruleText(`${selections}\ncondition: ${condition}`),
      Object.fromEntries(fields.map((field) => [field, 1])),
    ) > 0
  )
}

describe('conditions', () => {
  it.each([
    ['a or b and c1', ['a'], true],
    ['a or b and c1', ['b'], false],
    ['(a or b) and c1', ['a'], false],
    ['(a or b) and c1', ['b', 'c1'], true],
    ['not a and b', ['b'], true],
    ['not a and b', [], false],
    ['not (a and b)', ['a'], true],
    ['not not a', ['a'], true],
    ['a AND NOT b', ['a'], true],
    ['1 of c*', ['c2'], true],
    ['all of c*', ['c2'], false],
    ['all of c*', ['c1', 'c2'], true],
    ['any of c*', ['c1'], true],
    ['not 1 of c*', ['a'], true],
    ['1 of them', ['_d'], false],
    ['all of them', ['a', 'b', 'c1', 'c2'], true],
    ['1 of _*', ['_d'], true],
    ['1 of *1', ['c1'], true],
    ['1 of c1', ['c1'], true],
    ['1 of *', ['_d'], false],
    ['a and 1 of c* and not b', ['a', 'c1'], true],
  ])('%s with %j is %s', (condition, fields, expected) => {
    expect(holds(condition, ...fields)).toBe(expected)
  })

  it('are linked by OR when there are several', () => {
    const text = ruleText('a:\n  A: 1\nb:\n  B: 1\ncondition:\n  - a\n  - b')
    expect(countMatches(text, { B: 1 })).toBe(1)
  })

  it.each(['a and', 'and a', 'a b', '(a', 'a)', '2 of c*', 'not', '1 of', 'a or or b', ''])(
    '%j is refused',
    (condition) => {
      expect(() => parseCondition(condition, ['a', 'b', 'c1'], 1)).toThrow()
    },
  )

  it.each(['x', '1 of x*', 'a and y'])('%j names a selection that is not there', (condition) => {
    expect(refusalOf(ruleText(`a:\n  A: 1\ncondition: ${condition}`))).toBe('selection_unknown')
  })

  it('are refused when they nest without end', () => {
    expect(() => parseCondition(`${'('.repeat(1_000)}a${')'.repeat(1_000)}`, ['a'], 1)).toThrow('nested')
    expect(() => parseCondition(`${'not '.repeat(1_000)}a`, ['a'], 1)).toThrow('nested')
  })
})

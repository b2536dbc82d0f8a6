import { assert, constantFrom, array, property, string, stringMatching } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ANY_ONE, ANY_RUN, type Token } from './rule.ts'
import { joinTokens } from './sigma-text.ts'
import { textMatcher } from './text-matcher.ts'

/** The same question asked of the regular expression engine: slow in the worst case, but somebody else's code. */
function expected(tokens: readonly Token[], subject: string): boolean {
  const source = tokens.map((token) =>
    typeof token === 'string'
      ? token.replaceAll(/[.*+?^${}()|[\]\\/]/g, String.raw`\$&`)
      : token === ANY_RUN
        ? '[^]*'
        : '[^]',
  )
  return new RegExp(`^${source.join('')}$`, 'u').test(subject)
}

describe('wildcard matching', () => {
  it('agrees with a regular expression on whatever pattern and text', () => {
    const token = constantFrom<Token>(ANY_RUN, ANY_ONE, 'a', 'b', 'ab', 'aa', '😀')
    const subject = array(constantFrom('a', 'b', 'c', '😀', '\n'), { maxLength: 12 }).map((parts) => parts.join(''))
    assert(
      property(array(token, { maxLength: 7 }), subject, (tokens, text) => {
        const joined = joinTokens(tokens)
        return textMatcher(joined)(text) === expected(joined, text)
      }),
      { numRuns: 5_000 },
    )
  })

  it('takes no time over a pattern full of stars', () => {
    const tokens: Token[] = Array.from({ length: 40 }, (): Token[] => ['a', ANY_RUN]).flat()
    const started = process.threadCpuUsage()
    expect(textMatcher([...tokens, 'b'])('a'.repeat(200_000))).toBe(false)
    expect(process.threadCpuUsage(started).user / 1_000).toBeLessThan(1_000)
  })
})

describe('a rule with a literal in any alphabet', () => {
  it('matches its own text in both cases, through the prefilter', async () => {
    const { selects } = await import('./sigma.fixture.ts')
    assert(
      property(stringMatching(/^[a-zäöüßσςабвİıǅK]{1,8}$/), string({ maxLength: 5 }), (value, around) => {
        const selection = `F|contains: ${JSON.stringify(value)}`
        const text = `${around}${value}${around}`
        return [text, text.toUpperCase()].every(
          (subject) => selects(selection, { F: subject }) === selects(selection, { F: subject }, { prefilter: false }),
        )
      }),
      { numRuns: 300 },
    )
  })
})

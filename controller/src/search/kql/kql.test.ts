import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseQuery } from './parse.ts'
import { printQuery } from './print.ts'
import { COMPARISONS, type Literal, type Query, QUERY_LIMITS } from './query.ts'

/** A query without its positions, small enough to write down: `field:value`, `["and", ...]`. */
type Shape = string | readonly [string, ...Shape[]]

function shapeOf(query: Query): Shape {
  const text = ({ pieces, quoted }: Literal) => (quoted ? `"${pieces[0]}"` : pieces.join('*'))
  switch (query.kind) {
    case 'all':
      return 'all'
    case 'and':
    case 'or':
      return [query.kind, ...query.parts.map(shapeOf)]
    case 'not':
      return ['not', shapeOf(query.part)]
    case 'is':
      return query.field === null ? text(query.value) : `${text(query.field)}:${text(query.value)}`
    case 'range':
      return `${text(query.field)}${query.comparison}${text(query.value)}`
    default:
      throw new Error(`unhandled query ${String(query satisfies never)}`)
  }
}

function parsed(text: string): Shape {
  const result = parseQuery(text)
  if (!result.ok) throw new Error(result.why)
  return shapeOf(result.value)
}

function refused(text: string) {
  const result = parseQuery(text)
  if (result.ok) throw new Error(`taken: ${JSON.stringify(shapeOf(result.value))}`)
  return result
}

describe('the query language', () => {
  it.each<[string, Shape]>([
    ['', 'all'],
    ['   \n', 'all'],
    ['process.name:curl', 'process.name:curl'],
    ['process.name : curl', 'process.name:curl'],
    ['process.name: "curl"', 'process.name:"curl"'],
    ['a:1 and b:2 or c:3', ['or', ['and', 'a:1', 'b:2'], 'c:3']],
    ['a:1 or b:2 and c:3', ['or', 'a:1', ['and', 'b:2', 'c:3']]],
    ['(a:1 or b:2) and c:3', ['and', ['or', 'a:1', 'b:2'], 'c:3']],
    ['not a:1 and b:2', ['and', ['not', 'a:1'], 'b:2']],
    ['not (a:1 and b:2)', ['not', ['and', 'a:1', 'b:2']]],
    ['NOT a:1 AND b:2 Or c:3', ['or', ['and', ['not', 'a:1'], 'b:2'], 'c:3']],
    ['not not a:1', ['not', ['not', 'a:1']]],
    ['a:(x or y)', ['or', 'a:x', 'a:y']],
    ['a:(x or "y z" and not w*)', ['or', 'a:x', ['and', 'a:"y z"', ['not', 'a:w*']]]],
    ['a:((x))', 'a:x'],
    ['a >= 10', 'a>=10'],
    ['a<10 and a > 1 and a<=2', ['and', 'a<10', 'a>1', 'a<=2']],
    ['@timestamp < "2026-11-24T12:00:00Z"', '@timestamp<"2026-11-24T12:00:00Z"'],
    ['@timestamp >= now-7d/d', '@timestamp>=now-7d/d'],
    ['process.*:curl', 'process.*:curl'],
    ['*:*', '*:*'],
    ['**:a***b', '*:a*b'],
    ['a:*', 'a:*'],
    ['"process.name":curl', '"process.name":curl'],
    ['quick brown fox', 'quick brown fox'],
    ['m:quick  brown fox and x', ['and', 'm:quick  brown fox', 'x']],
    ['android or notepad or orange', ['or', 'android', 'notepad', 'orange']],
    ['cannot open', 'cannot open'],
    ['10.0.0.0/8', '10.0.0.0/8'],
    [String.raw`a\:b\*c\"d\(\)\{\}\<\>\\`, String.raw`a:b*c"d(){}<>\ `.trim()],
    [String.raw`\and`, 'and'],
    [String.raw`this \or that`, 'this or that'],
    [String.raw`\u0041\t`, 'A\t'],
    [String.raw`"C:\Windows\System32"`, String.raw`"C:\Windows\System32"`],
    [String.raw`"a \"b\" \\ \u0041"`, String.raw`"a "b" \ A"`],
    ['"*"', '"*"'],
    ['f:"é\u0000\u202e😀"', 'f:"é\u0000\u202e😀"'],
  ])('reads %j as Kibana does', (text, shape) => {
    expect(parsed(text)).toEqual(shape)
  })

  it.each([
    ['a:', 3, 'query_syntax', /expected a value, a quoted phrase, or \(, found the end/],
    ['a:1 and', 8, 'query_syntax', /expected a field, a value, not, or \(, found the end/],
    ['and a:1', 1, 'query_syntax', /found and; to search for the word itself write "and"/],
    ['(a:1', 1, 'query_syntax', /this \( is never closed/],
    ['a:1)', 4, 'query_syntax', /expected and, or, or the end of the query, found \)/],
    ['a:(x b:1)', 6, 'query_syntax', /expected and or or before b/],
    ['a:1 b:2', 5, 'query_syntax', /expected and or or before b/],
    ['process.name:curl destination.port:4444', 19, 'query_syntax', /before destination\.port/],
    ['foo bar:1', 5, 'query_syntax', /expected and or or before bar/],
    ['a:"x" b:2', 7, 'query_syntax', /found b; conditions are joined by and, or/],
    ['destination.ip:fe80::1', 20, 'query_syntax', /put a value that holds it in double quotes/],
    ['url:http://x', 9, 'query_syntax', /ends before :/],
    ['a:"x', 3, 'query_syntax', /double quote is never closed/],
    [String.raw`a:C\Windows`, 4, 'query_syntax', /backslash outside quotes begins an escape/],
    ['a:\\', 3, 'query_syntax', /backslash outside quotes/],
    ['a:{ b:1 }', 3, 'query_nested', /nested queries .* not supported/],
    ['a > ', 5, 'query_syntax', /expected a value after >/],
    ['a > (1)', 5, 'query_syntax', /expected a value after >, found \(/],
    ['a:1 not b:2', 5, 'query_syntax', /to exclude something write: and not/],
    [':x', 1, 'query_syntax', /expected a field/],
    ['x }', 3, 'query_syntax', /put a value that holds a brace in double quotes/],
    ['(', 2, 'query_syntax', /expected a field/],
    ['x'.repeat(QUERY_LIMITS.length + 1), QUERY_LIMITS.length + 1, 'query_too_long', /longer than 8192/],
    [`${'('.repeat(51)}a${')'.repeat(51)}`, 51, 'query_too_deep', /deeper than 50/],
    [`${'not '.repeat(2_000)}a`, 201, 'query_too_deep', /deeper than 50/],
    [Array.from({ length: 257 }, () => 'a:1').join(' or '), 1_795, 'query_too_many_terms', /more than 256/],
    [`a:(${Array.from({ length: 257 }, () => 'b').join(' or ')})`, 1_284, 'query_too_many_terms', /more than 256/],
  ])('says at which column of %j something is wrong, and what was expected', (text, column, code, why) => {
    const problem = refused(text)
    expect([problem.at.from + 1, problem.code]).toEqual([column, code])
    expect(problem.why).toMatch(why)
    expect(problem.why.startsWith(`column ${column}: `)).toBe(true)
  })

  it('never throws, whatever is typed', () => {
    const pieces = fc.constantFrom(
      ...'( ) : < > " * { } \\ \t \n'.split(' '),
      ' ',
      'and',
      'or',
      'not',
      '>=',
      'a',
      'process.name',
      String.raw`\u00`,
      '\ud800',
      '\u0000',
      '\u202e',
      '😀',
    )
    const soup = fc
      .array(fc.oneof(pieces, pieces, fc.string({ maxLength: 8 })), { maxLength: 40 })
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(soup, (text) => {
        const result = parseQuery(text)
        return result.ok || (result.at.from <= result.at.to && result.at.to <= text.length)
      }),
      { numRuns: 1_000 },
    )
  })

  it('reads what it prints as the same query', () => {
    fc.assert(
      fc.property(someQuery, (query) => {
        expect(parsed(printQuery(query))).toEqual(shapeOf(query))
      }),
      { numRuns: 1_000 },
    )
  })
})

const at = { from: 0, to: 0 }
const text = fc.oneof(
  fc.string({ minLength: 1, unit: 'grapheme' }),
  fc.constantFrom(
    'and',
    'not',
    'a or b',
    ' x',
    'x ',
    '\\',
    '"',
    'a\tb',
    'NOT',
    'a  b',
    '\u0000',
    '\u3000',
    '(',
    'a:b',
    '\ud800',
  ),
)
const unquoted: fc.Arbitrary<Literal> = fc
  .tuple(fc.array(text, { maxLength: 3 }), fc.boolean(), fc.boolean(), text)
  .map(([middle, starts, ends, alone]) => {
    const pieces = [...(starts ? [''] : []), ...middle, ...(ends ? [''] : [])]
    const proper = pieces.filter((piece, index) => piece !== '' || index === 0 || index === pieces.length - 1)
    return { pieces: proper.every((piece) => piece === '') && proper.length < 2 ? [alone] : proper, quoted: false, at }
  })
const quoted: fc.Arbitrary<Literal> = fc
  .oneof(text, fc.constant(''))
  .map((value) => ({ pieces: [value], quoted: true, at }))
const field: fc.Arbitrary<Literal> = fc
  .constantFrom(['process.name'], ['@timestamp'], ['process.', ''], ['', ''], ['a:b'], ['or'])
  .map((pieces) => ({ pieces, quoted: false, at }))
const literal = fc.oneof(unquoted, quoted)
const leaf: fc.Arbitrary<Query> = fc.oneof(
  fc.record({ kind: fc.constant('is' as const), field: fc.oneof(field, fc.constant(null)), value: literal }),
  fc.record({
    kind: fc.constant('range' as const),
    field,
    comparison: fc.constantFrom(...COMPARISONS),
    value: literal,
  }),
)
const someQuery = fc.letrec<{ query: Query }>((tie) => ({
  query: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaf,
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      parts: fc.array(tie('query'), { minLength: 2, maxLength: 4 }),
    }),
    fc.record({ kind: fc.constant('not' as const), part: tie('query') }),
  ),
})).query

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson } from './strict-json.ts'

const limits = { maxBytes: 100_000, maxDepth: 16, maxValues: 2_000 }
const parse = (text: string | Uint8Array) =>
  parseStrictJson(typeof text === 'string' ? Buffer.from(text) : text, limits)
const strip = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('strict JSON', () => {
  it('reads whatever JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6, noUnicodeString: false }), (value) => {
        const text = JSON.stringify(value)
        const parsed = parse(text)
        if (/"__proto__":/.test(text) || !text.isWellFormed() || hasUnsafe(JSON.parse(text))) return
        expect(parsed.ok && strip(parsed.value)).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['a name twice', '{"a":1,"a":2}'],
    ['a name twice, once escaped', String.raw`{"a":1,"\u0061":2}`],
    ['__proto__', '{"__proto__":{"x":1}}'],
    ['an integer that would be rounded', '9007199254740993'],
    ['an infinite number', '1e999'],
    ['NaN', 'NaN'],
    ['a comment', '/* */1'],
    ['a trailing comma', '[1,]'],
    ['a leading zero', '01'],
    ['single quotes', "'a'"],
    ['a raw control character', '"a\u0001"'],
    ['a lone surrogate', String.raw`"\ud800"`],
    ['something behind the value', '1 2'],
    ['nothing', ''],
    ['a byte order mark', '\ufeff1'],
    ['an open object', '{"a":1'],
  ])('refuses %s', (_, text) => {
    expect(parse(text)).toMatchObject({ ok: false, code: 'malformed' })
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(parse(Buffer.from([0x22, 0xff, 0x22]))).toMatchObject({ ok: false, code: 'malformed' })
    expect(parse(Buffer.from([0x22, 0xc0, 0x80, 0x22]))).toMatchObject({ ok: false, code: 'malformed' })
  })

  it('refuses a text that is too deep, too large or of too many values, however deep it is', () => {
    expect(parse('['.repeat(17) + ']'.repeat(17))).toMatchObject({ ok: false, code: 'malformed' })
    expect(parse('['.repeat(16) + ']'.repeat(16)).ok).toBe(true)
    expect(parse('['.repeat(90_000))).toMatchObject({ ok: false, code: 'malformed' })
    expect(parse(`"${'x'.repeat(100_000)}"`)).toMatchObject({ ok: false, code: 'too_large' })
    expect(parse(`[${'1,'.repeat(2_000)}1]`)).toMatchObject({ ok: false, code: 'malformed' })
  })

  it('never throws and never answers differently from JSON.parse on what it accepts', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'{}[],:"\\u01eE+-. tnrfalse'.split('')) })),
        (text) => {
          const parsed = parse(text)
          if (parsed.ok) expect(strip(parsed.value)).toEqual(strip(JSON.parse(text)))
        },
      ),
      { numRuns: 2_000 },
    )
  })

  it('gives objects without a prototype', () => {
    const parsed = parse('{"constructor":1}')
    expect(parsed.ok && Object.getPrototypeOf(parsed.value)).toBeNull()
  })
})

function hasUnsafe(value: unknown): boolean {
  if (typeof value === 'number') return Math.abs(value) > Number.MAX_SAFE_INTEGER
  if (typeof value === 'string') return !value.isWellFormed()
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).some(([name, member]) => !name.isWellFormed() || hasUnsafe(member))
  return false
}

import { describe, expect, it } from 'vitest'
import { selectionRefusal, selects } from './sigma.fixture.ts'

describe('plain values', () => {
  it.each([
    ["F: 'Bash'", 'bASH', true],
    ["F: 'bash'", 'bash2', false],
    ["F: ''", '', true],
    ["F: ''", 'x', false],
    ['F: 7', 7, true],
    ['F: 7', '7', true],
    ['F: 7', '70', false],
    ["F: '7'", 7, true],
    ['F: 1.50', '1.50', true],
    ['F: true', true, true],
    ['F: true', 'True', true],
    ['F: true', false, false],
    ["F: 'true'", true, true],
    ['F: yes', 'yes', true],
    ['F: null', null, true],
    ['F: null', '', false],
    ['F:\n  - a\n  - b', 'B', true],
    ['F: a', ['x', 'A'], true],
    ['F: a', ['x'], false],
    ['F: a', { a: 1 }, false],
  ])('%j on %j: %s', (selection, value, expected) => {
    expect(selects(selection, { F: value })).toBe(expected)
  })

  it('null also means that the field is not there, and an empty value does not', () => {
    expect(selects('F: null', {})).toBe(true)
    expect(selects("F: ''", {})).toBe(false)
  })

  it('are found under dotted names, nested or not, and in lists of objects', () => {
    expect(selects('a.b.c: 1', { a: { b: { c: 1 } } })).toBe(true)
    expect(selects('a.b.c: 1', { 'a.b.c': 1 })).toBe(true)
    expect(selects('a.b.c: 1', { a: { 'b.c': 1 } })).toBe(true)
    expect(selects('a.b: 2', { a: [{ b: 1 }, { b: 2 }] })).toBe(true)
  })

  it('never finds what every JavaScript object inherits', () => {
    expect(selects('constructor|exists: true', {})).toBe(false)
    expect(selects('__proto__.x|exists: true', {})).toBe(false)
  })
})

describe('wildcards and their escapes', () => {
  it.each([
    [String.raw`F: 'a*c'`, 'abbbc', true],
    [String.raw`F: 'a*c'`, 'ac', true],
    [String.raw`F: 'a?c'`, 'ac', false],
    [String.raw`F: 'a?c'`, 'a😀c', true],
    [String.raw`F: '*'`, '', true],
    [String.raw`F: '?'`, '', false],
    [String.raw`F: 'a\*c'`, 'a*c', true],
    [String.raw`F: 'a\*c'`, 'abc', false],
    [String.raw`F: 'a\?'`, 'a?', true],
    [String.raw`F: 'a\b'`, String.raw`a\b`, true],
    [String.raw`F: 'a\\b'`, String.raw`a\b`, true],
    [String.raw`F: 'a\\*'`, String.raw`a\bc`, true],
    [String.raw`F: 'a\\*'`, 'a*', false],
    [String.raw`F: 'a\\\*'`, String.raw`a\*`, true],
    [String.raw`F: 'a\\\*'`, String.raw`a\x`, false],
    [String.raw`F: '\\\\host'`, String.raw`\\host`, true],
    [String.raw`F: '\\\host'`, String.raw`\\host`, true],
    [String.raw`F|endswith: '\'`, 'a\\', true],
    ['F: "a*c"', 'a\nb\nc', true],
  ])('%s on %j: %s', (selection, value, expected) => {
    expect(selects(selection, { F: value })).toBe(expected)
  })
})

describe('modifiers', () => {
  it.each([
    ['F|contains: b', 'ABC', true],
    ['F|startswith: a', 'ABC', true],
    ['F|startswith: b', 'ABC', false],
    ['F|endswith: c', 'ABC', true],
    ['F|contains: "a?c"', 'xabcx', true],
    ['F|contains|all:\n  - a\n  - c', 'abc', true],
    ['F|contains|all:\n  - a\n  - d', 'abc', false],
    ['F|cased: abc', 'ABC', false],
    ['F|contains|cased: BC', 'ABC', true],
    ['F|neq: a', 'b', true],
    ['F|neq: a', 'A', false],
    ['F|neq:\n  - a\n  - b', 'c', true],
    ['F|neq:\n  - a\n  - b', 'b', false],
    ['F|re: b+', 'abbc', true],
    ['F|re: B', 'abc', false],
    ['F|re|i: B', 'abc', true],
    ['F|re: ^a.c$', 'a\nc', false],
    ['F|re|s: ^a.c$', 'a\nc', true],
    ['F|re: ^b$', 'a\nb', false],
    ['F|re|m: ^b$', 'a\nb\nc', true],
    [String.raw`F|re: '\d{3}\s\w'`, '123 x', true],
    ['F|cidr: 10.0.0.0/8', '10.1.2.3', true],
    ['F|cidr: 10.0.0.0/8', '11.1.2.3', false],
    ['F|cidr: 10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['F|cidr: 2001:db8::/32', '2001:db8::1', true],
    ['F|cidr: 2001:db8::/32', 'no address', false],
    ['F|cidr: 192.0.2.1', '192.0.2.1', true],
    ['F|base64: foo', 'Zm9v', true],
    ['F|base64|contains: foo', 'xxZm9vxx', true],
    ['F|wide|base64: foo', 'ZgBvAG8A', true],
    ['F|utf16be|base64: foo', 'AGYAbwBv', true],
    ['F|utf16|base64: foo', '//5mAG8AbwA=', true],
    ['F|wide: ab', 'a\0b\0', true],
    ['F|windash|contains: " -f"', 'cmd /f', true],
    ['F|windash|contains: " -f"', 'cmd \u2014f', true],
    ['F|windash|contains: " /f"', 'cmd -f', true],
    ['F|contains: " -f"', 'cmd /f', false],
    ['F|windash|base64: "-f"', Buffer.from('/f').toString('base64'), true],
    ['F|lt: 5', 4, true],
    ['F|lt: 5', 5, false],
    ['F|lte: 5', '5', true],
    ['F|gt: 5', 'six', false],
    ['F|gte: 5', 5, true],
    ['F|gte: 5', null, false],
    ['F|minute: 7', '2024-12-25T10:07:00Z', true],
    ['F|hour: 10', '2024-12-25 10:07:00.123', true],
    ['F|hour|gte: 22', '2024-12-25T23:00:00+05:00', true],
    ['F|day: 25', '2024-12-25', true],
    ['F|hour: 0', '2024-12-25', false],
    ['F|week: 1', '2024-12-30T00:00:00Z', true],
    ['F|month: 12', 1_735_084_800, true],
    ['F|year: 2024', 1_735_084_800_000, true],
    ['F|year: 2024', 'never', false],
  ])('%j on %j: %s', (selection, value, expected) => {
    expect(selects(selection, { F: value })).toBe(expected)
    // The prefilter must never decide otherwise than the rule itself.
    expect(selects(selection, { F: value }, { prefilter: false })).toBe(expected)
  })

  it('base64offset finds the value at every position of a longer text', () => {
    for (const before of ['', 'a', 'ab', 'abc', 'abcd']) {
      const text = Buffer.from(`${before}powershell -enc trailing`).toString('base64')
      expect(selects('F|base64offset|contains: powershell', { F: text })).toBe(true)
    }
    expect(selects('F|base64offset|contains: powershell', { F: Buffer.from('pawershell').toString('base64') })).toBe(
      false,
    )
  })

  it('exists asks for the field, whatever its value', () => {
    expect(selects('F|exists: true', { F: null })).toBe(true)
    expect(selects('F|exists: true', {})).toBe(false)
    expect(selects('F|exists: false', {})).toBe(true)
    expect(selects('F|exists: false', { F: '' })).toBe(false)
  })

  it('neq speaks of a field that is there', () => {
    expect(selects('F|neq: a', {})).toBe(false)
  })

  it('fieldref compares two fields of the event', () => {
    expect(selects('A|fieldref: B', { A: 'X', B: 'x' })).toBe(true)
    expect(selects('A|fieldref|cased: B', { A: 'X', B: 'x' })).toBe(false)
    expect(selects('A|fieldref|endswith: B', { A: 'dir/x', B: 'x' })).toBe(true)
    expect(selects('A|fieldref|neq: B', { A: 'y', B: 'x' })).toBe(true)
    expect(selects('A|fieldref: B', { A: 'x' })).toBe(false)
    expect(selects('A|fieldref: B', {})).toBe(false)
  })

  it('expand replaces placeholders by the values that are defined for them', () => {
    const placeholders = new Map([['Admins', ['root', 'adm_*']]])
    expect(selects("F|expand: '%Admins%'", { F: 'ADM_x' }, { placeholders })).toBe(true)
    expect(selects("F|expand|contains: '/%Admins%/'", { F: 'a/root/b' }, { placeholders })).toBe(true)
    expect(selects("F|expand: '%Admins%'", { F: 'eve' }, { placeholders })).toBe(false)
    expect(selects(String.raw`F|expand: '\%Admins\%'`, { F: '%admins%' }, { placeholders })).toBe(true)
    expect(selects("F: '%Admins%'", { F: '%admins%' })).toBe(true)
    expect(selectionRefusal("F|expand: '%Unknown%'")).toBe('placeholder_unresolved')
  })

  it.each([
    'F|contains|startswith: a',
    'F|re|contains: a',
    'F|re|windash: a',
    'F|i: a',
    'F|i|re: a',
    'F|base64|base64offset: a',
    'F|gt|lt: 5',
    'F|gt|wide: 5',
    'F|exists|contains: true',
    'F|exists|all: true',
    'F|fieldref|re: A',
    'F|hour|day: 3',
    'F|cidr|contains: 10.0.0.0/8',
    'F|all: a',
    "'|exists': true",
  ])('%s is refused: these do not go together', (selection) => {
    expect(selectionRefusal(selection)).toBe('modifiers_conflict')
  })

  it.each([
    'F|exists: maybe',
    'F|cidr: 10.0.0.0/33',
    'F|cidr: host',
    'F|hour: noon',
    'F|base64: "a*"',
    'F: []',
    'F:\n  - a\n  - null',
    'F|contains: null',
    'F|fieldref: "a*"',
  ])('%j is refused: the value does not fit', (selection) => {
    expect(selectionRefusal(selection)).toBe('value_invalid')
  })

  it('unknown modifiers are refused, also when they are nearly right', () => {
    expect(selectionRefusal('F|wind_ash: a')).toBe('modifier_unknown')
    expect(selectionRefusal('F|Contains: a')).toBe('modifier_unknown')
    expect(selectionRefusal('F|: a')).toBe('modifier_unknown')
  })
})

describe('keywords', () => {
  it('are looked for in every value, however deep, without regard to case', () => {
    expect(selects('- evil', { a: { b: ['x', 'so EVIL!'] } })).toBe(true)
    expect(selects('- evil', { evil: 'name of a field only' })).toBe(false)
    expect(selects('- "wget * | sh"', { cmd: 'wget http://x | sh' })).toBe(true)
    expect(selects('- 4625', { id: 4625 })).toBe(true)
  })

  it('must all be there with all, in whichever values', () => {
    expect(selects("'|all':\n  - one\n  - two", { a: 'one', b: 'two' })).toBe(true)
    expect(selects("'|all':\n  - one\n  - two", { a: 'one' })).toBe(false)
  })

  it('can be regular expressions', () => {
    expect(selects(String.raw`'|re': 'id=\d+'`, { a: 'x id=42' })).toBe(true)
    expect(selects(String.raw`'|re': 'id=\d+'`, { a: 'x id=' })).toBe(false)
  })

  it('stand beside maps in one list', () => {
    expect(selects('- F: 1\n- evil', { F: 1 })).toBe(true)
    expect(selects('- F: 1\n- evil', { G: 'evil' })).toBe(true)
  })
})

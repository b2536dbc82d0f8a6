import { describe, expect, it } from 'vitest'
import pico from 'picocolors'
import { runWith } from './cli.fixture.ts'
import type { Io } from './io.ts'
import { type Format, FORMATS, printList } from './output.ts'
import { fitText, safeJson, safeText, wrapText } from './terminal-text.ts'

/** What an attacker writes into a command line so that the analyst's terminal does something. */
const CORPUS: readonly [string, string][] = [
  ['clears the screen', '\u001B[2J\u001B[H'],
  ['retitles the window', '\u001B]0;pwned\u0007'],
  ['writes the clipboard (OSC 52)', '\u001B]52;c;cm0gLXJmIC8=\u0007'],
  ['makes a link that lies (OSC 8)', '\u001B]8;;http://evil\u001B\\safe\u001B]8;;\u001B\\'],
  ['asks the terminal to type an answer', '\u001B[6n\u001BP$q"p\u001B\\'],
  ['uses 8-bit controls', '\u009B31m\u009D0;x\u009C'],
  ['goes back over what was printed', 'rm -rf /\r ls -la  '],
  ['erases with backspaces', 'evil\b\b\b\bgood'],
  ['forges a line', 'ok\n2026-11-24 verified'],
  ['breaks lines in Unicode', 'a\u2028b\u2029c\u0085d\u000Bf\u000C'],
  ['reads backwards', 'photo\u202Egpj.exe'],
  ['isolates and overrides', '\u2066\u2067\u2068x\u2069\u202A\u202B\u202D\u202C\u200E\u200F\u061C'],
  ['hides between letters', 'pay\u200Bpal\u200C\u200D\u2060\uFEFF\u00AD'],
  ['writes in invisible tags', 'hi\u{E0041}\u{E0042}\u{E007F}'],
  ['annotates between lines', '\uFFF9a\uFFFAb\uFFFB'],
  ['sends lone surrogates', 'a\uD800b\uDFFF'],
  ['uses private characters that a font may draw as anything', '\uE000\u{F0000}'],
  ['deletes', '\u007F\u0000'],
]
const ACTS =
  // oxlint-disable-next-line no-control-regex -- the very thing that must not be there
  /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u00AD\u061C\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB\uD800-\uDFFF\uE000-\uF8FF]|[\u{E0000}-\u{E007F}\u{F0000}]/u

describe('text from a host', () => {
  it.each(CORPUS)('that %s is shown as an escape and does nothing', (_what, text) => {
    const shown = safeText(text)
    expect(shown).not.toMatch(ACTS)
    expect(shown).not.toContain('\n')
    expect(shown).not.toBe('')
    expect(shown.length, 'nothing is silently dropped').toBeGreaterThanOrEqual(Array.from(text).length)
  })

  it.each(CORPUS)('that %s means the same in JSON, and is harmless there', (_what, text) => {
    for (const indent of [undefined, 2]) {
      const json = safeJson({ [text]: [text] }, indent)
      expect(json.replaceAll('\n', '')).not.toMatch(ACTS)
      expect(JSON.parse(json)).toEqual({ [text]: [text] })
    }
  })

  it.each(FORMATS)('does nothing to a terminal in any form of output: %s', (format: Format) => {
    let out = ''
    const io = { out: (text: string) => (out += text), say: () => {}, columns: 100, colors: pico.createColors(false) }
    const rows = CORPUS.map(([, text]) => ({ text }))
    printList(io as unknown as Io, format, rows, {
      columns: [{ head: 'TEXT', cell: (row) => row.text, flexible: true }],
      raw: (row) => row.text,
      empty: '',
    })
    expect(out.replaceAll('\n', '')).not.toMatch(ACTS)
    const lines = out.trimEnd().split('\n').length
    if (format === 'ndjson' || format === 'raw') expect(lines).toBe(CORPUS.length)
    if (format === 'table') expect(lines).toBe(CORPUS.length + 1)
  })

  it('fits its table into a narrow terminal: first by leaving out what is optional, then by cutting', () => {
    const row = { id: 'a'.repeat(18), title: 'long '.repeat(20).trim(), note: 'n'.repeat(20), age: '5s ago' }
    const shown = (columns: number) => {
      let out = ''
      const io = { out: (text: string) => (out += text), say: () => {}, columns, colors: pico.createColors(false) }
      printList(io as unknown as Io, 'table', [row], {
        columns: [
          { head: 'ID', cell: ({ id }) => id },
          { head: 'TITLE', cell: ({ title }) => title, flexible: true },
          { head: 'NOTE', cell: ({ note }) => note, optional: true },
          { head: 'AGE', cell: ({ age }) => age },
        ],
        raw: ({ id }) => id,
        empty: '',
      })
      return out.trimEnd().split('\n')
    }
    for (const width of [60, 80, 100])
      for (const line of shown(width)) expect(line.length, String(width)).toBeLessThanOrEqual(width)
    expect(shown(100)[0]).toContain('NOTE')
    expect(shown(60)[0]).not.toContain('NOTE')
    expect(shown(60)[1]).toMatch(/^a{18} {2}long .*… {2}5s ago$/)
  })

  it('of ordinary languages stays as it is', () => {
    for (const text of ['/home/jürgen/Ünïcode', 'файл.txt', '文件', 'मुख्य', 'שלום', '🔥 fire', 'a'.normalize('NFD')])
      expect(safeText(text)).toBe(text)
  })

  it('cannot paint over other lines by stacking marks', () => {
    expect(Array.from(safeText(`a${'\u0301'.repeat(500)}b`)).length).toBeLessThan(12)
  })

  it('is cut to its column and says so, and wraps at spaces within the width', () => {
    expect(fitText('abcdef', 4)).toBe('abc…')
    expect(fitText('abcd', 4)).toBe('abcd')
    expect(wrapText('one two three', 8)).toEqual(['one two', 'three'])
    expect(wrapText('x'.repeat(10), 4)).toEqual(['xxxx', 'xxxx', 'xx'])
    for (const line of wrapText('a \u001B[2J b '.repeat(40), 30))
      expect(Array.from(line).length).toBeLessThanOrEqual(30)
  })
})

describe('an argument of the person', () => {
  it('is shown safely in the error that it causes', async () => {
    const env = { FIREBREAK_TOKEN: 'fb_pat_x' }
    const ran = await runWith(['commands', 'show', 'a\u001B[2Jb'], env, '/')
    expect(ran.code).toBe(2)
    expect(ran.err).not.toContain('\u001B')
  })
})

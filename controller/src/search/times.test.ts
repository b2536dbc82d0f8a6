import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseBound, parseMoment } from './times.ts'

const NOW = Date.parse('2026-11-24T12:34:56.789Z')

function span(text: string): readonly [string, string] | string {
  const moment = parseBound(text, NOW)
  return moment.ok
    ? [new Date(moment.value.fromMs).toISOString(), new Date(moment.value.toMs).toISOString()]
    : moment.why
}

describe('times in a query', () => {
  it.each([
    ['2026-11-24', '2026-11-24T00:00:00.000Z', '2026-11-25T00:00:00.000Z'],
    ['2026-02', '2026-02-01T00:00:00.000Z', '2026-03-01T00:00:00.000Z'],
    ['2026', '2026-01-01T00:00:00.000Z', '2027-01-01T00:00:00.000Z'],
    ['2026-11-24T12', '2026-11-24T12:00:00.000Z', '2026-11-24T13:00:00.000Z'],
    ['2026-11-24T12:00', '2026-11-24T12:00:00.000Z', '2026-11-24T12:01:00.000Z'],
    ['2026-11-24 12:00:01', '2026-11-24T12:00:01.000Z', '2026-11-24T12:00:02.000Z'],
    ['2026-11-24T12:00:01.5Z', '2026-11-24T12:00:01.500Z', '2026-11-24T12:00:01.501Z'],
    ['2026-11-24T12:00:01.123456789Z', '2026-11-24T12:00:01.123Z', '2026-11-24T12:00:01.124Z'],
    ['2026-11-24T12:00+01:00', '2026-11-24T11:00:00.000Z', '2026-11-24T11:01:00.000Z'],
    ['2026-11-24T12:00-0530', '2026-11-24T17:30:00.000Z', '2026-11-24T17:31:00.000Z'],
    ['now', '2026-11-24T12:34:56.789Z', '2026-11-24T12:34:56.790Z'],
    ['7d', '2026-11-17T12:34:56.789Z', '2026-11-17T12:34:56.790Z'],
    ['now-1M', '2026-10-24T12:34:56.789Z', '2026-10-24T12:34:56.790Z'],
    ['now-1d/d', '2026-11-23T00:00:00.000Z', '2026-11-24T00:00:00.000Z'],
    ['now/w', '2026-11-23T00:00:00.000Z', '2026-11-30T00:00:00.000Z'],
    ['now/d+6h', '2026-11-24T06:00:00.000Z', '2026-11-24T06:00:00.001Z'],
    ['2026-03-31||-1M', '2026-02-28T00:00:00.000Z', '2026-02-28T00:00:00.001Z'],
    ['2024-02-29||+1y/M', '2025-02-01T00:00:00.000Z', '2025-03-01T00:00:00.000Z'],
    ['1795500000000', '2026-11-24T06:00:00.000Z', '2026-11-24T06:00:00.001Z'],
  ])('takes %s for %s to %s, in UTC', (text, from, to) => {
    expect(span(text)).toEqual([from, to])
  })

  it.each([
    '',
    'yesterday',
    '2026-02-30',
    '2026-13',
    '2026-11-24T24:00',
    'now-',
    'now-7',
    'now-7d/',
    'now/q',
    'nowhere',
    '2026-11-24T12:00+99:00',
    '7 d',
    '99999999999999',
  ])('refuses %j and shows what a time looks like', (text) => {
    expect(span(text)).toMatch(/is not a time; a time looks like/)
  })

  it('refuses what the store cannot hold', () => {
    for (const text of ['1899', '2300-01-01', 'now-999999y']) expect(span(text)).toMatch(/1900 and 2299|is not a time/)
  })

  it('never throws, and never gives a span that ends before it begins', () => {
    const piece = fc.constantFrom(
      'now',
      '-',
      '+',
      '7',
      '/',
      'd',
      'M',
      'y',
      '999999',
      '||',
      '2026',
      '-02',
      'T',
      '12:00',
      'Z',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((parts) => parts.join('')),
        ),
        (text) => {
          const moment = parseMoment(text, NOW)
          if (moment.ok) expect(moment.value.toMs).toBeGreaterThan(moment.value.fromMs)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { correlationText, kindRule, runOf } from './correlate.fixture.ts'
import type { Firing } from './correlator.ts'

const BASE = 'rules: [a]\ngroup-by: [user]\ntimespan: 10s\n'
const counting = (condition: string) => correlationText(`type: event_count\n${BASE}condition: ${condition}`, ['a'])
const a = (more: Record<string, unknown> = {}) => ({ kind: 'a', user: 'u', ...more })
/** For each event, how many firings. */
const fired = (text: string, events: readonly (readonly [number, Record<string, unknown>])[]) => {
  const run = runOf(text)
  return events.map(([time, event]) => run.see(time, event).length)
}

describe('event_count', () => {
  it('fires when the count is reached, and names the events and the group', () => {
    const run = runOf(counting('{ gte: 3 }'))
    expect([run.see(1, a()), run.see(2, a()), run.see(3, a({ user: 'v' }))]).toEqual([[], [], []])
    expect(run.see(4, a())).toEqual<Firing[]>([
      expect.objectContaining({
        fromMs: 1_000,
        toMs: 4_000,
        events: 3,
        measured: 3,
        group: [{ field: 'user', value: 'u' }],
        refs: ['e0', 'e1', 'e3'],
      }),
    ])
  })

  it('counts what lies exactly a time span apart, and nothing that lies further', () => {
    expect(
      fired(counting('{ gte: 2 }'), [
        [0, a()],
        [10, a()],
        [20.001, a()],
      ]),
    ).toEqual([0, 1, 0])
  })

  it('slides: no boundary of the clock parts what is near', () => {
    expect(
      fired(counting('{ gte: 3 }'), [
        [8, a()],
        [12, a()],
        [17, a()],
        [19, a()],
      ]),
    ).toEqual([0, 0, 1, 1])
  })

  it.each([
    ['{ gt: 2 }', [0, 0, 1, 1]],
    ['{ gte: 2 }', [0, 1, 1, 1]],
    ['{ lt: 2 }', [1, 0, 0, 0]],
    ['{ lte: 2 }', [1, 1, 0, 0]],
    ['{ eq: 2 }', [0, 1, 0, 0]],
    ['{ neq: 2 }', [1, 0, 1, 1]],
    ['{ gt: 1, lte: 3 }', [0, 1, 1, 0]],
  ])('compares as %s says', (condition, expected) => {
    expect(
      fired(counting(condition), [
        [1, a()],
        [1, a()],
        [2, a()],
        [3, a()],
      ]),
    ).toEqual(expected)
  })

  it('counts several rules together, and events without the field as a group of their own', () => {
    const text = correlationText(
      'type: event_count\nrules: [a, b]\ngroup-by: [user]\ntimespan: 1m\ncondition: { gte: 2 }',
      ['a', 'b'],
    )
    expect(
      fired(text, [
        [1, a()],
        [2, { kind: 'b' }],
        [3, { kind: 'b', user: 'u' }],
        [4, { kind: 'a' }],
      ]),
    ).toEqual([0, 0, 1, 1])
  })

  it('takes a number and its text as one group', () => {
    expect(
      fired(counting('{ gte: 2 }'), [
        [1, a({ user: 0 })],
        [2, a({ user: '0' })],
      ]),
    ).toEqual([0, 1])
  })
})

describe('events out of order', () => {
  it('count with what is around them, whichever came first', () => {
    // 1, 8 and 5 are within ten seconds; 16 is not within ten seconds of 5.
    expect(
      fired(counting('{ gte: 3 }'), [
        [1, a()],
        [16, a()],
        [8, a()],
        [5, a()],
      ]),
    ).toEqual([0, 0, 0, 1])
  })

  it('give the same windows as in order', () => {
    const times = fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(times, fc.integer({ min: 2, max: 6 }), (given, least) => {
        const everFires = (list: readonly number[]) =>
          fired(
            counting(`{ gte: ${least} }`),
            list.map((time) => [time, a()] as const),
          ).some((count) => count > 0)
        expect(everFires(given)).toBe(everFires([...given].sort((one, other) => one - other)))
      }),
      { numRuns: 300 },
    )
  })

  it('are counted as late, and with nothing, when they come behind the bound', () => {
    const run = runOf(counting('{ gte: 2 }'), { latenessMs: 60_000 })
    const seen = [run.see(1_000, a()), run.see(940, a()), run.see(939.999, a()), run.see(941, a())]
    expect(seen.map((firings) => firings.length)).toEqual([0, 0, 0, 1])
    expect([...run.correlator.figures().values()]).toMatchObject([{ late: 1, events: 3 }])
  })
})

describe('values', () => {
  it('value_count counts different ones; of several fields, combinations; and nothing where a field is missing', () => {
    const one = correlationText(`type: value_count\n${BASE}condition: { field: ip, gte: 2 }`, ['a'])
    expect(
      fired(one, [
        [1, a({ ip: 'x' })],
        [2, a({ ip: 'x' })],
        [3, a()],
        [4, a({ ip: 'y' })],
      ]),
    ).toEqual([0, 0, 0, 1])
    const two = correlationText(`type: value_count\n${BASE}condition: { field: [ip, port], gte: 3 }`, ['a'])
    const at = (time: number, ip: string, port: number) => [time, a({ ip, port })] as const
    expect(fired(two, [at(1, 'x', 1), at(2, 'x', 2), at(3, 'x', 1), at(4, 'y', 1)])).toEqual([0, 0, 0, 1])
  })

  it('value_count forgets values that have left the window', () => {
    const text = correlationText(`type: value_count\n${BASE}condition: { field: ip, gte: 30 }`, ['a'])
    const run = runOf(text)
    const counts = Array.from({ length: 200 }, (_, n) => run.see(n / 2, a({ ip: n % 50 })).length)
    expect(counts.every((count) => count === 0)).toBe(true)
    const dense = Array.from({ length: 40 }, (_, n) => run.see(200 + n / 4, a({ ip: n })).length)
    expect(dense.indexOf(1)).toBe(29)
  })

  it('value_sum adds numbers and texts of numbers, and says what it could not count', () => {
    const run = runOf(correlationText(`type: value_sum\n${BASE}condition: { field: bytes, gt: 1000 }`, ['a']))
    const seen = [run.see(1, a({ bytes: 600 })), run.see(2, a({ bytes: 'many' })), run.see(3, a({ bytes: '400.5' }))]
    expect(seen.map((firings) => firings.length)).toEqual([0, 0, 1])
    expect(seen[2]?.[0]?.measured).toBe(1_000.5)
    expect([...run.correlator.figures().values()]).toMatchObject([{ uncounted: 1 }])
  })

  it('value_sum stays right while values of all sizes come and go', () => {
    const run = runOf(
      correlationText(
        'type: value_sum\nrules: [a]\ngroup-by: [user]\ntimespan: 100s\ncondition: { field: n, gte: 0 }',
        ['a'],
      ),
    )
    let last: readonly Firing[] = []
    for (let n = 0; n < 20_000; n++) last = run.see(n, a({ n: n % 2 === 0 ? 0.1 : 1e12 }))
    expect(last[0]?.measured).toBeCloseTo(51 * 1e12 + 50 * 0.1, 2)
  })

  it('value_avg compares the average', () => {
    const text = correlationText(`type: value_avg\n${BASE}condition: { field: n, gt: 500 }`, ['a'])
    expect(
      fired(text, [
        [1, a({ n: 400 })],
        [2, a({ n: 600 })],
        [3, a({ n: 501 })],
        [12, a({ n: 400 })],
      ]),
    ).toEqual([0, 0, 1, 1])
  })

  it('value_percentile compares the value at the percentile, the median where none is named', () => {
    const p90 = correlationText(`type: value_percentile\n${BASE}condition: { field: n, percentile: 90, gte: 91 }`, [
      'a',
    ])
    const run = runOf(p90)
    // Of 0..n it is 0.9 n: 91 is reached with 102.
    const seen = Array.from({ length: 110 }, (_, n) => run.see(1, a({ n })).length)
    expect(seen.indexOf(1)).toBe(102)
    const median = correlationText(`type: value_percentile\n${BASE}condition: { field: n, gte: 5 }`, ['a'])
    expect(
      fired(median, [
        [1, a({ n: 1 })],
        [2, a({ n: 8 })],
        [3, a({ n: 9 })],
      ]),
    ).toEqual([0, 0, 1])
  })

  it('value_percentile of what is no number compares how rare the value is', () => {
    const text = correlationText(
      'type: value_percentile\nrules: [a]\ngroup-by: [user]\ntimespan: 24h\ncondition: { field: image, lte: 1 }',
      ['a'],
    )
    const run = runOf(text)
    for (let n = 0; n < 100; n++) run.see(n, a({ image: 'bash' }))
    expect(run.see(200, a({ image: 'bash' }))).toEqual([])
    expect(run.see(201, a({ image: 'nc' })).map((firing) => firing.measured)).toEqual([100 / 102])
  })
})

describe('temporal', () => {
  const two = (type: string, condition = '') =>
    correlationText(`type: ${type}\nrules: [a, b]\ngroup-by: [user]\ntimespan: 10s${condition}`, ['a', 'b'])
  const b = (more: Record<string, unknown> = {}) => ({ kind: 'b', user: 'u', ...more })

  it('wants all rules within the time span, in any order, of one group', () => {
    expect(
      fired(two('temporal'), [
        [1, b()],
        [2, a({ user: 'v' })],
        [5, a()],
        [30, b()],
      ]),
    ).toEqual([0, 0, 1, 0])
  })

  it('takes a number of rules, or an expression over their names', () => {
    expect(fired(two('temporal', '\ncondition: { gte: 1 }'), [[1, b()]])).toEqual([1])
    expect(
      fired(two('temporal', '\ncondition: a and not b'), [
        [1, b()],
        [2, a()],
        [20, a()],
      ]),
    ).toEqual([0, 0, 1])
  })

  it('ordered wants them in the order written', () => {
    expect(
      fired(two('temporal_ordered'), [
        [1, b()],
        [2, a()],
        [5, b()],
        [30, a()],
        [41, b()],
      ]),
    ).toEqual([0, 0, 1, 0, 0])
  })

  it('ordered takes events of one time in either order, and sorts those that come late', () => {
    expect(
      fired(two('temporal_ordered'), [
        [1, b()],
        [1, a()],
      ]),
    ).toEqual([0, 1])
    expect(
      fired(two('temporal_ordered'), [
        [5, b()],
        [3, a()],
      ]),
    ).toEqual([0, 1])
    expect(
      fired(two('temporal_ordered'), [
        [3, b()],
        [5, a()],
      ]),
    ).toEqual([0, 0])
  })

  it('ordered fires for events that complete a row, not for those that come after it', () => {
    const three = correlationText('type: temporal_ordered\nrules: [a, b, c]\ngroup-by: [user]\ntimespan: 10s', [
      'a',
      'b',
      'c',
    ])
    const event = (kind: string) => ({ kind, user: 'u' })
    const kinds = ['a', 'c', 'b', 'a', 'c', 'b', 'c']
    expect(
      fired(
        three,
        kinds.map((kind, n) => [n, event(kind)] as const),
      ),
    ).toEqual([0, 0, 0, 0, 1, 0, 1])
  })

  it('ordered agrees with looking at every row of events', () => {
    const events = fc.array(fc.tuple(fc.integer({ min: 0, max: 12 }), fc.constantFrom('a', 'b', 'c')), {
      minLength: 1,
      maxLength: 14,
    })
    const text = correlationText('type: temporal_ordered\nrules: [a, b, c]\ngroup-by: [user]\ntimespan: 5s', [
      'a',
      'b',
      'c',
    ])
    fc.assert(
      fc.property(events, (given) => {
        const expected = given.map((_, now) => {
          const seen = given.slice(0, now + 1)
          const of = (kind: string) => seen.flatMap(([time, other], at) => (other === kind ? [{ time, at }] : []))
          return of('a').some((x) =>
            of('b').some((y) =>
              of('c').some(
                (z) => x.time <= y.time && y.time <= z.time && z.time - x.time <= 5 && [x.at, y.at, z.at].includes(now),
              ),
            ),
          )
        })
        const found = fired(
          text,
          given.map(([time, kind]) => [time, { kind, user: 'u' }] as const),
        )
        expect(found.map((count) => count > 0)).toEqual(expected)
      }),
      { numRuns: 500 },
    )
  })
})

describe('groups', () => {
  it('follow an alias to another field for each rule', () => {
    const text = correlationText(
      'type: temporal\nrules: [a, b]\ngroup-by: [ip]\ntimespan: 10s\naliases:\n  ip:\n    a: source.ip\n    b: destination.ip',
      ['a', 'b'],
    )
    const from = (ip: string) => ({ kind: 'a', source: { ip } })
    const to = (ip: string) => ({ kind: 'b', destination: { ip } })
    expect(
      fired(text, [
        [1, from('x')],
        [2, to('y')],
        [3, to('x')],
      ]),
    ).toEqual([0, 0, 1])
  })

  it('by machine take the id where an event does not say its name', () => {
    const text = correlationText(
      'type: event_count\nrules: [a]\ngroup-by: [ComputerName]\ntimespan: 10s\ncondition: { gte: 2 }',
      ['a'],
    )
    const on = (id: string) => ({ kind: 'a', host: { id } })
    expect(
      fired(text, [
        [1, on('h1')],
        [2, on('h2')],
        [3, on('h1')],
      ]),
    ).toEqual([0, 0, 1])
  })
})

describe('correlations of correlations', () => {
  const text = [
    `title: Guessed\nid: outer\ncorrelation:\n  type: temporal_ordered\n  rules: [many, b]\n  group-by: [user]\n  timespan: 10m\n`,
    `title: Many\nname: many\ncorrelation:\n  type: event_count\n  rules: [a]\n  group-by: [user, host.name]\n  timespan: 1m\n  condition:\n    gte: 3\n`,
    kindRule('a'),
    kindRule('b'),
  ].join('---\n')

  it('fire on what the inner one found, with its events, by their own grouping; the inner one stays silent', () => {
    const run = runOf(text)
    const seen = [1, 2, 3].map((time) => run.see(time, a({ host: { name: 'h' } })))
    expect(seen.flat()).toEqual([])
    expect(run.see(200, { kind: 'b', user: 'u' })).toMatchObject([
      { correlation: { id: 'outer' }, group: [{ field: 'user', value: 'u' }], refs: ['e0', 'e1', 'e2', 'e3'] },
    ])
    expect(run.plan.silent.size).toBe(2)
  })

  it('with generate raise what they build on as well', () => {
    const run = runOf(text.replace('timespan: 10m', 'timespan: 10m\n  generate: true'))
    expect([1, 2, 3].flatMap((time) => run.see(time, a())).map((firing) => firing.correlation.title)).toEqual(['Many'])
    // The rule under the inner one is still only for that.
    expect([...run.plan.silent].map((rule) => rule.name)).toEqual(['a'])
  })

  it('say how long an event may count after it came', () => {
    const { plan, correlator } = runOf(text, { latenessMs: 1_000 })
    expect(plan.rules.map((rule) => correlator.horizonOf(rule))).toEqual([661_000, 601_000])
  })
})

describe('clocks', () => {
  it.each([
    ['1970', 0],
    ['2262', 9_214_646_400],
  ])('of %s count like any other', (_year, from) => {
    expect(
      fired(counting('{ gte: 3 }'), [
        [from, a()],
        [from + 5, a()],
        [from + 10, a()],
        [from + 11, a()],
      ]),
    ).toEqual([0, 0, 1, 1])
  })

  it('that jump neither break a window nor keep it', () => {
    const run = runOf(counting('{ gte: 2 }'))
    const seen = [0, 9_214_646_400, 9_214_646_401, 1_000_000_000].map((time) => run.see(time, a()).length)
    expect(seen).toEqual([0, 0, 1, 0])
    expect([...run.correlator.figures().values()]).toMatchObject([{ late: 1, events: 2 }])
  })
})

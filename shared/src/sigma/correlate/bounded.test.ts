import { describe, expect, it } from 'vitest'
import { correlationText, runOf } from './correlate.fixture.ts'

const text = correlationText('type: event_count\nrules: [a]\ngroup-by: [user]\ntimespan: 1h\ncondition: { gte: 3 }', [
  'a',
])
const a = (user: unknown) => ({ kind: 'a', user })
const figuresOf = (run: ReturnType<typeof runOf>) => [...run.correlator.figures().values()]

describe('what is remembered', () => {
  it('is bounded by groups of a rule: the one that nothing came to for longest goes, and is counted', () => {
    const run = runOf(text, { windowsPerRule: 2 })
    for (const [time, user] of ['x', 'y', 'x', 'z', 'x', 'y'].entries()) run.see(time, a(user))
    expect(figuresOf(run)).toMatchObject([{ windows: 2, evictedWindows: 2, evictedEvents: 2, firings: 1 }])
    // y had to go for z, so its first event is forgotten.
    expect(run.see(7, a('y'))).toEqual([])
    expect(run.see(8, a('y'))).toHaveLength(1)
  })

  it('is bounded by groups of all rules, whichever rule the oldest is of', () => {
    const other =
      'title: D\nid: d\ncorrelation:\n  type: event_count\n  rules: [b]\n  group-by: [user]\n  timespan: 1h\n  condition: { gte: 3 }\n'
    const two = `${correlationText('type: event_count\nrules: [a]\ngroup-by: [user]\ntimespan: 1h\ncondition: { gte: 3 }', ['a', 'b'])}---\n${other}`
    const run = runOf(two, { windows: 3 })
    run.see(1, a('x'))
    for (const user of ['p', 'q', 'r']) run.see(2, { kind: 'b', user })
    expect(figuresOf(run)).toMatchObject([
      { windows: 0, evictedWindows: 1 },
      { windows: 3, evictedWindows: 0 },
    ])
  })

  it('is bounded by events of a window: the oldest go, and only those that would still have counted are counted', () => {
    const run = runOf(text, { eventsPerWindow: 100 })
    for (let n = 0; n < 1_000; n++) run.see(n, a('x'))
    expect(figuresOf(run)).toMatchObject([{ events: 100, evictedEvents: 900 }])
    const waiting = runOf(text, { eventsPerWindow: 100 })
    // A day apart: none is in the window of the next.
    for (let n = 0; n < 1_000; n++) waiting.see(n * 86_400, a('x'))
    expect(figuresOf(waiting)).toMatchObject([{ events: 1, evictedEvents: 0 }])
  })

  it('is bounded by events of all windows', () => {
    const run = runOf(text, { events: 50, eventsPerWindow: 40 })
    for (let n = 0; n < 1_000; n++) run.see(n, a(n % 20))
    expect(run.correlator.held.events).toBeLessThanOrEqual(50)
    const [figures] = figuresOf(run)
    expect((figures?.events ?? 0) + (figures?.evictedEvents ?? 0)).toBe(1_000)
  })

  it('counts right again in a window that has lost its oldest events', () => {
    const sum = correlationText(
      'type: value_sum\nrules: [a]\ngroup-by: [user]\ntimespan: 1h\ncondition: { field: n, gte: 0 }',
      ['a'],
    )
    const run = runOf(sum, { eventsPerWindow: 50 })
    let measured: number | undefined
    for (let n = 1; n <= 500; n++) measured = run.see(n, { kind: 'a', user: 'x', n })[0]?.measured
    expect(measured).toBe(((451 + 500) * 50) / 2)
  })

  it('is forgotten when nothing came for a time span and the lateness, by the clock of who received it', () => {
    const run = runOf(text, { latenessMs: 60_000 })
    run.see(0, a('x'), 1_000)
    run.correlator.expire((1_000 + 3_660) * 1_000)
    expect(run.correlator.held.windows).toBe(1)
    run.correlator.expire((1_000 + 3_661) * 1_000)
    expect(run.correlator.held).toEqual({ windows: 0, events: 0 })
    // Without evictions: it was too old to matter.
    expect(figuresOf(run)).toMatchObject([{ evictedWindows: 0 }])
  })
})

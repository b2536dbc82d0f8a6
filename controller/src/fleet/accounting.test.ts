import { randomUUID } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { examine } from './accounting.ts'

const said = (produced: number, spooled: number, dropped: number, acked?: number) =>
  ({
    epoch: randomUUID(),
    class: 'process',
    produced,
    spooled,
    dropped,
    ...(acked === undefined ? {} : { acked }),
  }) as const

/** A stream as both ends see it: some numbers are gaps, the agent was acked some time ago, more was acked since. */
const stream = fc
  .record({
    numbers: fc.array(fc.boolean(), { minLength: 1, maxLength: 400 }),
    acked: fc.nat(400),
    late: fc.nat(60),
    invalid: fc.nat(20),
  })
  .map(({ numbers, acked, late, invalid }) => {
    const here = Math.min(acked, numbers.length)
    const there = Math.max(0, here - late)
    const events = (from: number, to: number) => numbers.slice(from, to).filter(Boolean).length
    const taken = events(0, here)
    const bad = Math.min(invalid, taken)
    return {
      row: { acked_seq: here, stored: taken - bad, invalid: bad },
      count: said(numbers.length, events(there, numbers.length), numbers.length - events(0, numbers.length), there),
      isStill: here === there,
      onTheWay: here - there,
    }
  })

describe('accounting for events', () => {
  it('takes nothing that is on its way for missing or for counted twice, however late the word of the agent is', () => {
    fc.assert(
      fc.property(stream, ({ row, count }) => {
        expect(examine(count, row)).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })

  it('names every event that is missing or counted twice when nothing is on its way, however few', () => {
    fc.assert(
      fc.property(
        stream.filter(({ isStill }) => isStill),
        fc.integer({ min: 1, max: 500 }),
        ({ row, count }, events) => {
          expect(examine(count, { ...row, stored: row.stored - events })).toMatchObject({ kind: 'missing', events })
          expect(examine(count, { ...row, stored: row.stored + events })).toMatchObject({ kind: 'surplus', events })
        },
      ),
    )
  })

  it('knows an event again that was stored and lost by this controller, and one that went on in a later epoch', () => {
    expect(examine(said(10, 2, 1, 7), { acked_seq: 7, stored: 4, invalid: 0, damaged: 3 })).toBeUndefined()
    expect(examine({ ...said(10, 0, 1, 7), moved: 2 }, { acked_seq: 7, stored: 7, invalid: 0 })).toBeUndefined()
    expect(examine({ ...said(10, 0, 1, 7), moved: 2 }, { acked_seq: 5, stored: 5, invalid: 0 })).toMatchObject({
      kind: 'missing',
      events: 2,
    })
  })

  it('holds an agent that does not say what it was acked to no more than it can know', () => {
    expect(examine(said(100, 30, 0), { acked_seq: 80, stored: 80, invalid: 0 })).toBeUndefined()
    expect(examine(said(100, 10, 0), { acked_seq: 80, stored: 80, invalid: 0 })).toMatchObject({
      kind: 'missing',
      events: 10,
    })
  })

  it('notices a spool that went back in time', () => {
    expect(examine(said(60, 0, 0, 60), { acked_seq: 80, stored: 80, invalid: 0 })).toMatchObject({
      kind: 'rolled_back',
      events: 20,
    })
  })
})

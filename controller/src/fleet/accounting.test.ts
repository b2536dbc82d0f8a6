import { randomUUID } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { examine } from './accounting.ts'

const said = (produced: number, spooled: number, dropped: number) =>
  ({ epoch: randomUUID(), class: 'process', produced, spooled, dropped }) as const

describe('accounting for events', () => {
  it('is content whenever the agent lags behind the acks by what was acked since it spoke last', () => {
    fc.assert(
      fc.property(
        fc.nat(10_000),
        fc.nat(1_000),
        fc.nat(1_000),
        fc.nat(1_000),
        fc.nat(50),
        (acked, late, waiting, dropped, invalid) => {
          // The agent knows `acked - late` acked events.
          const known = Math.max(0, acked - late)
          const here = { acked_seq: acked, stored: Math.max(0, acked - invalid), invalid: Math.min(acked, invalid) }
          const spooled = acked - known + waiting
          expect(examine(said(known + spooled + dropped, spooled, dropped), here, known)).toBeUndefined()
        },
      ),
    )
  })

  it('names every event that is missing, however few', () => {
    fc.assert(
      fc.property(fc.nat(10_000), fc.integer({ min: 1, max: 500 }), fc.nat(100), (acked, lost, spooled) => {
        const here = { acked_seq: acked, stored: acked, invalid: 0 }
        expect(examine(said(acked + lost + spooled, spooled, 0), here, undefined)).toMatchObject({
          kind: 'missing',
          events: lost,
        })
      }),
    )
  })

  it('names events that are counted twice once the ack must have arrived', () => {
    expect(examine(said(100, 30, 0), { acked_seq: 80, stored: 80, invalid: 0 }, 80)).toMatchObject({
      kind: 'surplus',
      events: 10,
    })
    expect(examine(said(100, 30, 0), { acked_seq: 80, stored: 80, invalid: 0 }, 70)).toBeUndefined()
  })

  it('notices a spool that went back in time', () => {
    expect(examine(said(60, 0, 0), { acked_seq: 80, stored: 80, invalid: 0 }, undefined)).toMatchObject({
      kind: 'rolled_back',
      events: 20,
    })
  })
})

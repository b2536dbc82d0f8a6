import { expect, it } from 'vitest'
import { streamView } from './streams.ts'

const row = {
  agent_id: 'a'.repeat(26),
  hostname: 'web-1',
  epoch: 'e',
  class: 'process',
  invalid: 0,
  reported_dropped: 0,
  acked_seq: 0,
  updated_at: '2026-11-24T12:00:00.000Z',
  chain: null,
  moved: null,
}

it('shows an account that adds up while more comes than the host has told of', () => {
  const shown = streamView({ ...row, produced: 1009, stored: 1043, spooled: 20, dropped: 10 })
  expect(shown).toMatchObject({ produced: 1053, stored: 1043, spooled: 0, dropped: 10, unaccounted: 0 })
})

it('still shows what nobody can account for', () => {
  const shown = streamView({ ...row, produced: 100, stored: 80, spooled: 5, dropped: 10 })
  expect(shown).toMatchObject({ produced: 100, stored: 80, spooled: 5, dropped: 10, unaccounted: 5 })
})

it('shows an epoch that has ended whole, with what went on in a later one', () => {
  const shown = streamView({
    ...row,
    produced: 100,
    stored: 80,
    spooled: 0,
    dropped: 2,
    reported_dropped: 5,
    moved: 15,
  })
  expect(shown).toMatchObject({ produced: 100, stored: 80, spooled: 0, dropped: 5, moved: 15, unaccounted: 0 })
})

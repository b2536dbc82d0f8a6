import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { createBackoff } from './backoff.ts'

it('waits by chance below a ceiling that doubles, so that a fleet does not come back at once', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 40 }),
      (min, chances) => {
        let at = 0
        const backoff = createBackoff(min, 300_000, () => chances[at] ?? 0)
        for (at = 0; at < chances.length; at++) {
          const ceiling = Math.min(300_000, min * 2 ** at)
          const wait = backoff.next()
          expect(wait).toBe(Math.round((chances[at] ?? 0) * ceiling))
          expect(wait).toBeLessThanOrEqual(ceiling)
        }
      },
    ),
  )
})

it('spreads 10,000 hosts that lost the same controller evenly over the ceiling, and starts short again after a good session', () => {
  const waits = Array.from({ length: 10_000 }, () => {
    const backoff = createBackoff(1_000, 300_000)
    for (let i = 0; i < 5; i++) backoff.next()
    return backoff.next()
  })
  for (let second = 0; second < 32; second++) {
    const there = waits.filter((wait) => wait >= second * 1_000 && wait < (second + 1) * 1_000).length
    // 312 on average; six standard deviations to either side.
    expect(there).toBeGreaterThan(200)
    expect(there).toBeLessThan(425)
  }
  const backoff = createBackoff(1_000, 300_000, () => 1)
  for (let i = 0; i < 8; i++) backoff.next()
  backoff.reset()
  expect(backoff.next()).toBe(1_000)
})

import { expect, it } from 'vitest'
import { Doorman } from './doorman.ts'

it('lets a second’s worth in at once, and spreads a storm over the time that it takes to let all in', () => {
  let now = 0
  const doorman = new Doorman(50, () => now)
  const told = Array.from({ length: 200 }, () => doorman.knock())
  expect(told.filter((wait) => wait === 0)).toHaveLength(50)
  const later = told.filter((wait) => wait > 0)
  expect(Math.max(...later)).toBeLessThanOrEqual(4)
  expect(new Set(later).size).toBeGreaterThan(2)
  now = 1_000
  expect(Array.from({ length: 60 }, () => doorman.knock()).filter((wait) => wait === 0)).toHaveLength(50)
})

it('promises nobody a wait past a minute, however many come', () => {
  const doorman = new Doorman(
    1,
    () => 0,
    () => 1,
  )
  for (let i = 0; i < 10_000; i++) expect(doorman.knock()).toBeLessThanOrEqual(61)
})

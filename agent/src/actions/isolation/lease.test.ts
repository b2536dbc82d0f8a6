import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { expect, it } from 'vitest'
import { anchoredHere, holdFor, leftMs } from './lease.ts'

const HOUR = 3_600_000

it('counts on the clock since boot while the boot is the same, whatever the wall clock says', async () => {
  const clock = new FakeClock()
  const hold = holdFor(HOUR, clock, 'a')
  await clock.advance(600_000)
  clock.setWall(0)
  expect(leftMs(hold, clock, 'a')).toBe(HOUR - 600_000)
  await clock.advance(HOUR)
  expect(leftMs(hold, clock, 'a')).toBe(0)
})

it('counts the time that a reboot took', async () => {
  const before = new FakeClock()
  const hold = holdFor(HOUR, before, 'a')
  const after = new FakeClock(before.now() + 60_000)
  expect(leftMs(hold, after, 'b')).toBe(HOUR - 60_000)
  expect(leftMs(anchoredHere(hold, after, 'b'), after, 'b')).toBe(HOUR - 60_000)
})

it('is never made longer by a wall clock that was set back, over however many reboots', async () => {
  const clock = new FakeClock()
  let hold = holdFor(HOUR, clock, 'boot 0')
  for (let boot = 1; boot <= 5; boot++) {
    await clock.advance(60_000)
    hold = anchoredHere(hold, clock, `boot ${boot - 1}`)
    clock.setWall(0)
    hold = anchoredHere(hold, clock, `boot ${boot}`)
    expect(leftMs(hold, clock, `boot ${boot}`)).toBeLessThanOrEqual(HOUR - boot * 60_000)
  }
})

import { cpSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../../disk/temporary-folder.fake.ts'
import { contents, count, drain, event, openAt, segments } from './spool.fixture.ts'

const HOUR = 3_600_000
const body = 'z'.repeat(900)

it('gives up what is older than it keeps events, names when they happened, and keeps its own alerts ten times as long', async () => {
  const clock = new FakeClock()
  const began = clock.now()
  const spool = openAt(temporaryFolder(), clock, { max_age_hours: 2 })
  for (let i = 0; i < 5; i++) spool.event(event('process', `p${i}`))
  spool.event(event('alert', 'a'))
  spool.flush()
  await clock.advance(HOUR)
  spool.event(event('process', 'young'))
  spool.flush()
  expect(count(spool, 'process')).toMatchObject({ produced: 6, dropped: 0 })
  await clock.advance(1.5 * HOUR)
  expect(count(spool, 'process')).toMatchObject({ produced: 6, spooled: 1, dropped: 5 })
  const [batch] = drain(spool, 'process')
  expect(batch?.header.gaps).toEqual([{ from: 1, to: 5, reason: 'spool_aged', first_at: began, last_at: began }])
  expect(batch?.header.count).toBe(1)
  await clock.advance(17 * HOUR)
  expect(count(spool, 'alert')).toMatchObject({ produced: 1, dropped: 0 })
  await clock.advance(2 * HOUR)
  expect(count(spool, 'alert')).toMatchObject({ produced: 1, dropped: 1 })
  await spool.close()
}, 30_000)

it('counts no time in which the agent did not run or the machine slept', async () => {
  const path = temporaryFolder()
  const before = new FakeClock()
  const spool = openAt(path, before, { max_age_hours: 1 })
  spool.event(event('process', 'p'))
  await spool.close()
  const weeksLater = new FakeClock(before.now() + 500 * HOUR)
  const again = openAt(path, weeksLater, { max_age_hours: 1 })
  await weeksLater.advance(0.9 * HOUR)
  expect(count(again, 'process')).toMatchObject({ spooled: 1, dropped: 0 })
  await weeksLater.advance(0.2 * HOUR)
  expect(count(again, 'process')).toMatchObject({ spooled: 0, dropped: 1 })
  await again.close()
}, 30_000)

it('gives back what the file system misses, least important first, and holds no more while it is short', async () => {
  const clock = new FakeClock()
  let free = 50 * MiB
  const freeSpace = () => ({ free, total: 100 * MiB })
  const spool = openAt(temporaryFolder(), clock, { max_bytes: 4 * MiB, min_free_percent: 10 }, freeSpace)
  for (let i = 0; i < 1_000; i++) {
    spool.event(event('inventory', `i${i} ${body}`))
    if (i % 2 === 0) spool.event(event('process', `p${i} ${body}`))
    spool.flush()
  }
  await clock.advance(10_000)
  expect(count(spool, 'inventory').dropped).toBe(0)
  free = 9.5 * MiB
  await clock.advance(10_000)
  const { dropped, produced, spooled } = count(spool, 'inventory')
  expect(dropped).toBeGreaterThan(450)
  expect(dropped).toBeLessThan(750)
  expect(produced).toBe(spooled + dropped)
  expect(count(spool, 'process').dropped).toBe(0)
  expect([...contents(drain(spool, 'inventory')).values()].filter((text) => text === 'disk_low')).toHaveLength(dropped)
  await spool.close()
})

it('keeps the record of a drop before the events go: killed in between, nothing is uncounted', async () => {
  const path = temporaryFolder()
  const spool = openAt(path, new FakeClock(), { max_bytes: 400 * 1024, segment_bytes: 16 * 1024 })
  for (let i = 0; i < 100; i++) {
    spool.event(event('file', `f${i} ${body}`))
    spool.flush()
  }
  const whole = temporaryFolder()
  cpSync(path, whole, { recursive: true })
  for (let i = 0; i < 400; i++) {
    spool.event(event('file', `g${i} ${body}`))
    spool.flush()
  }
  const dropped = segments(path, spool, 'file')[0] ?? ''
  // As if the kill had come between the gap and the removal: what the gap replaces is still there.
  const killed = temporaryFolder()
  cpSync(path, killed, { recursive: true })
  for (const name of readdirSync(join(whole, spool.epoch, 'file')).filter((name) => name.endsWith('.seg')))
    if (join(path, spool.epoch, 'file', name) !== dropped)
      cpSync(join(whole, spool.epoch, 'file', name), join(killed, spool.epoch, 'file', name), { force: false })
  const after = openAt(killed, new FakeClock(), { max_bytes: 400 * 1024, segment_bytes: 16 * 1024 })
  expect(count(after, 'file')).toMatchObject({ produced: 500 })
  const seen = contents(drain(after, 'file'))
  expect([...seen.keys()]).toEqual(Array.from({ length: 500 }, (_, i) => i + 1))
  await Promise.all([spool.close(), after.close()])
  rmSync(killed, { recursive: true })
})

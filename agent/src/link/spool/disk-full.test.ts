import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FakeClock } from '@firebreak/shared/clock.fake.ts'
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { temporaryFolder } from '../../disk/temporary-folder.fake.ts'
import { freeSpaceOf } from './spool-limits.ts'
import { contents, count, drain, event, openAt } from './spool.fixture.ts'

const mounted: string[] = []
afterEach(() => {
  for (const path of mounted.splice(0)) execFileSync('umount', ['--lazy', path])
})

/** A real file system of so many bytes, of which nothing is shared with the machine. */
function smallDisk(bytes: number): string {
  const path = temporaryFolder()
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=700`, 'firebreak-test', path])
  mounted.push(path)
  return path
}

/** Somebody else takes every block that is left. */
function fill(disk: string): string {
  const path = join(disk, 'somebody-else')
  for (;;) {
    const { bavail, bsize } = statfsSync(disk)
    if (bavail === 0) return path
    writeFileSync(path, Buffer.alloc(bavail * bsize), { flag: 'a' })
  }
}

const body = 'z'.repeat(900)
const CONFIG = { max_bytes: 64 * MiB, segment_bytes: 64 * 1024, min_free_percent: 0 }

describe.runIf(process.platform === 'linux' && process.getuid?.() === 0)('on a disk that is full', () => {
  it('keeps what matters most by giving up the least, counts every event, and goes on when there is room', async () => {
    const disk = smallDisk(4 * MiB)
    const path = join(disk, 'spool')
    const spool = openAt(path, new FakeClock(), CONFIG, () => freeSpaceOf(disk))
    const made = { inventory: 0, process: 0, alert: 0 }
    for (let i = 0; i < 6_000; i++) {
      const eventClass = i % 100 === 0 ? 'alert' : i % 3 === 0 ? 'process' : 'inventory'
      spool.event(event(eventClass, `${eventClass}${++made[eventClass]} ${body}`))
      spool.flush()
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await spool.sync()
    expect(freeSpaceOf(disk).free).toBeLessThan(0.2 * MiB)
    for (const eventClass of EVENT_CLASSES) {
      const { produced, spooled, dropped } = count(spool, eventClass)
      expect(produced).toBe(spooled + dropped)
    }
    // 2,000 processes and 60 alerts fit; none of them was given up for inventory.
    expect(count(spool, 'alert')).toMatchObject({ produced: made.alert, dropped: 0 })
    expect(count(spool, 'process')).toMatchObject({ produced: made.process, dropped: 0 })
    expect(count(spool, 'inventory').dropped).toBeGreaterThan(1_000)
    // The way out: acks free the disk again, without anybody's help.
    for (const eventClass of EVENT_CLASSES) {
      const batches = drain(spool, eventClass)
      const seen = contents(batches)
      expect(seen.size).toBe(count(spool, eventClass).produced)
      const last = batches.at(-1)?.header.last_seq
      if (last !== undefined) expect(spool.ack({ epoch: spool.epoch, class: eventClass, seq: last })).toBe(true)
    }
    expect(freeSpaceOf(disk).free).toBeGreaterThan(3 * MiB)
    spool.event(event('inventory', 'after'))
    await spool.sync()
    expect([...contents(drain(spool, 'inventory')).values()]).toEqual(['after'])
    await spool.close()
  })

  it('that somebody else filled, counts what it could not take, breaks nothing, and resumes', async () => {
    const disk = smallDisk(4 * MiB)
    const path = join(disk, 'spool')
    const clock = new FakeClock()
    const spool = openAt(path, clock, CONFIG, () => freeSpaceOf(disk))
    for (let i = 1; i <= 100; i++) {
      spool.event(event('process', `p${i}`))
      spool.flush()
    }
    const other = fill(disk)
    const before = clock.now()
    await clock.advance(5_000)
    for (let i = 101; i <= 400; i++) {
      spool.event(event('process', `p${i} ${body}`))
      spool.flush()
      await spool.sync()
    }
    const full = count(spool, 'process')
    expect(full.produced).toBe(400)
    expect(full.spooled + full.dropped).toBe(400)
    expect(full.dropped).toBeGreaterThan(0)
    // A kill right here finds nothing broken.
    const killed = temporaryFolder()
    cpSync(path, killed, { recursive: true })
    const after = openAt(killed, new FakeClock(), CONFIG)
    const { produced, spooled, dropped } = count(after, 'process')
    expect(produced).toBe(spooled + dropped)
    await after.close()
    // Acks are taken while the disk is full.
    const [batch] = drain(spool, 'process')
    if (batch) expect(spool.ack({ epoch: spool.epoch, class: 'process', seq: batch.header.last_seq })).toBe(true)
    rmSync(other)
    spool.event(event('process', 'room again'))
    await spool.sync()
    const rest = contents(drain(spool, 'process'))
    expect([...rest.keys()].at(-1)).toBe(401)
    expect(rest.get(401)).toBe('room again')
    const gaps = [batch, ...drain(spool, 'process')].flatMap((one) => one?.header.gaps ?? [])
    for (const gap of gaps) expect(gap.first_at ?? before).toBeGreaterThanOrEqual(before)
    expect(count(spool, 'process').dropped).toBe(full.dropped)
    await spool.close()
  })

  it('that lets nothing be written any more, starts, sends what it holds and counts what comes', async () => {
    const disk = smallDisk(4 * MiB)
    const path = join(disk, 'spool')
    const spool = openAt(path, new FakeClock(), CONFIG, () => freeSpaceOf(disk))
    for (let i = 1; i <= 10; i++) spool.event(event('process', `p${i}`))
    await spool.close()
    execFileSync('mount', ['-o', 'remount,ro', disk])
    const again = openAt(path, new FakeClock(), CONFIG, () => freeSpaceOf(disk))
    const batches = drain(again, 'process')
    expect(contents(batches).size).toBe(10)
    expect(again.ack({ epoch: again.epoch, class: 'process', seq: 10 })).toBe(true)
    again.event(event('process', 'lost'))
    await again.sync()
    expect(count(again, 'process')).toMatchObject({ produced: 11, spooled: 0, dropped: 1 })
    execFileSync('mount', ['-o', 'remount,rw', disk])
    again.event(event('process', 'later'))
    await again.sync()
    expect([...contents(drain(again, 'process')).values()]).toEqual(['disk_failed', 'later'])
    await again.close()
  })

  it('starts on a disk without a free block, and frees it by itself', async () => {
    const disk = smallDisk(4 * MiB)
    const path = join(disk, 'spool')
    const spool = openAt(path, new FakeClock(), CONFIG, () => freeSpaceOf(disk))
    for (let i = 1; i <= 500; i++) {
      spool.event(event(i % 2 === 0 ? 'process' : 'file', `p${i} ${body}`))
      spool.flush()
    }
    await spool.close()
    fill(disk)
    const again = openAt(path, new FakeClock(), CONFIG, () => freeSpaceOf(disk))
    expect(count(again, 'process')).toMatchObject({ produced: 250, dropped: 0 })
    again.event(event('process', 'new'))
    await again.sync()
    const { produced, spooled, dropped } = count(again, 'process')
    expect([produced, spooled + dropped]).toEqual([251, 251])
    // Room came from the class that is worth less.
    expect(dropped).toBe(0)
    expect(count(again, 'file').dropped).toBeGreaterThan(0)
    expect([...contents(drain(again, 'process')).values()].at(-1)).toBe('new')
    await again.close()
  })
})

it('with segments that the disk does not give back any more, starts, counts them and loses nothing else', async () => {
  const path = temporaryFolder()
  const spool = openAt(path, new FakeClock(), { segment_bytes: 4 * 1024 })
  for (let i = 1; i <= 60; i++) {
    spool.event(event('file', `f${i} ${'y'.repeat(200)}`))
    spool.flush()
  }
  await spool.close()
  const dir = join(path, spool.epoch, 'file')
  const names = readdirSync(dir)
    .filter((name) => name.endsWith('.seg'))
    .sort()
  expect(names.length).toBeGreaterThan(3)
  // A folder under the name of a file: it opens, and every read of it fails (EISDIR), as on a bad block.
  const unreadable = join(dir, names[1] ?? '')
  const events = Number.parseInt(names[2] ?? '', 10) - Number.parseInt(names[1] ?? '', 10)
  rmSync(unreadable)
  mkdirSync(unreadable)
  const after = openAt(path, new FakeClock(), { segment_bytes: 4 * 1024 })
  const seen = contents(drain(after, 'file'))
  expect(seen.size).toBe(60)
  expect([...seen.values()].filter((text) => text === 'spool_damaged')).toHaveLength(events)
  expect(count(after, 'file')).toMatchObject({ produced: 60, dropped: events })
  await after.close()
})

it('with bits that flipped anywhere in its files, never crashes and never gives out a changed event', async () => {
  const path = temporaryFolder()
  const spool = openAt(path, new FakeClock(), { segment_bytes: 2 * 1024 })
  for (let i = 1; i <= 40; i++) {
    spool.event(event('file', `f${i}`))
    spool.flush()
  }
  await spool.close()
  const dir = join(path, spool.epoch, 'file')
  const names = readdirSync(dir)
    .filter((name) => name.endsWith('.seg'))
    .sort()
  let seed = 7
  const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below
  for (let round = 0; round < 30; round++) {
    const hurt = temporaryFolder()
    cpSync(path, hurt, { recursive: true })
    const file = join(hurt, spool.epoch, 'file', names[random(names.length)] ?? '')
    const bytes = readFileSync(file)
    const at = random(bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8))
    writeFileSync(file, bytes)
    const after = openAt(hurt, new FakeClock(), { segment_bytes: 2 * 1024 })
    const seen = contents(drain(after, 'file'))
    for (const [seq, text] of seen) expect([`f${seq}`, 'spool_damaged']).toContain(text)
    expect([...seen.values()].filter((text) => text === 'spool_damaged')).toHaveLength(1)
    const { produced, spooled, dropped } = count(after, 'file')
    expect(produced).toBe(spooled + dropped)
    await after.close()
  }
})

import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { EVENT_CLASSES, type EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../../disk/temporary-folder.fake.ts'
import { contents, count, drain, event, open, segments } from './spool.fixture.ts'

it('hands out every event once, in order and by class, and frees the disk below the ack', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  for (let i = 1; i <= 3_000; i++) spool.event(event('process', `p${i} ${'x'.repeat(100)}`))
  spool.event(event('file', 'f1'))
  await spool.sync()
  const sent = drain(spool, 'process')
  expect([...contents(sent).values()].map((text) => text.split(' ')[0])).toEqual(
    Array.from({ length: 3_000 }, (_, i) => `p${i + 1}`),
  )
  expect(Math.max(...sent.map((batch) => batch.header.count))).toBeLessThanOrEqual(1_000)
  expect(spool.next('process')).toBeUndefined()
  expect(spool.ack({ epoch: spool.epoch, class: 'process', seq: 3_000 })).toBe(true)
  expect(count(spool, 'process')).toMatchObject({ produced: 3_000, spooled: 0, dropped: 0 })
  expect(count(spool, 'file')).toMatchObject({ produced: 1, spooled: 1, dropped: 0 })
  expect(segments(path, spool, 'process').length).toBeLessThanOrEqual(1)
  await spool.close()
})

it('hands out nothing that a kill could still take back', async () => {
  const spool = open(temporaryFolder())
  spool.event(event('process', 'a'))
  expect(spool.next('process')).toBeUndefined()
  spool.flush()
  expect(spool.next('process')).toBeDefined()
  await spool.close()
})

it('takes the text of an event for the event, and holds some of them against what an event must be', async () => {
  const spool = open(temporaryFolder())
  const plain = event('process', 'plain ä')
  const odd = event('process', 'half of a pair \ud800')
  for (const one of [plain, odd]) spool.text('process', 'tested', JSON.stringify(one), () => one)
  spool.event(plain)
  for (let n = 0; n < 500; n++)
    spool.text('process', 'wrong', '{"wrong":true}', () => ({ ...plain, event: { ...plain.event, type: [] } }))
  await spool.sync()
  const [first, ...rest] = drain(spool, 'process').flatMap(({ lines }) =>
    lines.map((line) => Buffer.from(line).toString()),
  )
  expect(first).toBe(JSON.stringify(plain))
  expect(rest[0]).toBe(JSON.stringify({ ...odd, message: 'half of a pair \ufffd' }))
  expect(rest[1]).toBe(first)
  // The first hundred, and then each fiftieth.
  expect(count(spool, 'process')).toMatchObject({ produced: 503, dropped: 108 })
  await spool.close()
})

it('goes on with the next number and the same epoch after a restart, and sends again what was not acked', async () => {
  const path = temporaryFolder()
  const first = open(path)
  for (let i = 1; i <= 10; i++) first.event(event('network', `n${i}`))
  await first.sync()
  drain(first, 'network')
  first.ack({ epoch: first.epoch, class: 'network', seq: 4 })
  await first.close()
  const second = open(path)
  second.event(event('network', 'n11'))
  await second.sync()
  expect(second.epoch).toBe(first.epoch)
  const again = contents(drain(second, 'network'))
  expect([...again.keys()]).toEqual([5, 6, 7, 8, 9, 10, 11])
  expect(count(second, 'network')).toMatchObject({ produced: 11, spooled: 7, dropped: 0 })
  await second.close()
})

it('loses nothing that was written when the process is killed', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  for (let i = 1; i <= 50; i++) spool.event(event('alert', `a${i}`))
  await new Promise((resolve) => setTimeout(resolve, 20))
  const killed = temporaryFolder()
  cpSync(path, killed, { recursive: true })
  const after = open(killed)
  expect(count(after, 'alert')).toMatchObject({ produced: 50, spooled: 50 })
  await Promise.all([spool.close(), after.close()])
})

it('counts what collectors missed in numbers of their own, with the reason', async () => {
  const spool = open(temporaryFolder())
  spool.event(event('process', 'a'))
  spool.lost('process', 7, 'kernel_overflow')
  spool.lost('process', 2, 'kernel_overflow')
  spool.event(event('process', 'b'))
  await spool.sync()
  const [batch, ...rest] = drain(spool, 'process')
  expect(rest).toEqual([])
  expect(batch?.header).toMatchObject({
    first_seq: 1,
    last_seq: 11,
    count: 2,
    gaps: [{ from: 2, to: 10, reason: 'kernel_overflow' }],
  })
  expect(count(spool, 'process')).toMatchObject({ produced: 11, spooled: 2, dropped: 9 })
  spool.ack({ epoch: spool.epoch, class: 'process', seq: 5 })
  expect(count(spool, 'process')).toMatchObject({ produced: 11, spooled: 1, dropped: 9 })
  await spool.close()
})

it('turns an event that is not one, or is too large, into a gap with that reason', async () => {
  const spool = open(temporaryFolder())
  spool.event({ ...event('process', 'a'), nonsense: 1 } as Event)
  spool.event({
    ...event('process', 'b'),
    process: { args: Array.from({ length: 512 }, (_, i) => `${i}`.padEnd(32_000, 'y')) },
  })
  spool.event(event('process', 'half \ud800 pair'))
  await spool.sync()
  expect([...contents(drain(spool, 'process')).values()]).toEqual(['invalid', 'too_large', 'half \ufffd pair'])
  await spool.close()
})

it('drops the oldest of the least important class first, and every drop is a gap', async () => {
  const path = temporaryFolder()
  const config = { max_bytes: 400 * 1024, segment_bytes: 16 * 1024 }
  const spool = open(path, config)
  const body = 'z'.repeat(900)
  for (let i = 0; i < 300; i++) {
    spool.event(event('inventory', `i${i} ${body}`))
    if (i % 2 === 0) spool.event(event('process', `p${i} ${body}`))
    if (i % 20 === 0) await spool.sync()
  }
  await spool.sync()
  const inventory = count(spool, 'inventory')
  expect(inventory.dropped).toBeGreaterThan(0)
  expect(inventory.produced).toBe(inventory.spooled + inventory.dropped)
  expect(count(spool, 'process')).toMatchObject({ dropped: 0, spooled: 150 })
  const seen = [...contents(drain(spool, 'inventory')).values()]
  expect(seen.filter((text) => text === 'spool_full').length).toBe(inventory.dropped)
  expect(seen.length).toBe(300)
  const used = EVENT_CLASSES.flatMap((name) => segments(path, spool, name)).reduce(
    (sum, file) => sum + statSync(file).size,
    0,
  )
  expect(used).toBeLessThan(config.max_bytes + 2 * config.segment_bytes)
  await spool.close()
  const again = open(path, config)
  expect(count(again, 'inventory')).toEqual(inventory)
  await again.close()
})

it('tells what a failing disk did not take as soon as it takes something again, also when nothing more of that class comes', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  const broken = join(path, spool.epoch, 'file')
  rmSync(broken, { recursive: true })
  for (const message of ['a', 'b']) spool.event(event('file', message))
  await spool.sync()
  expect(drain(spool, 'file')).toEqual([])
  expect(count(spool, 'file')).toMatchObject({ produced: 2, dropped: 2 })
  mkdirSync(broken)
  spool.event(event('alert', 'another class'))
  await spool.sync()
  expect(contents(drain(spool, 'file'))).toEqual(
    new Map([
      [1, 'disk_failed'],
      [2, 'disk_failed'],
    ]),
  )
  expect(count(spool, 'file')).toMatchObject({ produced: 2, dropped: 2 })
  await spool.close()
})

it('keeps a tenth of the disk for what the agent itself raises', async () => {
  const path = temporaryFolder()
  const config = { max_bytes: 400 * 1024, segment_bytes: 16 * 1024 }
  const spool = open(path, config)
  const body = 'z'.repeat(900)
  for (let i = 0; i < 3; i++) spool.event(event('alert', `a${i} ${body}`))
  for (let i = 0; i < 1_000; i++) {
    spool.event(event('process', `p${i} ${body}`))
    if (i % 10 === 0) await spool.sync()
  }
  expect(count(spool, 'alert')).toMatchObject({ dropped: 0, spooled: 3 })
  expect(count(spool, 'process').dropped).toBeGreaterThan(0)
  const used = segments(path, spool, 'process').reduce((sum, file) => sum + statSync(file).size, 0)
  expect(used).toBeLessThanOrEqual(0.9 * config.max_bytes)
  await spool.close()
})

it('begins a new epoch and keeps the unsent events when the controller knows numbers that this disk never gave out', async () => {
  const spool = open(temporaryFolder())
  const before = spool.epoch
  for (let i = 1; i <= 3; i++) spool.event(event('process', `p${i}`))
  spool.lost('process', 2, 'collector_overflow')
  await spool.sync()
  await spool.resume([{ epoch: before, class: 'process', seq: 90 }])
  expect(spool.epoch).not.toBe(before)
  expect([...contents(drain(spool, 'process')).values()]).toEqual([
    'p1',
    'p2',
    'p3',
    'collector_overflow',
    'collector_overflow',
  ])
  expect(spool.ack({ epoch: before, class: 'process', seq: 90 })).toBe(true)
  expect(spool.ack({ epoch: spool.epoch, class: 'process', seq: 6 })).toBe(false)
  await spool.close()
})

it('begins a new epoch and keeps the unsent events when the controller has forgotten what it acked', async () => {
  const spool = open(temporaryFolder())
  const before = spool.epoch
  for (let i = 1; i <= 3; i++) spool.event(event('process', `p${i}`))
  await spool.sync()
  drain(spool, 'process')
  await spool.resume([{ epoch: before, class: 'process', seq: 2 }])
  expect(spool.epoch).toBe(before)
  await spool.resume([{ epoch: before, class: 'process', seq: 1 }])
  expect(spool.epoch).not.toBe(before)
  expect([...contents(drain(spool, 'process'))]).toEqual([[1, 'p3']])
  await spool.close()
})

it('begins a new epoch when it cannot know any more which numbers were given out', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  spool.event(event('process', 'a'))
  await spool.close()
  writeFileSync(join(path, spool.epoch, 'process', 'state.json'), '{"acked":')
  const after = open(path)
  expect(after.epoch).not.toBe(spool.epoch)
  expect(readdirSync(path).filter((name) => name.includes('-'))).toEqual([after.epoch])
  // What could be read goes on; how much was missing is not known, and said so.
  await after.sync()
  expect([...contents(drain(after, 'process')).values()]).toEqual(['epoch_lost', 'a'])
  expect(after.renewals).toMatchObject([{ from: spool.epoch, into: after.epoch, why: 'damaged' }])
  await after.close()
})

it('cut at any byte, keeps every whole record and counts the torn one', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  spool.event(event('file', 'first'))
  spool.event(event('file', 'second'))
  await spool.sync()
  const whole = statSync(segments(path, spool, 'file')[0] ?? '').size
  spool.event(event('file', 'third'))
  await spool.close()
  const file = segments(path, spool, 'file')[0] ?? ''
  const all = readFileSync(file)
  // Every byte of the header of the record, and every seventh of the rest.
  const sizes = Array.from({ length: all.length - whole + 1 }, (_, i) => whole + i)
  for (const size of sizes.filter((size) => size - whole <= 21 || size % 7 === 0 || size === all.length)) {
    const torn = temporaryFolder()
    cpSync(path, torn, { recursive: true })
    truncateSync(segments(torn, spool, 'file')[0] ?? '', size)
    const after = open(torn)
    after.event(event('file', 'next'))
    await after.sync()
    const expected =
      size === whole
        ? ['first', 'second', 'next']
        : ['first', 'second', size === all.length ? 'third' : 'spool_damaged', 'next']
    expect([...contents(drain(after, 'file')).values()]).toEqual(expected)
    const { produced, spooled, dropped } = count(after, 'file')
    expect(produced).toBe(spooled + dropped)
    await after.close()
  }
})

it('changed in the middle, loses only the record that was hit', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  for (const name of ['one', 'two', 'three']) spool.event(event('file', name))
  await spool.close()
  const file = segments(path, spool, 'file')[0] ?? ''
  const bytes = readFileSync(file)
  const hit = bytes.indexOf('two')
  bytes[hit] = 0x54
  writeFileSync(file, bytes)
  const after = open(path)
  expect([...contents(drain(after, 'file')).values()]).toEqual(['one', 'spool_damaged', 'three'])
  expect(count(after, 'file')).toMatchObject({ produced: 3, spooled: 2, dropped: 1 })
  await after.close()
})

it('changed while it runs, repairs the file when it comes to read it', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  for (const name of ['one', 'two', 'three']) spool.event(event('file', name))
  await spool.sync()
  const file = segments(path, spool, 'file')[0] ?? ''
  const bytes = readFileSync(file)
  bytes[bytes.indexOf('two')] = 0x54
  writeFileSync(file, bytes)
  await spool.resume([]) // a new connection: what was not acked is read from the disk
  expect([...contents(drain(spool, 'file')).values()]).toEqual(['one', 'spool_damaged', 'three'])
  expect(count(spool, 'file')).toMatchObject({ produced: 3, spooled: 2, dropped: 1 })
  await spool.close()
})

type Step =
  | { readonly do: 'event'; readonly class: EventClass; readonly size: number }
  | { readonly do: 'lost'; readonly class: EventClass; readonly count: number }
  | { readonly do: 'send' }
  | { readonly do: 'disconnect' }
  | { readonly do: 'kill'; readonly cut: number }

const steps = fc.array(
  fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({
        do: fc.constant('event' as const),
        class: fc.constantFrom(...EVENT_CLASSES),
        size: fc.nat(1_500),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('lost' as const),
        class: fc.constantFrom(...EVENT_CLASSES),
        count: fc.integer({ min: 1, max: 9 }),
      }),
    },
    { weight: 3, arbitrary: fc.constant({ do: 'send' as const }) },
    { weight: 1, arbitrary: fc.constant({ do: 'disconnect' as const }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), cut: fc.nat(400) }) },
  ),
  { minLength: 10, maxLength: 120 },
)

it('through any mixture of events, losses, acks, broken connections, kills and torn files every number is accounted for once', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (plan: readonly Step[]) => {
      const config = { max_bytes: 32 * 1024, segment_bytes: 2 * 1024 }
      let path = temporaryFolder()
      let spool = open(path, config)
      const stored = new Map<string, string>()
      let made = 0
      const flushed = new Map<string, number>()
      const send = async (acked: boolean) => {
        await spool.sync()
        for (const eventClass of EVENT_CLASSES)
          for (const file of segments(path, spool, eventClass))
            flushed.set(`${eventClass}/${basename(file)}`, statSync(file).size)
        for (const eventClass of EVENT_CLASSES) {
          for (const batch of drain(spool, eventClass)) {
            for (const [seq, text] of contents([batch])) {
              const key = `${eventClass}:${seq}`
              const before = stored.get(key)
              // Seen before: the same event, or it has been dropped meanwhile. Never another event under its number.
              if (before !== undefined && before !== text) expect(['spool_full', 'spool_damaged']).toContain(text)
              else stored.set(key, text)
            }
            if (acked)
              expect(spool.ack({ epoch: spool.epoch, class: eventClass, seq: batch.header.last_seq })).toBe(true)
          }
        }
      }
      for (const step of plan) {
        if (step.do === 'event') spool.event(event(step.class, `${made++} ${'m'.repeat(step.size)}`))
        else if (step.do === 'lost') spool.lost(step.class, step.count, 'collector_overflow')
        else if (step.do === 'send') await send(made % 3 !== 0)
        else if (step.do === 'disconnect') await spool.resume([])
        else {
          spool.flush()
          const next = temporaryFolder()
          cpSync(path, next, { recursive: true })
          const old = spool
          for (const eventClass of EVENT_CLASSES) {
            const file = segments(next, old, eventClass).at(-1)
            if (file === undefined) continue
            const floor = flushed.get(`${eventClass}/${basename(file)}`) ?? 0
            truncateSync(file, Math.max(floor, statSync(file).size - step.cut))
          }
          path = next
          spool = open(path, config)
          expect(spool.epoch).toBe(old.epoch)
          await old.close()
        }
        for (const { produced, spooled, dropped } of spool.counts()) {
          expect(spooled).toBeGreaterThanOrEqual(0)
          expect(produced).toBeGreaterThanOrEqual(spooled + dropped)
        }
      }
      await spool.resume([])
      await send(true)
      for (const { produced, spooled, class: eventClass } of spool.counts()) {
        expect(spooled).toBe(0)
        const numbers = [...stored.keys()].filter((key) => key.startsWith(`${eventClass}:`)).length
        expect(numbers).toBe(produced)
      }
      await spool.close()
    }),
    { numRuns: 25 },
  )
}, 60_000)

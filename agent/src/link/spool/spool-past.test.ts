import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../../disk/temporary-folder.fake.ts'
import { contents, count, drain, event, open } from './spool.fixture.ts'
import type { Cursor, Spool } from './spool.ts'

/** What a controller keeps: everything under its number, and where each stream stands. */
class Store {
  readonly events = new Map<string, string>()
  readonly #cursors = new Map<string, Cursor>()

  /** A connection: says where it stands, takes what comes, acks it. */
  async talk(spool: Spool, classes: readonly EventClass[] = ['process']): Promise<void> {
    await spool.resume([...this.#cursors.values()])
    spool.flush()
    for (const eventClass of classes) {
      for (const batch of drain(spool, eventClass)) {
        const { epoch, last_seq: seq, chain } = batch.header
        for (const [number, text] of contents([batch])) {
          const key = `${epoch}:${eventClass}:${number}`
          // One number, one event: whatever else comes under it is never stored over it.
          expect([undefined, text]).toContain(this.events.get(key))
          this.events.set(key, text)
        }
        const cursor = { epoch, class: eventClass, seq, ...(chain === undefined ? {} : { chain }) }
        this.#cursors.set(`${epoch}:${eventClass}`, cursor)
        expect(spool.ack(cursor)).toBe(true)
      }
    }
  }

  holds(text: string): boolean {
    return [...this.events.values()].includes(text)
  }
}

function say(spool: Spool, name: string, count: number): string[] {
  const said = Array.from({ length: count }, (_, i) => `${name}${i}`)
  for (const text of said) spool.event(event('process', text))
  spool.flush()
  return said
}

async function copyOf(path: string): Promise<string> {
  const copy = temporaryFolder()
  cpSync(path, copy, { recursive: true })
  return copy
}

it('put back from a snapshot, loses nothing that it made since, however much that is', async () => {
  for (const since of [3, 7, 40]) {
    const store = new Store()
    const path = temporaryFolder()
    const first = open(path)
    say(first, 'before', 5)
    await store.talk(first)
    await first.close()
    const snapshot = await copyOf(path)
    const future = open(path)
    const lost = say(future, 'future', 7)
    await store.talk(future)
    await future.close()
    // The machine runs on from the snapshot without a connection, and is restarted once.
    const back = open(snapshot)
    const made = say(back, 'again', since - 1)
    await back.close()
    const later = open(snapshot)
    made.push(...say(later, 'last', 1))
    await store.talk(later)
    for (const text of [...lost, ...made]) expect(store.holds(text)).toBe(true)
    expect(later.epoch).not.toBe(first.epoch)
    expect(later.renewals).toMatchObject([
      { from: first.epoch, into: later.epoch, why: since <= 7 ? 'ahead' : 'forked' },
    ])
    // Of the old epoch nothing is told any more: another past of this machine counted there.
    expect(later.closed()).toEqual([])
    await store.talk(later)
    expect(later.renewals).toHaveLength(1)
    await later.close()
  }
})

it('copied to a second machine, keeps both streams apart and loses nothing of either', async () => {
  const store = new Store()
  const path = temporaryFolder()
  const original = open(path)
  say(original, 'before', 20)
  await store.talk(original)
  await original.close()
  const a = open(path)
  const b = open(await copyOf(path))
  const texts: string[] = []
  for (let round = 0; round < 4; round++) {
    texts.push(...say(a, `a${round}-`, 3 + round), ...say(b, `b${round}-`, 5))
    await store.talk(round % 2 === 0 ? a : b)
    await store.talk(round % 2 === 0 ? b : a)
  }
  for (const text of texts) expect(store.holds(text)).toBe(true)
  expect(a.epoch).not.toBe(b.epoch)
  expect(a.renewals.length + b.renewals.length).toBe(1)
  for (const spool of [a, b]) expect(count(spool, 'process').spooled).toBe(0)
  await Promise.all([a.close(), b.close()])
})

it('copied with the very same counts on both sides, is still told apart', async () => {
  const store = new Store()
  const path = temporaryFolder()
  const original = open(path)
  say(original, 'before', 2)
  await store.talk(original)
  await original.close()
  const copy = await copyOf(path)
  const a = open(path)
  const fromA = say(a, 'a', 10)
  await store.talk(a)
  const b = open(copy)
  const fromB = say(b, 'b', 10)
  await b.close()
  const again = open(copy)
  await store.talk(again)
  for (const text of [...fromA, ...fromB]) expect(store.holds(text)).toBe(true)
  await Promise.all([a.close(), again.close()])
})

it('takes a restart, a kill and an ack that never arrived for no other past', async () => {
  const store = new Store()
  let path = temporaryFolder()
  let spool = open(path)
  for (let round = 0; round < 6; round++) {
    say(spool, `r${round}-`, 4)
    spool.lost('process', 3, 'kernel_overflow')
    spool.event({ ...event('process', 'x'), nonsense: 1 } as never)
    await store.talk(spool)
    say(spool, `unsent${round}-`, 2)
    if (round % 2 === 0) await spool.close()
    const next = await copyOf(path) // as a kill leaves it
    if (round % 2 === 1) await spool.close()
    path = next
    spool = open(path)
  }
  await store.talk(spool)
  expect(spool.renewals).toEqual([])
  await spool.close()
})

it('cannot be told apart by what a full or damaged disk has replaced, and begins no new epoch for it', async () => {
  const store = new Store()
  const path = temporaryFolder()
  const spool = open(path)
  say(spool, 'sent', 6)
  await store.talk(spool)
  await spool.sync()
  // Killed before the ack was remembered; one record that was sent is damaged.
  const killed = await copyOf(path)
  await spool.close()
  const dir = join(killed, spool.epoch, 'process')
  const name = readdirSync(dir).find((file) => file.endsWith('.seg')) ?? ''
  const bytes = readFileSync(join(dir, name))
  bytes[bytes.indexOf('sent3')] = 0x53
  writeFileSync(join(dir, name), bytes)
  const after = open(killed)
  say(after, 'later', 2)
  await store.talk(after)
  expect(after.renewals).toEqual([])
  expect(store.holds('later1')).toBe(true)
  // From here on it is told apart again.
  await after.close()
  const copy = await copyOf(killed)
  const one = open(killed)
  say(one, 'one', 3)
  await store.talk(one)
  const two = open(copy)
  const made = say(two, 'two', 3)
  await two.close()
  const again = open(copy)
  await store.talk(again)
  expect(again.renewals).toMatchObject([{ why: 'forked' }])
  for (const text of made) expect(store.holds(text)).toBe(true)
  await Promise.all([one.close(), again.close()])
})

it('says how the epoch ended that a restored controller had forgotten, and counts what went on', async () => {
  const spool = open(temporaryFolder())
  const epoch = spool.epoch
  for (let i = 0; i < 5; i++) spool.event(event('process', `p${i}`))
  spool.lost('process', 2, 'kernel_overflow')
  spool.flush()
  drain(spool, 'process')
  spool.ack({ epoch, class: 'process', seq: 3 })
  await spool.resume([{ epoch, class: 'process', seq: 1 }])
  expect(spool.renewals).toMatchObject([{ from: epoch, into: spool.epoch, why: 'controller_behind' }])
  const closed = spool.closed().find((one) => one.class === 'process')
  expect(closed).toEqual({ epoch, class: 'process', produced: 7, spooled: 0, dropped: 2, moved: 2, acked: 3 })
  expect(count(spool, 'process')).toMatchObject({ produced: 4, spooled: 2, dropped: 2 })
  await spool.close()
})

it('killed while it moves to a new epoch, still has the old one whole', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  say(spool, 'p', 10)
  await spool.close()
  // The successor was half written; its name was not in force yet.
  cpSync(join(path, spool.epoch), join(path, 'b0b0b0b0-0000-7000-8000-000000000000'), { recursive: true })
  const after = open(path)
  expect(after.epoch).toBe(spool.epoch)
  expect(contents(drain(after, 'process')).size).toBe(10)
  expect(readdirSync(path)).not.toContain('b0b0b0b0-0000-7000-8000-000000000000')
  await after.close()
})

it('whose numbers cannot be read any more, moves what can be read and says that something is missing', async () => {
  const path = temporaryFolder()
  const spool = open(path)
  say(spool, 'p', 10)
  spool.event(event('file', 'f'))
  await spool.close()
  writeFileSync(join(path, spool.epoch, 'process', 'state.json'), '')
  const after = open(path)
  after.flush()
  expect(after.epoch).not.toBe(spool.epoch)
  expect([...contents(drain(after, 'process')).values()]).toEqual([
    'epoch_lost',
    ...Array.from({ length: 10 }, (_, i) => `p${i}`),
  ])
  expect([...contents(drain(after, 'file')).values()]).toEqual(['epoch_lost', 'f'])
  await after.close()
  rmSync(path, { recursive: true })
})

it('counts no event as dropped that had arrived before it was given up', async () => {
  const path = temporaryFolder()
  const small = { max_bytes: 96 * 1024, segment_bytes: 4 * 1024 }
  const spool = open(path, small)
  const body = 'x'.repeat(900)
  for (let i = 0; i < 40; i++) {
    spool.event(event('process', `sent${i} ${body}`))
    spool.flush()
  }
  const sent = drain(spool, 'process').at(-1)?.header
  await spool.sync()
  // Killed before an ack came back; offline until the disk is full.
  const killed = await copyOf(path)
  await spool.close()
  const after = open(killed, small)
  for (let i = 0; i < 300; i++) {
    after.event(event('process', `offline${i} ${body}`))
    after.flush()
  }
  const before = count(after, 'process')
  expect(before.dropped).toBeGreaterThan(230)
  const seq = sent?.last_seq ?? 0
  await after.resume([{ epoch: after.epoch, class: 'process', seq, chain: sent?.chain ?? 0, events: 40 }])
  expect(after.renewals).toEqual([])
  const { produced, spooled, dropped, acked } = count(after, 'process')
  expect([produced, acked]).toEqual([340, 40])
  // produced = stored + spooled + dropped, to the last event.
  expect(produced).toBe(40 + spooled + dropped)
  await after.close()
})

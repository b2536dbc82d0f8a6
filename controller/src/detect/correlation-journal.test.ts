import { afterEach, beforeEach, expect, it } from 'vitest'
import { Site } from '../deciding.fixture.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { CorrelationJournal, type JournalEntry } from './correlation-journal.ts'

let site: Site
let store: StateStore

beforeEach(async () => {
  site = new Site()
  store = await openStateStore(site.path)
})
afterEach(async () => {
  await store.close()
  site.forget()
})
const entry = (n: number): JournalEntry => ({
  rule: 'r',
  timeMs: n,
  receivedMs: n,
  eventId: `e${n}`,
  fields: new Map<string, string | number>([
    ['user', 'ann'],
    ['bytes', n],
  ]),
})
async function readAll(journal: CorrelationJournal): Promise<{ entries: JournalEntry[]; damaged: string[] }> {
  const entries: JournalEntry[] = []
  const damaged: string[] = []
  await journal.read(
    (taken) => entries.push(...taken),
    (_id, why) => damaged.push(why),
  )
  return { entries, damaged }
}

it('gives back what it was given, in order, also to another one', async () => {
  const journal = new CorrelationJournal(store, 100)
  for (let n = 0; n < 10; n++)
    await store.write((tx) => journal.write(tx, [{ expiresMs: 1_000, entries: [entry(2 * n), entry(2 * n + 1)] }], 0))
  const other = new CorrelationJournal(store, 100)
  expect((await readAll(other)).entries).toEqual(Array.from({ length: 20 }, (_, n) => entry(n)))
  expect(other.kept).toBe(20)
})

it('keeps no more than it may: the oldest go, and it says how many', async () => {
  const journal = new CorrelationJournal(store, 10)
  const evicted: number[] = []
  for (let n = 0; n < 8; n++) {
    const part = { expiresMs: 1_000, entries: [entry(2 * n), entry(2 * n + 1)] }
    evicted.push(await store.write((tx) => journal.write(tx, [part], 0)))
  }
  expect(evicted).toEqual([0, 0, 0, 0, 0, 2, 2, 2])
  expect((await readAll(journal)).entries.map(({ timeMs }) => timeMs)).toEqual([6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
})

it('leaves out a row of a form that it does not know, and says so', async () => {
  const journal = new CorrelationJournal(store, 10)
  await store.write((tx) => journal.write(tx, [{ expiresMs: 1_000, entries: [entry(1)] }], 0))
  await store.write((tx) => tx.updateTable('correlation_journal').set({ version: 2 }).execute())
  expect(await readAll(journal)).toEqual({ entries: [], damaged: [expect.stringContaining('form 2')] })
})

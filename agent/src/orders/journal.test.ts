import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../disk/temporary-folder.fake.ts'
import { type Journal, openJournal } from './journal.ts'

function open(path: string, maxBytes = 64 * 1024, damages: string[] = []): Journal {
  return openJournal({ path, maxBytes, onDamage: (why) => damages.push(why) })
}

function file(): string {
  return join(temporaryFolder(), 'journal')
}

const id = (i: number) => `0190a000-0000-7000-8000-${String(i).padStart(12, '0')}`

/** One command from its coming to its end, with two receipts. */
function command(journal: Journal, i: number): void {
  const receipt = (nth: number, state: 'accepted' | 'verified') => ({
    t: 'receipt' as const,
    receipt: {
      receipt_seq: 2 * i - 2 + nth,
      sha256: String(i).padStart(64, '0'),
      cmd_id: id(i),
      state,
      envelope: { payloadType: 't', payload: 'x'.repeat(400), signatures: [{ keyid: 'k', sig: 's'.repeat(88) }] },
    },
  })
  const received = { cmd_id: id(i), type: 'isolate-host' as const, args: {}, sha256: '0'.repeat(64), at: i }
  journal.append([{ t: 'received', position: { lease: 1, seq: i }, command: received }])
  journal.append([{ t: 'started', cmd_id: id(i) }, receipt(1, 'accepted')])
  journal.append([{ t: 'done', cmd_id: id(i), effect: undefined }, receipt(2, 'verified')])
}

it('stays small however long it runs, and forgets neither its position nor what is not acked', () => {
  const path = file()
  const journal = open(path)
  let largest = 0
  for (let i = 1; i <= 400; i++) {
    command(journal, i)
    if (i < 390) journal.append([{ t: 'acked', receipt_seq: 2 * i }])
    largest = Math.max(largest, statSync(path).size)
  }
  // 256 finished commands are kept for repeats, and it is rewritten at twice their size; all 400 would be 1.2 MB in the end.
  expect(largest).toBeLessThan(900 * 1024)
  journal.close()
  const after = open(path)
  expect(after.position).toEqual({ lease: 1, seq: 400 })
  expect(after.lastReceipt.seq).toBe(800)
  expect([...after.unacked.keys()]).toEqual(Array.from({ length: 22 }, (_, i) => 779 + i))
  expect(after.acceptedSince('isolate-host', 301)).toBe(100)
  expect(after.commands.get(id(400))).toMatchObject({ stage: 'done' })
  expect(after.commands.has(id(1))).toBe(false)
  after.close()
})

it('tells of a record that was changed in the middle, and keeps the others', () => {
  const path = file()
  const journal = open(path)
  for (let i = 1; i <= 3; i++) command(journal, i)
  journal.close()
  const bytes = readFileSync(path)
  const hit = bytes.indexOf(`"t":"started","cmd_id":"${id(2)}"`)
  bytes[hit + 5] = 0x58
  writeFileSync(path, bytes)
  const damages: string[] = []
  const after = open(path, undefined, damages)
  expect(damages.length).toBe(1)
  expect(after.position).toEqual({ lease: 1, seq: 3 })
  expect(after.commands.get(id(2))).toMatchObject({ stage: 'done' })
  after.close()
})

it('takes a write that failed back, so that nothing half stays behind', () => {
  const path = file()
  let fail = false
  const journal = openJournal({
    path,
    onDamage() {},
    step(name) {
      if (fail && name.endsWith('written')) throw new Error('the disk is full')
    },
  })
  command(journal, 1)
  const before = readFileSync(path)
  fail = true
  expect(() => command(journal, 2)).toThrow('cannot append')
  expect(journal.position).toEqual({ lease: 1, seq: 1 })
  expect(readFileSync(path).equals(before)).toBe(true)
  fail = false
  command(journal, 2)
  expect(journal.position).toEqual({ lease: 1, seq: 2 })
  journal.close()
})

it('goes on in its old file when it cannot be shortened, and writes into no other file', () => {
  const path = file()
  const damages: string[] = []
  let fail = false
  const journal = openJournal({
    path,
    maxBytes: 4 * 1024,
    onDamage: (why) => damages.push(why),
    step(name) {
      if (fail && name === 'journal.rewrite.before') throw new Error('the disk is full')
    },
  })
  fail = true
  for (let i = 1; i <= 8; i++) command(journal, i)
  expect(damages.length).toBeGreaterThan(0)
  // Whoever opens a file now gets the number of a descriptor that was closed.
  const other = join(temporaryFolder(), 'other')
  const fd = openSync(other, 'w')
  for (let i = 9; i <= 12; i++) command(journal, i)
  expect(statSync(other).size).toBe(0)
  closeSync(fd)
  fail = false
  command(journal, 13)
  journal.close()
  const after = open(path)
  expect(after.position).toEqual({ lease: 1, seq: 13 })
  expect(after.lastReceipt.seq).toBe(26)
  after.close()
})

it('goes on in the new file when that has its name already but the folder could not be flushed', () => {
  const path = file()
  let fail = false
  const journal = openJournal({
    path,
    maxBytes: 4 * 1024,
    onDamage() {},
    step(name) {
      if (fail && name === 'journal.rewrite.done') throw new Error('the folder cannot be flushed')
    },
  })
  fail = true
  for (let i = 1; i <= 12; i++) command(journal, i)
  journal.close()
  const after = open(path)
  expect(after.position).toEqual({ lease: 1, seq: 12 })
  expect(after.commands.get(id(12))).toMatchObject({ stage: 'done' })
  after.close()
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { newHostRow } from '../store/state/new-host.ts'
import { openStateStore } from '../store/state/sqlite-store.ts'
import type { StateStore } from '../store/state/state-store.ts'
import { inventoryKinds, takeInventory } from './inventory.ts'

const AGENT = 'a'.repeat(26) as AgentId
let dir: string
let state: StateStore

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-inventory-'))
  state = await openStateStore(join(dir, 'state.db'))
  const host = { agentId: AGENT, publicKey: 'k', facts: { hostname: 'h' }, group: 'g', at: '' }
  await state.write((tx) => tx.insertInto('hosts').values(newHostRow(host)).execute())
})
afterEach(async () => {
  await state.close()
  rmSync(dir, { recursive: true, force: true })
})

interface Part {
  readonly change: 'present' | 'added' | 'changed' | 'removed' | 'complete'
  readonly key?: string
  readonly item?: Record<string, unknown>
  readonly snapshot?: string
  readonly items?: number
  readonly is_whole?: boolean
  readonly kind?: string
}
let minute = 0
const line = (part: Part, message = part.key) => {
  const at = new Date(Date.UTC(2026, 0, 1, 0, minute++)).toISOString()
  const inventory = { kind: 'packages', ...part }
  return JSON.stringify({
    '@timestamp': at,
    event: { kind: 'state', reason: 'why' },
    message,
    firebreak: { inventory },
  })
}
const take = (...lines: string[]) => state.write((tx) => takeInventory(tx, AGENT, Buffer.from(`${lines.join('\n')}\n`)))
const present = (key: string, snapshot: string, version = '1') =>
  line({ change: 'present', key, snapshot, item: { name: key, version } })
const complete = (snapshot: string, items: number, is_whole = true) =>
  line({ change: 'complete', snapshot, items, is_whole })
const kept = async () => {
  const rows = await state.db.selectFrom('inventory_items').selectAll().orderBy('key').execute()
  return rows.map(({ key, facts }) => `${key} ${String((JSON.parse(facts) as { version?: string }).version)}`)
}

it('keeps what a whole telling says, over several batches, and forgets what it does not say', async () => {
  await take(present('a', 's1'), present('b', 's1'))
  await take(present('c', 's1'), complete('s1', 3))
  expect(await kept()).toEqual(['a 1', 'b 1', 'c 1'])
  await take(present('a', 's2'), present('c', 's2', '2'), complete('s2', 2))
  expect(await kept()).toEqual(['a 1', 'c 2'])
  expect(await inventoryKinds(state.db, AGENT)).toMatchObject([
    { kind: 'packages', items: 2, is_whole: true, why: 'why' },
  ])
})

it('follows differences, the last word on a thing in a batch counting', async () => {
  await take(present('a', 's1'), present('b', 's1'), complete('s1', 2))
  await take(
    line({ change: 'added', key: 'c', item: { version: '1' } }),
    line({ change: 'removed', key: 'c', item: { version: '1' } }),
    line({ change: 'added', key: 'c', item: { version: '3' } }),
    line({ change: 'changed', key: 'a', item: { version: '2' } }),
    line({ change: 'removed', key: 'b', item: {} }),
  )
  expect(await kept()).toEqual(['a 2', 'c 3'])
})

it('says since when a thing is there and when it changed last', async () => {
  await take(present('a', 's1'), complete('s1', 1))
  const times = async () =>
    await state.db.selectFrom('inventory_items').select(['first_seen_at', 'changed_at']).executeTakeFirstOrThrow()
  const first = await times()
  await take(line({ change: 'changed', key: 'a', item: { version: '2' } }))
  const changed = await times()
  expect(changed.first_seen_at).toBe(first.first_seen_at)
  expect(changed.changed_at > first.changed_at).toBe(true)
  await take(present('a', 's2', '2'), complete('s2', 1))
  expect(await times()).toEqual(changed)
})

it('says when some of a telling was lost on the way', async () => {
  await take(present('a', 's1'), complete('s1', 3))
  expect(await inventoryKinds(state.db, AGENT)).toMatchObject([
    { items: 1, is_whole: false, why: expect.stringContaining('2 of 3 items did not arrive') },
  ])
  await take(complete('s2', 0, false))
  expect(await inventoryKinds(state.db, AGENT)).toMatchObject([{ items: 0, is_whole: false, why: 'why' }])
})

it('keeps so many things of one host and no more, and what is kept still changes', async () => {
  const few = (...lines: string[]) => state.write((tx) => takeInventory(tx, AGENT, Buffer.from(lines.join('\n')), 500))
  const all = Array.from({ length: 510 }, (_, n) => present(`p${String(n).padStart(6, '0')}`, 's1'))
  for (let at = 0; at < all.length; at += 100) await few(...all.slice(at, at + 100))
  await few(complete('s1', all.length), line({ change: 'changed', key: 'p000001', item: { version: '9' } }))
  const [kind] = await inventoryKinds(state.db, AGENT)
  expect(kind).toMatchObject({ items: 500, is_whole: false, why: expect.stringContaining('10 of 510') })
  expect((await kept())[1]).toBe('p000001 9')
  await few(line({ change: 'changed', key: 'p000002', item: { x: 'y'.repeat(9_000) } }))
  const long = await state.db
    .selectFrom('inventory_items')
    .select('facts')
    .where('key', '=', 'p000002')
    .executeTakeFirstOrThrow()
  expect(long.facts).toBe('{}')
})

import { afterEach, beforeEach, expect, it } from 'vitest'
import { takeInventory } from '../fleet/inventory.ts'
import { AGENT, type ApiUnderTest, fitsItsSchema, startApi } from './api.fixture.ts'

let door: ApiUnderTest
beforeEach(async () => {
  door = await startApi()
  await door.addHost(AGENT, 'web-1')
})
afterEach(async () => {
  await door.stop()
})

const url = `/api/v1/hosts/${AGENT}/inventory`
const told = (kind: string, change: string, key: string, item: object) =>
  JSON.stringify({
    '@timestamp': '2026-11-24T12:00:00.000Z',
    event: { kind: 'state' },
    message: `${key} in a line`,
    firebreak: { inventory: { kind, change, key, item, snapshot: 's' } },
  })

it('answers what a host has, in pages, found by what is in the line', async () => {
  const lines = ['a', 'b', 'C'].map((key) => told('packages', 'present', key, { name: key, version: '1' }))
  const all = [...lines, told('users', 'present', 'root', { name: 'root', uid: '0' })]
  await door.state.write((tx) => takeInventory(tx, AGENT, Buffer.from(all.join('\n'))))
  const kinds = await door.ask('viewer', { url })
  expect(kinds.json()).toEqual({
    kinds: [
      { kind: 'packages', items: 3, told_at: null, is_whole: false, why: null },
      { kind: 'users', items: 1, told_at: null, is_whole: false, why: null },
    ],
  })
  expect(fitsItsSchema(door.api, 'GET', '/api/v1/hosts/:agent_id/inventory', 200, kinds.json())).toEqual([])
  const first = await door.ask('viewer', { url: `${url}/packages?limit=2` })
  expect(fitsItsSchema(door.api, 'GET', '/api/v1/hosts/:agent_id/inventory/:kind', 200, first.json())).toEqual([])
  const page = first.json<{ items: { key: string; facts: object }[]; next: string }>()
  expect(page.items.map(({ key }) => key)).toEqual(['C', 'a'])
  expect(page.items[1]).toMatchObject({ label: 'a in a line', facts: { name: 'a', version: '1' } })
  const second = await door.ask('viewer', { url: `${url}/packages?limit=2&cursor=${page.next}` })
  expect(second.json()).toMatchObject({ items: [{ key: 'b' }], next: null })
  const found = await door.ask('viewer', { url: `${url}/packages?text=${encodeURIComponent('c IN a')}` })
  expect(found.json<{ items: { key: string }[] }>().items.map(({ key }) => key)).toEqual(['C'])
})

it('knows no host and no kind that there is not, and shows nothing without a token', async () => {
  expect((await door.ask('viewer', { url: `/api/v1/hosts/${'z'.repeat(26)}/inventory` })).statusCode).toBe(404)
  expect((await door.ask('viewer', { url: `${url}/nonsense` })).statusCode).toBe(400)
  expect((await door.api.inject({ url })).statusCode).toBe(401)
})

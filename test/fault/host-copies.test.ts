import { cpSync, mkdtempSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ControllerProcess } from './controller-process.ts'
import { joinedHost, Machine } from './real-wire.ts'

let dir: string
let controller: ControllerProcess
let joinString: string

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-copies-'))
  controller = await ControllerProcess.start(join(dir, 'controller'), {})
  joinString = await controller.ask<string>('join')
}, 60_000)
afterAll(async () => {
  await controller.kill()
  rmSync(dir, { recursive: true, force: true })
})

const joined = async (name: string) => await joinedHost(join(dir, name), controller.gatewayPort, joinString)
async function isDelivered(machine: Machine): Promise<void> {
  await expect.poll(() => machine.waiting(), { timeout: 15_000 }).toBe(0)
}

const storedOf = async (agentId: string) =>
  new Map(
    (await controller.ask<{ agent_id: string; epoch: string; class: string; stored: number }[]>('streams'))
      .filter((row) => row.agent_id === agentId && row.class === 'process')
      .map((row) => [row.epoch, row.stored]),
  )
const alarmsOf = async (agentId: string) =>
  (await controller.ask<{ rule_id: string; event_id: string }[]>('signals'))
    .filter(({ event_id }) => event_id.startsWith(agentId))
    .map(({ rule_id }) => rule_id)

it('keeps the events of a machine and of its copy apart, loses none of either, and names the key that both use', async () => {
  const original = await joined('original')
  const before = new Machine(original)
  before.say(20, 'copied')
  await isDelivered(before)
  const { epoch } = before.spool
  await before.end()
  const copy = join(dir, 'copy')
  cpSync(original, copy, { recursive: true })

  const a = new Machine(original)
  a.say(5, 'copied')
  await isDelivered(a)
  // While the first is connected; both have given the same numbers to events of their own.
  const b = new Machine(copy)
  b.say(8, 'copied')
  await isDelivered(b)
  a.say(3, 'copied')
  await expect.poll(() => a.link.state().connected, { timeout: 10_000 }).toBe(false)
  await b.end()
  await a.end()
  const again = new Machine(original)
  await isDelivered(again)
  expect(again.spool.epoch).toBe(epoch)
  expect(b.spool.epoch).not.toBe(epoch)
  expect(await storedOf(a.agentId)).toEqual(
    new Map([
      [epoch, 28],
      [b.spool.epoch, 8],
    ]),
  )
  await expect.poll(() => alarmsOf(a.agentId), { timeout: 10_000 }).toEqual(['host.cloned'])
  await again.end()
}, 60_000)

it('loses nothing of a host whose snapshot was put back, and says that it was', async () => {
  const stateDir = await joined('reverted')
  const first = new Machine(stateDir)
  first.say(10, 'copied')
  await isDelivered(first)
  await first.end()
  const snapshot = join(dir, 'snapshot')
  cpSync(stateDir, snapshot, { recursive: true })
  const hourAgo = Date.now() / 1_000 - 3_600
  utimesSync(join(snapshot, 'spool', 'alive'), hourAgo, hourAgo)
  const future = new Machine(stateDir)
  future.say(7, 'copied')
  await isDelivered(future)
  await expect.poll(() => future.link.state().connected).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, 700)) // one more word about itself
  await future.end()

  rmSync(stateDir, { recursive: true })
  cpSync(snapshot, stateDir, { recursive: true })
  utimesSync(join(stateDir, 'spool', 'alive'), hourAgo, hourAgo)
  const back = new Machine(stateDir)
  back.say(12, 'copied')
  await isDelivered(back)
  expect(await storedOf(back.agentId)).toEqual(
    new Map([
      [first.spool.epoch, 17],
      [back.spool.epoch, 12],
    ]),
  )
  await expect.poll(() => alarmsOf(back.agentId), { timeout: 10_000 }).toEqual(['host.reverted'])
  await back.end()
}, 60_000)

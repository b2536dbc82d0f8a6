import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { restoreBackup } from '@firebreak/controller/src/store/backup/restore-backup.ts'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ControllerProcess } from './controller-process.ts'
import { freePort } from './free-port.ts'
import { joinedHost, Machine } from './real-wire.ts'

let dir: string
let controller: ControllerProcess
let machine: Machine | undefined

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-restore-'))
})
afterEach(async () => {
  await machine?.end()
  await controller.kill()
  rmSync(dir, { recursive: true, force: true })
})

interface StreamRow {
  readonly epoch: string
  readonly class: string
  readonly stored: number
  readonly dropped: number
}
const streams = async () =>
  (await controller.ask<StreamRow[]>('streams'))
    .filter((row) => row.class === 'process')
    .map(({ epoch, stored, dropped }) => ({ epoch, stored, dropped }))

it('names and counts what a connected host had delivered after the backup to which its controller is set back', async () => {
  const flags = { 'gateway.port': await freePort(), 'ingest.block_wait_ms': 10 }
  const first = join(dir, 'first')
  controller = await ControllerProcess.start(first, flags)
  const joinString = await controller.ask<string>('join')
  const host = new Machine(await joinedHost(join(dir, 'host'), controller.gatewayPort, joinString))
  machine = host
  const delivered = async () => await expect.poll(() => host.waiting(), { timeout: 15_000 }).toBe(0)
  const { epoch } = host.spool
  host.say(50, 'before')
  await delivered()
  await controller.ask('backup')
  await expect
    .poll(async () => (await controller.ask<{ state: string }>('backup-made')).state, { timeout: 30_000 })
    .toBe('done')
  host.say(30, 'after')
  await delivered()
  await expect.poll(() => controller.ask('stored-events'), { timeout: 15_000 }).toBe(80)
  await controller.kill()

  // The host goes on all the time, and is let in under the same address by a controller that knows less than it has acked.
  const second = join(dir, 'second')
  await restoreBackup(join(first, 'backups', 'picture'), second, { force: false, now: () => Date.now() })
  controller = await ControllerProcess.start(second, flags)
  host.say(5, 'later')
  await expect.poll(async () => (await streams()).length, { timeout: 20_000 }).toBe(2)
  await delivered()
  const books = [
    { epoch, stored: 50, dropped: 30 },
    { epoch: host.spool.epoch, stored: 5, dropped: 0 },
  ]
  await expect.poll(streams, { timeout: 15_000 }).toEqual(books)
  await expect.poll(() => controller.ask('stored-events'), { timeout: 15_000 }).toBe(55)
  const named = async () => {
    const gaps = await controller.ask<{ from_seq: number; to_seq: number }[]>('gaps')
    return gaps.map(({ from_seq: from, to_seq: to, ...gap }) => ({ ...gap, events: to - from + 1 }))
  }
  const gap = { agent_id: host.agentId, epoch, class: 'process', reason: 'controller_restored', events: 30 }
  expect(await named()).toMatchObject([gap])
  await expect
    .poll(() => controller.ask('windows'), { timeout: 15_000 })
    .toContainEqual(
      expect.objectContaining({ agent_id: host.agentId, class: 'process', reason: 'controller_restored', events: 30 }),
    )
  const open = async () =>
    (await controller.ask<{ closed_at: string | null }[]>('differences')).filter(({ closed_at: at }) => at === null)
  expect(await open()).toEqual([])

  // What the host says again, and after another start, is the same gap.
  await controller.stop()
  controller = await ControllerProcess.start(second, flags)
  host.say(1, 'last')
  await delivered()
  await expect.poll(async () => (await streams()).at(-1)?.stored, { timeout: 15_000 }).toBe(6)
  expect(await named()).toMatchObject([gap])
  expect(await open()).toEqual([])
}, 120_000)

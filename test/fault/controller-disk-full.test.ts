import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { countStored } from '@firebreak/controller/src/store/telemetry/telemetry.rig.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import { ControllerProcess } from './controller-process.ts'
import { SmallDisk } from './small-disk.ts'

const AGENTS = 3
/** Little may wait, so that a telemetry store that takes nothing is felt soon. */
const FLAGS = {
  'ingest.backlog_batches': 16,
  'ingest.block_events': 500,
  'ingest.block_wait_ms': 20,
  // Nothing read from memory: what is stored afterwards was read again from the disk that had been full.
  'ingest.held_bytes': 0,
}
const SLOW = { timeout: 60_000, interval: 100 }

let dir: string
let disks: SmallDisk[]
let controller: ControllerProcess

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fb-full-'))
  // The telemetry store lies inside the state directory: each has a disk of its own here.
  disks = [SmallDisk.mount(dir, 96), SmallDisk.mount(join(dir, 'telemetry'), 256)]
})
afterEach(async () => {
  await controller.kill()
  for (const disk of disks.toReversed()) disk.unmount()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

type Part = { readonly ready: boolean; readonly why?: string }
const ready = () => controller.ask<{ readonly store: Part; readonly telemetry: Part }>('ready')
const isStopped = async () => /^firebreak_gateway_intake_stopped 1$/m.test(await controller.ask<string>('metrics'))

describe.each([
  ['state', 0, 'store'],
  ['telemetry store', 1, 'telemetry'],
] as const)('a controller whose %s has no disk left', (_, disk, part) => {
  it('acks nothing more, says so, and goes on by itself when there is room; nothing is lost or doubled', async () => {
    controller = await ControllerProcess.start(dir, FLAGS)
    const at = { host: '127.0.0.1', port: controller.gatewayPort }
    const joinString = await controller.ask<string>('join')
    const agents = Array.from({ length: AGENTS }, (_, i) => new SimulatedAgent(`full-${i}`))
    let produced = 0
    const produce = (count: number) => {
      for (const agent of agents) {
        for (let n = 0; n < count; n++) agent.produce('process', processEvent(produced++, agent.facts.hostname))
        agent.flush()
      }
    }
    for (const agent of agents) {
      agent.batchEvents = 100
      await agent.enrol(at, joinString)
      await agent.connect(at)
    }
    produce(500)
    await expect.poll(() => agents.every((agent) => agent.isDrained()), SLOW).toBe(true)
    await expect.poll(async () => (await controller.ask<unknown[]>('waiting')).length, SLOW).toBe(0)

    disks[disk]?.fill()
    const living = new AbortController()
    const alive = agents.map((agent) => stayConnected(agent, at, living.signal))
    produce(3_000)
    await expect.poll(isStopped, SLOW).toBe(true)
    await expect.poll(async () => (await ready())[part].ready, SLOW).toBe(false)
    const acked = () => agents.reduce((sum, agent) => sum + (agent.acks.at(-1)?.seq ?? 0), 0)
    const held = acked()
    await sleep(3_000)
    // The state may have taken a last batch between two looks.
    expect(acked() - held).toBeLessThanOrEqual(200)
    expect(agents.some((agent) => !agent.isDrained())).toBe(true)

    disks[disk]?.free()
    await expect.poll(() => agents.every((agent) => agent.isDrained()), SLOW).toBe(true)
    await expect.poll(async () => (await controller.ask<unknown[]>('waiting')).length, SLOW).toBe(0)
    await expect.poll(isStopped, SLOW).toBe(false)
    await expect.poll(async () => Object.values(await ready()).every((each) => each.ready), SLOW).toBe(true)
    const rows = await controller.ask<{ stored: number; dropped: number }[]>('streams')
    expect(rows.reduce((sum, row) => sum + row.stored, 0)).toBe(produced)
    expect(rows.every((row) => row.dropped === 0)).toBe(true)
    living.abort()
    await Promise.all(alive)
    for (const agent of agents) agent.disconnect()
    expect(await controller.ask('audit')).toMatchObject({ ok: true })
    await controller.stop()
    expect(await countStored(join(dir, 'telemetry'))).toEqual({ events: produced, distinct: produced })
    const file = new DatabaseSync(join(dir, 'state.db'), { readOnly: true })
    expect(file.prepare('pragma integrity_check').all()).toEqual([{ integrity_check: 'ok' }])
    file.close()
  }, 300_000)
})

async function stayConnected(
  agent: SimulatedAgent,
  at: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    if (!agent.isConnected()) await agent.connect(at).catch(() => undefined) // tried again
    await sleep(300)
  }
}

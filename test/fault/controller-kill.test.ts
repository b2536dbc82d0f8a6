import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { countStored } from '@firebreak/controller/src/store/telemetry/telemetry.rig.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import { ControllerProcess } from './controller-process.ts'

const AGENTS = 20
const CYCLES = 6
/** Blocks small and often, so that a kill meets each step of storing and moving. */
const FLAGS = { 'ingest.block_events': 300, 'ingest.block_wait_ms': 10 }

interface StreamRow {
  readonly agent_id: string
  readonly class: string
  readonly acked_seq: number
  readonly stored: number
  readonly dropped: number
}

let dir: string
let port: number
let controller: ControllerProcess | undefined
let next: ReturnType<typeof ControllerProcess.standby> | undefined

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-kill-'))
  port = await freePort()
})
afterAll(async () => {
  next?.cancel()
  await controller?.kill()
  rmSync(dir, { recursive: true, force: true })
})

describe('a controller that is killed while 20 agents send', () => {
  it('has stored every event that it acked, each once, and the numbers close', async () => {
    const at = { host: '127.0.0.1', port }
    const standby = () => ControllerProcess.standby(dir, { ...FLAGS, 'gateway.port': port })
    controller = await standby().go()
    const joinString = await controller.ask<string>('join')
    const agents = Array.from({ length: AGENTS }, (_, i) => new SimulatedAgent(`host-${i}`))
    for (const agent of agents) await agent.enrol(at, joinString)

    const acks = () => agents.reduce((sum, agent) => sum + agent.acks.length, 0)
    const stopping = new AbortController()
    const living = agents.map((agent, i) => live(agent, i, at, stopping.signal))
    for (let cycle = 0; cycle < CYCLES; cycle++) {
      next = standby()
      // By what was acked, not by time, so that a slow machine is killed amid work too.
      const enough = acks() + randomInt(30, 150)
      while (acks() < enough) await sleep(10)
      await controller.kill()
      controller = await next.go()
    }
    await sleep(500)
    stopping.abort()
    const produced = (await Promise.all(living)).reduce((sum, count) => sum + count, 0)
    await expect.poll(() => agents.every((agent) => agent.isDrained()), { timeout: 30_000 }).toBe(true)
    await expect.poll(async () => (await controller?.ask<unknown[]>('waiting'))?.length, { timeout: 30_000 }).toBe(0)

    const streams = await controller.ask<StreamRow[]>('streams')
    for (const agent of agents) {
      for (const said of agent.counts()) {
        const row = streams.find((stream) => stream.agent_id === agent.agentId && stream.class === said.class)
        expect(row).toMatchObject({ acked_seq: said.produced, dropped: said.dropped })
        expect(said.produced).toBe((row?.stored ?? 0) + said.spooled + said.dropped)
        const promised = agent.acks.filter((ack) => ack.class === said.class).map(({ seq }) => seq)
        expect(Math.max(...promised)).toBeLessThanOrEqual(row?.acked_seq ?? 0)
      }
    }
    expect(await controller.ask('audit')).toMatchObject({ ok: true })
    for (const agent of agents) agent.disconnect()
    await controller.stop()
    controller = undefined
    expect(await countStored(join(dir, 'telemetry'))).toEqual({ events: produced, distinct: produced })
    expect(produced).toBeGreaterThan(1_000)
    process.stdout.write(`killed ${CYCLES} times, ${produced} events, each stored once\n`)
  }, 150_000)
})

/** Sends, loses and reconnects until it is told to stop. Returns how many events it made. */
async function live(
  agent: SimulatedAgent,
  i: number,
  at: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<number> {
  let events = 0
  agent.batchEvents = 50
  for (let n = 0; !signal.aborted; n++) {
    if (!agent.isConnected()) await agent.connect(at).catch(() => sleep(randomInt(50, 200)))
    for (let k = 0; k < 10 && agent.isConnected(); k++)
      agent.produce(k % 4 === 0 ? 'file' : 'process', processEvent(events++, `host-${i}`))
    if (n % 10 === 0) agent.lose('file', 3)
    agent.flush()
    await sleep(randomInt(50, 150))
  }
  while (!agent.isConnected()) await agent.connect(at).catch(() => sleep(100))
  agent.flush()
  return events
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => {
    server.close(resolve)
  })
  return typeof address === 'object' && address !== null ? address.port : 0
}

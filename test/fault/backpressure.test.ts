import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { countStored } from '@firebreak/controller/src/store/telemetry/telemetry.rig.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { percentile } from '../bench/bench.ts'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import { ControllerProcess } from './controller-process.ts'

const FLOODER = fileURLToPath(new URL('flooder-child.ts', import.meta.url))
interface Flooded {
  readonly produced: number
  readonly acked: number
  readonly seconds: number
  readonly connected: boolean
}

let dir: string
let controller: ControllerProcess
let at: { readonly host: string; readonly port: number }
let joinString: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fb-pressure-'))
})
afterEach(async () => {
  await controller.kill()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

async function start(flags: Readonly<Record<string, unknown>>): Promise<void> {
  controller = await ControllerProcess.start(dir, flags)
  at = { host: '127.0.0.1', port: controller.gatewayPort }
  joinString = await controller.ask<string>('join')
}

async function member(name: string): Promise<SimulatedAgent> {
  const agent = new SimulatedAgent(name)
  await agent.enrol(at, joinString)
  await agent.connect(at)
  return agent
}

const ackedOf = (agent: SimulatedAgent) => agent.acks.at(-1)?.seq ?? 0
const rssMb = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${controller.pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024

/** A batch of ten events every 100 ms; how long each ack takes, ms. */
async function latencies(agents: readonly SimulatedAgent[], forMs: number): Promise<number[]> {
  const taken: number[] = []
  const end = performance.now() + forMs
  const one = async (agent: SimulatedAgent, delay: number) => {
    await sleep(delay)
    while (performance.now() < end) {
      const goal = ackedOf(agent) + 10
      for (let n = 0; n < 10; n++) agent.produce('process', processEvent(n, agent.facts.hostname))
      const sent = performance.now()
      agent.flush()
      while (ackedOf(agent) < goal) await sleep(1)
      taken.push(performance.now() - sent)
      await sleep(Math.max(0, 100 - (performance.now() - sent)))
    }
  }
  await Promise.all(agents.map((agent, i) => one(agent, i * 20)))
  return taken
}

describe('an agent that floods', () => {
  it.each([
    ['keeps to its credit', false],
    ['has never heard of credit', true],
  ])(
    'and %s is held to its rate, and the others wait at most twice as long',
    async (_, greedy) => {
      const RATE = 5_000
      await start({ 'gateway.events_per_agent_per_s': RATE })
      const others = await Promise.all(Array.from({ length: 5 }, (_, i) => member(`good-${i}`)))
      const flooder = fork(FLOODER, [String(at.port), joinString, greedy ? 'greedy' : 'polite'])
      try {
        await once(flooder, 'message')
        await latencies(others, 1_500)
        const before = await latencies(others, 4_000)
        flooder.send('flood')
        const during = await latencies(others, 4_000)
        const reported = once(flooder, 'message')
        flooder.send('report')
        const [{ produced, acked, seconds, connected }] = (await reported) as [Flooded]

        expect(produced / seconds).toBeGreaterThanOrEqual(100_000)
        // A second's worth may come at once, and the last batch may overdraw it.
        expect(acked).toBeLessThanOrEqual(RATE * (seconds + 1) + 2_000)
        // It gets on, as far as the machine does.
        expect(acked).toBeGreaterThan((RATE * seconds) / 10)
        expect(connected).toBe(true)
        const [p50, p50Flooded] = [percentile(before, 0.5), percentile(during, 0.5)]
        process.stdout.write(
          `ack p50 ${p50.toFixed(1)} -> ${p50Flooded.toFixed(1)} ms, p95 ${percentile(before, 0.95).toFixed(1)} -> ` +
            `${percentile(during, 0.95).toFixed(1)} ms; flooder ${Math.round(acked / seconds)} of ${Math.round(produced / seconds)}/s\n`,
        )
        // Below some milliseconds it is the scheduler of a small machine that is measured.
        expect(p50Flooded).toBeLessThanOrEqual(2 * Math.max(p50, 10))
        for (const agent of others) agent.disconnect()
      } finally {
        flooder.kill()
      }
    },
    240_000,
  )
})

describe('a telemetry store that is slow', () => {
  it('makes agents keep their events, costs no memory, lets receipts and confirmations pass, and all is stored in the end', async () => {
    await start({
      'ingest.backlog_batches': 24,
      'ingest.block_events': 1_000,
      'ingest.block_wait_ms': 10,
      'gateway.events_per_agent_per_s': 100_000,
    })
    const agents = await Promise.all(Array.from({ length: 4 }, (_, i) => member(`slow-${i}`)))
    for (const agent of agents) agent.batchEvents = 200
    const total = 20_000
    await controller.ask('slow-store')
    await sleep(500)
    const before = rssMb()
    for (const agent of agents) {
      for (let n = 0; n < total / agents.length; n++) agent.produce('process', processEvent(n, agent.facts.hostname))
      agent.flush()
    }
    const acked = () => agents.reduce((sum, agent) => sum + ackedOf(agent), 0)
    await expect.poll(() => agents.every((agent) => agent.credit?.events === 1), { timeout: 20_000 }).toBe(true)
    const early = acked()
    let slowest = 0
    for (let i = 0; i < 20; i++) {
      const asked = performance.now()
      await agents[0]?.confirm()
      slowest = Math.max(slowest, performance.now() - asked)
      await sleep(100)
    }
    // It goes on, as fast as the store does and no faster.
    expect(acked()).toBeLessThan(total)
    expect(acked() - early).toBeLessThan(total / 2)
    expect(slowest).toBeLessThan(500)
    expect(rssMb() - before).toBeLessThan(200)
    await controller.ask('fast-store')
    await expect.poll(() => agents.every((agent) => agent.isDrained()), { timeout: 30_000 }).toBe(true)
    await expect.poll(async () => (await controller.ask<unknown[]>('waiting')).length, { timeout: 30_000 }).toBe(0)
    expect(agents.every((agent) => agent.isConnected())).toBe(true)
    for (const agent of agents) agent.disconnect()
    await controller.stop()
    expect(await countStored(join(dir, 'telemetry'))).toEqual({ events: total, distinct: total })
  }, 240_000)
})

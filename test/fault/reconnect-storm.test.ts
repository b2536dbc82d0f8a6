import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { percentile } from '../bench/bench.ts'
import { Refused, SimulatedAgent } from '../fleet/simulated-agent.ts'
import { ControllerProcess } from './controller-process.ts'
import { freePort } from './free-port.ts'

const AGENTS = 200
const RATE = 40

let dir: string
let controller: ControllerProcess | undefined

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fb-storm-'))
})
afterAll(async () => {
  await controller?.kill()
  rmSync(dir, { recursive: true, force: true })
}, 60_000)

it('lets 200 agents that come at once in at its rate, each told when to come again, while it serves those that are in', async () => {
  const at = { host: '127.0.0.1', port: await freePort() }
  const flags = { 'gateway.port': at.port, 'gateway.connections_per_address_per_s': 5_000 }
  controller = await ControllerProcess.start(dir, { ...flags, 'gateway.entries_per_s': 5_000 })
  const joinString = await controller.ask<string>('join')
  const agents = Array.from({ length: AGENTS }, (_, i) => new SimulatedAgent(`host-${i}`))
  for (let i = 0; i < AGENTS; i += 20)
    await Promise.all(agents.slice(i, i + 20).map((agent) => agent.enrol(at, joinString)))
  await controller.kill()
  controller = await ControllerProcess.start(dir, { ...flags, 'gateway.entries_per_s': RATE })

  const began = performance.now()
  const entered: number[] = []
  let tries = 0
  /** Handshakes that a slow machine did not get through in their time. */
  let lost = 0
  const come = async (agent: SimulatedAgent) => {
    for (let mine = 0; ; mine++) {
      tries++
      try {
        await agent.connect(at)
        entered.push(performance.now() - began)
        return
      } catch (thrown) {
        // As agents do: the time that they were told and a chance part of a second; where nobody answered in time, longer each time.
        const told =
          thrown instanceof Refused && thrown.code === 'too_many'
            ? (thrown.retryAfterS ?? 0) + Math.random()
            : undefined
        if (told === undefined) lost++
        await sleep((told ?? Math.random() * Math.min(16, 2 ** mine)) * 1_000)
      }
    }
  }
  const first = agents[0]
  if (!first) throw new Error('no agents')
  await come(first)
  const storm = Promise.all(agents.slice(1).map(come))
  storm.catch(() => undefined) // told below
  const answers: number[] = []
  const over = new AbortController()
  const end = () => over.abort()
  void storm.then(end, end)
  while (!over.signal.aborted) {
    const asked = performance.now()
    await first.confirm()
    answers.push(performance.now() - asked)
    await sleep(50)
  }
  await storm
  const seconds = Math.max(...entered) / 1_000
  expect(agents.every((agent) => agent.isConnected())).toBe(true)
  // From the start on, so that a slow machine, which lets many that were admitted apart finish together, breaks no promise.
  for (let until = 0.5; until < seconds; until += 0.5) {
    const within = entered.filter((ms) => ms < until * 1_000).length
    expect(within).toBeLessThanOrEqual(RATE * (until + 1) + 5)
  }
  expect(seconds).toBeLessThan(60)
  // A herd would knock at every second: each waits for its time and finds the door open after a few.
  expect((tries - lost) / AGENTS).toBeLessThan(5)
  process.stdout.write(
    `${AGENTS} agents in after ${seconds.toFixed(1)} s with ${(tries / AGENTS).toFixed(1)} tries each, ${lost} lost; ` +
      `confirmations meanwhile p95 ${percentile(answers, 0.95).toFixed(0)} ms\n`,
  )
  expect(percentile(answers, 0.5)).toBeLessThan(1_000)
  expect(percentile(answers, 0.95)).toBeLessThan(5_000)
  for (const agent of agents) agent.disconnect()
}, 240_000)

/** Agents send while their controller is killed again and again; afterwards the books must close and every acked event be stored once. */
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { countStored } from '@firebreak/controller/src/store/telemetry/telemetry.rig.ts'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import { ControllerProcess } from './controller-process.ts'
import { freePort } from './free-port.ts'

/** Blocks small and often, so that a kill meets each step of storing and moving. */
const FLAGS = { 'ingest.block_events': 300, 'ingest.block_wait_ms': 10 }
const PATIENCE_MS = 120_000

interface StreamRow {
  readonly agent_id: string
  readonly class: string
  readonly acked_seq: number
  readonly stored: number
  readonly dropped: number
}

export interface KillReport {
  readonly kills: number
  readonly produced: number
  /** Events in the telemetry store, and how many different ones. */
  readonly stored: { readonly events: number; readonly distinct: number }
  /** What does not add up, in words; nothing when all is well. */
  readonly wrong: readonly string[]
}

export async function killRepeatedly(
  kills: number,
  agentCount: number,
  say: (line: string) => void,
): Promise<KillReport> {
  const dir = mkdtempSync(join(tmpdir(), 'fb-kill-'))
  const at = { host: '127.0.0.1', port: await freePort() }
  const standby = () => ControllerProcess.standby(dir, { ...FLAGS, 'gateway.port': at.port })
  let controller = await standby().go()
  let next: ReturnType<typeof standby> | undefined
  const agents = Array.from({ length: agentCount }, (_, i) => new SimulatedAgent(`host-${i}`))
  const stopping = new AbortController()
  try {
    const joinString = await controller.ask<string>('join')
    for (const agent of agents) await agent.enrol(at, joinString)
    const acks = () => agents.reduce((sum, agent) => sum + agent.acks.length, 0)
    const living = agents.map((agent, i) => live(agent, i, at, stopping.signal))
    for (let kill = 1; kill <= kills; kill++) {
      next = standby()
      // By what was acked, not by time, so that a slow machine is killed amid work too.
      const enough = acks() + randomInt(30, 150)
      while (acks() < enough) await sleep(10)
      await controller.kill()
      controller = await next.go()
      next = undefined
      if (kill % 25 === 0) say(`killed ${kill} times`)
    }
    await sleep(500)
    stopping.abort()
    const produced = (await Promise.all(living)).reduce((sum, count) => sum + count, 0)
    await until(() => agents.every((agent) => agent.isDrained()), 'the agents to have everything acked')
    const open = controller
    await until(async () => (await open.ask<unknown[]>('waiting')).length === 0, 'everything acked to be stored')
    const wrong = discrepancies(agents, await controller.ask<StreamRow[]>('streams'))
    if (!(await controller.ask<{ ok: boolean }>('audit')).ok) wrong.push('the audit chain is broken')
    for (const agent of agents) agent.disconnect()
    await controller.stop()
    const stored = await countStored(join(dir, 'telemetry'))
    if (stored.events !== produced || stored.distinct !== produced)
      wrong.push(`${produced} produced, ${stored.events} stored, ${stored.distinct} of them different`)
    return { kills, produced, stored, wrong }
  } finally {
    stopping.abort()
    for (const agent of agents) agent.disconnect()
    next?.cancel()
    await controller.kill()
    rmSync(dir, { recursive: true, force: true })
  }
}

function discrepancies(agents: readonly SimulatedAgent[], streams: readonly StreamRow[]): string[] {
  const wrong: string[] = []
  for (const agent of agents) {
    for (const said of agent.counts()) {
      const row = streams.find((stream) => stream.agent_id === agent.agentId && stream.class === said.class)
      const name = `${agent.facts.hostname} ${said.class}`
      const stored = row?.stored ?? 0
      const dropped = row?.dropped ?? 0
      if (said.produced !== stored + said.spooled + dropped)
        wrong.push(`${name}: ${said.produced} produced, ${stored} stored, ${said.spooled} spooled, ${dropped} dropped`)
      if (dropped !== said.dropped) wrong.push(`${name}: ${said.dropped} dropped there, ${dropped} here`)
      const promised = Math.max(0, ...agent.acks.filter((ack) => ack.class === said.class).map(({ seq }) => seq))
      if (promised > (row?.acked_seq ?? 0)) wrong.push(`${name}: acked to ${promised}, known to ${row?.acked_seq}`)
    }
  }
  return wrong
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${PATIENCE_MS / 1_000} s in vain for ${what}`)
    await sleep(50)
  }
}

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
  const end = performance.now() + PATIENCE_MS
  while (!agent.isConnected() && performance.now() < end) await agent.connect(at).catch(() => sleep(100))
  agent.flush()
  return events
}

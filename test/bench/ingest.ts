/**
 * Events a second through gateway, ingest, detection with 200 rules and durable storage, one controller process; beside it JSON.parse
 * alone on the same events in the same run. The agents are simulated with the real protocol, in the process that measures.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ControllerProcess } from '../fault/controller-process.ts'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { processEvent } from '../fleet/simulated-events.ts'
import type { Bench } from './bench.ts'

const RULES = 200
const AGENTS = 8
const SIGMA_HQ = resolve(import.meta.dirname, '../../../shared/data/sigma-rules/rules-linux.tar.gz')
const SHIPPED = resolve(import.meta.dirname, '../../controller/content/rules')

export const ingestBench: Bench = {
  name: 'ingest',
  describe: 'events a second through gateway, ingest, 200 rules and durable storage, against JSON.parse alone',
  async run({ short, say }) {
    const total = short ? 40_000 : 400_000
    const folder = mkdtempSync(join(tmpdir(), 'fb-bench-ingest-'))
    try {
      const rules = provideRules(join(folder, 'rules'), say)
      const limit = parseLimit(short ? 50_000 : 200_000)
      say(`JSON.parse alone: ${Math.round(limit)} events/s`)
      const controller = await ControllerProcess.start(join(folder, 'state'), {
        'detect.rule_dirs': [join(folder, 'rules')],
      })
      try {
        const acked = await send(controller, total, say)
        return {
          metrics: {
            events: total,
            rules,
            agents: AGENTS,
            acked_per_s: acked.ackedPerS,
            done_per_s: acked.donePerS,
            json_parse_per_s: limit,
            controller_cpu_us_per_event: acked.cpuUsPerEvent,
          },
          ratios: { acked_to_json_parse: acked.ackedPerS / limit, done_to_json_parse: acked.donePerS / limit },
        }
      } finally {
        await controller.stop()
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

async function send(controller: ControllerProcess, total: number, say: (line: string) => void) {
  const at = { host: '127.0.0.1', port: controller.gatewayPort }
  const join = await controller.ask<string>('join')
  const agents = Array.from({ length: AGENTS }, (_, i) => new SimulatedAgent(`bench-${i}`))
  for (const agent of agents) {
    agent.batchEvents = 1_000
    await agent.enrol(at, join)
    for (let n = 0; n < total / AGENTS; n++) agent.produce('process', processEvent(n, agent.facts.hostname))
  }
  const cpuBefore = cpuSeconds(controller.pid)
  const started = performance.now()
  await Promise.all(agents.map((agent) => agent.connect(at)))
  for (const agent of agents) agent.flush()
  const goal = total / AGENTS
  while (!agents.every((agent) => (agent.acks.at(-1)?.seq ?? 0) >= goal)) await sleep(5)
  const ackedS = (performance.now() - started) / 1_000
  say(`${total} events acked in ${ackedS.toFixed(1)} s`)
  while ((await controller.ask<unknown[]>('waiting')).length > 0) await sleep(50)
  const doneS = (performance.now() - started) / 1_000
  say(`all detected on and in the telemetry store after ${doneS.toFixed(1)} s`)
  const cpuUsPerEvent = ((cpuSeconds(controller.pid) - cpuBefore) / total) * 1e6
  for (const agent of agents) agent.disconnect()
  return { ackedPerS: total / ackedS, donePerS: total / doneS, cpuUsPerEvent }
}

/** The same event texts, parsed and nothing else, on one core. */
function parseLimit(count: number): number {
  const texts = Array.from({ length: count }, (_, n) => JSON.stringify(processEvent(n, 'bench-0')))
  let fields = 0
  const started = performance.now()
  for (const text of texts) fields += Object.keys(JSON.parse(text) as object).length
  const seconds = (performance.now() - started) / 1_000
  if (fields === 0) throw new Error('nothing was parsed')
  return count / seconds
}

/** 200 rules: ours and SigmaHQ's for Linux where that data is there, ours again under new ids where it is not. */
function provideRules(folder: string, say: (line: string) => void): number {
  mkdirSync(folder, { recursive: true })
  const ours = globSync('**/*.yml', { cwd: SHIPPED }).map((name) => join(SHIPPED, name))
  let published: string[] = []
  if (existsSync(SIGMA_HQ)) {
    const unpacked = join(folder, '..', 'published')
    mkdirSync(unpacked)
    execFileSync('tar', ['-xzf', SIGMA_HQ, '-C', unpacked])
    published = globSync('**/*.yml', { cwd: unpacked }).map((name) => join(unpacked, name))
  } else say(`${SIGMA_HQ} is not there: our own ${ours.length} rules are used several times`)
  const chosen = [...ours, ...published, ...Array.from({ length: RULES }, (_, i) => ours[i % ours.length] ?? '')].slice(
    0,
    RULES,
  )
  for (const [i, path] of chosen.entries()) {
    const text = readFileSync(path, 'utf8')
    const again = i >= ours.length + published.length
    const id = `id: ${i.toString(16).padStart(8, '0')}`
    writeFileSync(join(folder, `${i}-${basename(path)}`), again ? text.replace(/^id: .{8}/m, id) : text)
  }
  return chosen.length
}

/** User and system time of a process, s (proc_pid_stat(5), ticks of 10 ms). */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

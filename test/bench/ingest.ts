/**
 * Events a second through gateway, ingest, detection with 200 rules and durable storage, one controller process, on a store that holds
 * few events and on one that holds many; beside it JSON.parse alone on the same events in the same run. Rules match one event in a
 * thousand, and in a second, shorter run without anything stored before one in seven. The agents are simulated with
 * the real protocol, in the process that measures. Three ends are told apart: acked (durable), detected (every rule had its look and
 * every finding is stored), stored (in the telemetry store, and gone from the queue).
 */
import { execFileSync } from 'node:child_process'
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fillStore } from '@firebreak/controller/src/store/telemetry/filled-store.rig.ts'
import { parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan } from '@firebreak/shared/sigma/plan.ts'
import { ControllerProcess } from '../fault/controller-process.ts'
import { SimulatedAgent } from '../fleet/simulated-agent.ts'
import { mixedEvent, processEvent, quietEvent, type ToldEvent } from '../fleet/simulated-events.ts'
import type { Bench } from './bench.ts'

const RULES = 200
const AGENTS = 8
/** Events before those that are measured. */
const WARM_UP = 80_000
/** Events of which the share with a match is told. */
const SHARE_OF = 10_000
/** Events stored beforehand, at the two ends; FIREBREAK_BENCH_STORED=1000000,5000000 chooses others. */
const STORED = { short: [1_000_000, 5_000_000], long: [1_000_000, 100_000_000] } as const
const SIGMA_HQ = resolve(import.meta.dirname, '../../../shared/data/sigma-rules/rules-linux.tar.gz')
const SHIPPED = resolve(import.meta.dirname, '../../controller/content/rules')

export const ingestBench: Bench = {
  name: 'ingest',
  describe: 'events a second through gateway, ingest, 200 rules and durable storage, against JSON.parse alone',
  async run({ short, say }) {
    const total = short ? 80_000 : 400_000
    const chosen = process.env['FIREBREAK_BENCH_STORED']?.split(',').map(Number)
    const ends = chosen ?? (short ? STORED.short : STORED.long)
    const folder = mkdtempSync(join(tmpdir(), 'fb-bench-ingest-'))
    try {
      const rules = provideRules(join(folder, 'rules'), say)
      const runs: Measured[] = []
      for (const [i, stored] of ends.entries()) {
        const state = join(folder, `state-${i}`)
        say(`${stored} events stored beforehand ...`)
        await fillStore(join(state, 'telemetry'), stored, template())
        runs.push(await measure(state, join(folder, 'rules'), total, say, quietEvent))
        rmSync(state, { recursive: true, force: true })
      }
      const [few, many] = [runs[0], runs.at(-1)]
      say('the same with many matches ...')
      const noisy = await measure(join(folder, 'noisy'), join(folder, 'rules'), total / 2, say, mixedEvent)
      if (!few || !many) throw new Error('nothing was measured')
      return {
        metrics: {
          events: total,
          rules,
          agents: AGENTS,
          matched_share: matchedShare(join(folder, 'rules'), quietEvent),
          json_parse_per_s: few.parsedPerS,
          acked_per_s: few.ackedPerS,
          detected_per_s: few.detectedPerS,
          stored_per_s: few.storedPerS,
          controller_cpu_us_per_event: few.cpuUs,
          json_parse_cpu_us_per_event: few.parseCpuUs,
          stored_before_few: ends[0] ?? 0,
          stored_before_many: ends.at(-1) ?? 0,
          stored_per_s_on_many: many.storedPerS,
          acked_per_s_on_many: many.ackedPerS,
          controller_cpu_us_per_event_on_many: many.cpuUs,
          matched_share_noisy: matchedShare(join(folder, 'rules'), mixedEvent),
          detected_per_s_noisy: noisy.detectedPerS,
          stored_per_s_noisy: noisy.storedPerS,
          controller_cpu_us_per_event_noisy: noisy.cpuUs,
        },
        ratios: {
          acked_to_json_parse: few.ackedPerS / few.parsedPerS,
          detected_to_json_parse: few.detectedPerS / few.parsedPerS,
          stored_to_json_parse: few.storedPerS / few.parsedPerS,
          // Less is better, and hardly moved by what else the machine does: processor time of everything in the controller.
          controller_cpu_to_json_parse_cpu: few.cpuUs / few.parseCpuUs,
          cpu_on_many_to_few: many.cpuUs / many.parseCpuUs / (few.cpuUs / few.parseCpuUs),
          stored_on_many_to_few: many.storedPerS / many.parsedPerS / (few.storedPerS / few.parsedPerS),
        },
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

interface Counted {
  readonly stored: number
}

interface Measured {
  readonly parsedPerS: number
  readonly parseCpuUs: number
  readonly ackedPerS: number
  readonly detectedPerS: number
  readonly storedPerS: number
  readonly cpuUs: number
}

type Mix = (n: number, hostname: string) => ToldEvent

async function measure(
  state: string,
  rules: string,
  total: number,
  say: (line: string) => void,
  mix: Mix,
): Promise<Measured> {
  const controller = await ControllerProcess.start(state, { 'detect.rule_dirs': [rules] })
  try {
    const at = { host: '127.0.0.1', port: controller.gatewayPort }
    const joinString = await controller.ask<string>('join')
    const agents = Array.from({ length: AGENTS }, (_, i) => new SimulatedAgent(`bench-${i}`))
    for (const agent of agents) {
      agent.batchEvents = 1_000
      await patiently(() => agent.enrol(at, joinString))
      await patiently(() => agent.connect(at))
    }
    // A controller runs for weeks: what it compiles in its first second is not what an event costs.
    produce(agents, mix, 0, WARM_UP)
    for (const agent of agents) agent.flush()
    while ((await controller.ask<Counted[]>('streams')).reduce((sum, row) => sum + row.stored, 0) < WARM_UP)
      await sleep(50)
    while ((await controller.ask<unknown[]>('waiting')).length > 0) await sleep(50)
    produce(agents, mix, WARM_UP, total)
    // Before and after: what else the machine does changes meanwhile.
    const first = parseLimit(total / 2, mix)
    const sent = await send(controller, agents, total, say)
    const second = parseLimit(total / 2, mix)
    const parsedPerS = (first.perS + second.perS) / 2
    say(`JSON.parse alone: ${Math.round(first.perS)} and ${Math.round(second.perS)} events/s`)
    return { ...sent, parsedPerS, parseCpuUs: (first.cpuUs + second.cpuUs) / 2 }
  } finally {
    await controller.stop()
  }
}

async function send(
  controller: ControllerProcess,
  agents: readonly SimulatedAgent[],
  total: number,
  say: (line: string) => void,
): Promise<Omit<Measured, 'parsedPerS' | 'parseCpuUs'>> {
  const cpuBefore = cpuSeconds(controller.pid)
  const started = performance.now()
  const since = () => (performance.now() - started) / 1_000
  for (const agent of agents) agent.flush()
  while (!agents.every((agent) => agent.isDrained())) await sleep(5)
  const ackedS = since()
  say(`${total} events acked in ${ackedS.toFixed(1)} s`)
  const waiting = () => controller.ask<{ detected: 0 | 1 }[]>('waiting')
  while ((await waiting()).some(({ detected }) => detected === 0)) await sleep(20)
  const detectedS = since()
  say(`looked through by the rules after ${detectedS.toFixed(1)} s`)
  while ((await waiting()).length > 0) await sleep(50)
  const storedS = since()
  say(`in the telemetry store after ${storedS.toFixed(1)} s`)
  const cpuUs = ((cpuSeconds(controller.pid) - cpuBefore) / total) * 1e6
  const rows = await controller.ask<Counted[]>('streams')
  const counted = rows.reduce((sum, row) => sum + row.stored, 0) - WARM_UP
  if (counted !== total) throw new Error(`${total} events were sent and ${counted} were taken for sound`)
  for (const agent of agents) agent.disconnect()
  return { ackedPerS: total / ackedS, detectedPerS: total / detectedS, storedPerS: total / storedS, cpuUs }
}

function produce(agents: readonly SimulatedAgent[], mix: Mix, from: number, count: number): void {
  for (const agent of agents)
    for (let n = 0; n < count / AGENTS; n++) {
      const { class: name, event } = mix(from + n, agent.facts.hostname)
      agent.produce(name, event)
    }
}

/** A machine that does other things as well may not get through a handshake in its time. */
async function patiently(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await work()
      return
    } catch (thrown) {
      if (tries >= 10) throw thrown
      await sleep(500)
    }
  }
}

/** The same event texts, parsed and nothing else, on one core. */
function parseLimit(count: number, mix: Mix): { readonly perS: number; readonly cpuUs: number } {
  const texts = Array.from({ length: count }, (_, n) => JSON.stringify(mix(n, 'bench-0').event))
  let fields = 0
  const cpu = process.cpuUsage()
  const started = performance.now()
  for (const text of texts) fields += Object.keys(JSON.parse(text) as object).length
  const seconds = (performance.now() - started) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  if (fields === 0) throw new Error('nothing was parsed')
  return { perS: count / seconds, cpuUs: (user + system) / count }
}

/** Of events, those that some rule matches. Of a fleet that is left in peace it is one in thousands; a tenth is a rule to be tuned. */
function matchedShare(folder: string, mix: Mix): number {
  const files = globSync('*.yml', { cwd: folder }).map((file) => ({
    file,
    text: readFileSync(join(folder, file), 'utf8'),
  }))
  const { rules, filters } = parseRules(files)
  const plan = compilePlan(rules, { filters })
  const events = Array.from({ length: SHARE_OF }, (_, n) => mix(n, 'bench-0').event)
  return events.filter((event) => plan.match(event).length > 0).length / SHARE_OF
}

/** An event whose number and entity id are left open. */
function template(): string {
  const event = processEvent(0, 'filled')
  return JSON.stringify({
    ...event,
    process: { ...event.process, entity_id: 'filled:@N@', command_line: 'run --number @N@' },
  })
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

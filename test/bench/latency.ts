/**
 * From execve to the event in the controller's detection stage, over the real sensor, agent, spool, connection and controller, while a
 * thousand other events a second take the same way. Stage by stage, so that it is seen where the time goes.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentStatus } from '@firebreak/agent/src/agent.ts'
import { buildSensor } from '@firebreak/agent/sensor/build-sensor.ts'
import { type Bench, percentile } from './bench.ts'
import { MARK } from './latency-mark.ts'

const OTHERS_PER_S = 1_000
const MARKS_PER_S = 20
/** In memory: the controller is another machine in the field, and its disk has no part in what happens on the host. */
const HOST_FILES = '/dev/shm'
const PATIENCE_MS = 30_000
/** A controller runs for months: what its first seconds cost is not what is asked for. */
const WARM_UP_MS = 10_000
/** Creates, writes and removes a file $rate times a second below $folder: three events each. */
const FILES = String.raw`
use Time::HiRes qw(time sleep);
my ($folder, $rate) = @ARGV; my $begin = time; my $n = 0; $SIG{TERM} = sub { exit 0 };
while (1) { open(my $f, '>', "$folder/f$n") or die; print $f "x"; close $f; unlink "$folder/f$n"; $n++;
  my $wait = $begin + $n / $rate - time; sleep($wait) if $wait > 0; }`

interface Seen {
  readonly mark: string
  readonly executed: string
  readonly read: string
  readonly emitted: string
  /** Number of its event in the stream of process events. */
  readonly seq: number
  readonly sent?: string
}
type Reached = readonly [seq: number, at: string]
interface Detected {
  readonly matches: readonly { readonly mark: string; readonly matched: string }[]
  readonly arrivals: readonly Reached[]
  readonly acks: readonly Reached[]
}

const STAGES = ['whole', 'kernel_to_agent', 'event', 'spool', 'network', 'commit', 'detection'] as const
type Stage = (typeof STAGES)[number]

export const latencyBench: Bench = {
  name: 'latency',
  describe: 'execve to the event in the detection stage, p50 and p99, at 1,000 other events a second',
  async run({ short, say }) {
    const sensor = buildSensor()
    if (!sensor.ok) throw new Error(`no sensor here: ${sensor.why}`)
    const folder = mkdtempSync(join(tmpdir(), 'fb-bench-latency-'))
    const watched = mkdtempSync(join(HOST_FILES, 'fb-bench-latency-'))
    const children: ChildProcess[] = []
    try {
      const { controller, agent } = await startBoth(folder, watched, sensor.value, children)
      const before = eventsOf(await ask<AgentStatus>(agent, 'status'))
      const others = spawn('perl', ['-e', FILES, watched, String(OTHERS_PER_S / 3)], {
        stdio: 'ignore',
      })
      children.push(others)
      await sleep(WARM_UP_MS)
      const rounds = short ? 300 : 2_000
      say(`${rounds} processes, ${MARKS_PER_S} a second ...`)
      const began = performance.now()
      for (let n = 0; n < rounds; n++) {
        spawn('/bin/true', [`${MARK}${n}`], { stdio: 'ignore' })
        await sleep(Math.max(1, began + ((n + 1) * 1_000) / MARKS_PER_S - performance.now()))
      }
      const tookS = (performance.now() - began) / 1_000 + WARM_UP_MS / 1_000
      const status = await ask<AgentStatus>(agent, 'status')
      const detected = await allDetected(controller, rounds)
      const stages = stagesOf(await ask<Seen[]>(agent, 'seen'), detected)
      const found = stages.whole.length
      if (found < rounds * 0.95) throw new Error(`only ${found} of ${rounds} were seen by detection`)
      const metrics: Record<string, number> = {
        followed: found,
        other_events_per_s: (eventsOf(status) - before - 2 * found) / tookS,
      }
      for (const stage of STAGES) {
        metrics[`${stage}_p50_ms`] = percentile(stages[stage], 0.5)
        metrics[`${stage}_p99_ms`] = percentile(stages[stage], 0.99)
      }
      return { metrics, ratios: { p99_to_p50: (metrics['whole_p99_ms'] ?? 0) / (metrics['whole_p50_ms'] ?? 1) } }
    } finally {
      for (const child of children) child.kill('SIGKILL')
      for (const made of [folder, watched]) rmSync(made, { recursive: true, force: true })
    }
  },
}

async function startBoth(folder: string, watched: string, sensor: string, children: ChildProcess[]) {
  for (const name of ['rules', 'controller', 'agent']) mkdirSync(join(folder, name))
  writeFileSync(join(folder, 'rules', 'marked.yml'), RULE)
  const run = (program: string, args: readonly string[]) => {
    const child = fork(join(import.meta.dirname, program), [...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    children.push(child)
    return child
  }
  const controller = run('latency-controller.ts', [join(folder, 'controller'), join(folder, 'rules')])
  const [{ port, joinString }] = (await once(controller, 'message')) as [{ port: number; joinString: string }]
  const config = join(folder, 'agent.yaml')
  writeFileSync(join(folder, 'ceiling.yaml'), 'observe_only: true\n', { mode: 0o600 })
  writeFileSync(config, configOf(folder, watched, sensor))
  const main = join(import.meta.dirname, '../../agent/src/main.ts')
  const url = `https://127.0.0.1:${port}`
  execFileSync(process.execPath, [main, '--config', config, 'enroll', '--controller', url, '--join', joinString])
  const agent = run('latency-agent.ts', [config])
  await once(agent, 'message')
  for (;;) {
    const { link, sources } = await ask<AgentStatus>(agent, 'status')
    const isSensor = sources.some((one) => one.class === 'process' && one.source === 'sensor')
    if (link.connected && isSensor) return { controller, agent }
    await sleep(100)
  }
}

function configOf(folder: string, watched: string, sensor: string): string {
  return `state_dir: ${join(folder, 'agent')}
run_socket: ${join(folder, 'agent.sock')}
ceiling: ${join(folder, 'ceiling.yaml')}
collectors:
  kernel: { sensor: ${sensor} }
  file: { paths: [${watched}] }
  logins: { enabled: false }
  inventory: { enabled: false }
`
}

const RULE = `title: Marked process
id: 6a4b39f5-0f0e-4f66-9f7c-2a4a6a2f7d11
status: test
description: A process of the benchmark.
author: Firebreak
date: 2026-11-24
logsource: { product: linux, category: process_creation }
detection:
  selection: { CommandLine|contains: ${MARK} }
  condition: selection
level: informational
`

/** What is late is waited for: it belongs into the figures. */
async function allDetected(controller: ChildProcess, rounds: number): Promise<Detected> {
  const all = { matches: [], arrivals: [], acks: [] } as { [K in keyof Detected]: Detected[K][number][] }
  const until = performance.now() + PATIENCE_MS
  while (all.matches.length < rounds && performance.now() < until) {
    await sleep(200)
    const more = await ask<Detected>(controller, 'detected')
    all.matches.push(...more.matches)
    all.arrivals.push(...more.arrivals)
    all.acks.push(...more.acks)
  }
  return all
}

function stagesOf(seen: readonly Seen[], { matches, arrivals, acks }: Detected): Record<Stage, number[]> {
  const stages = Object.fromEntries(STAGES.map((name) => [name, [] as number[]])) as Record<Stage, number[]>
  const byMark = new Map(matches.map(({ mark, matched }) => [mark, matched]))
  for (const { mark, executed, read, emitted, seq, sent } of seen) {
    const matched = byMark.get(mark)
    const arrived = arrivals.find(([last]) => last >= seq)?.[1]
    const acked = acks.find(([last]) => last >= seq)?.[1]
    if (matched === undefined || sent === undefined || arrived === undefined || acked === undefined) continue
    const ms = (from: string, to: string) => Number(BigInt(to) - BigInt(from)) / 1e6
    stages.whole.push(ms(executed, matched))
    stages.kernel_to_agent.push(ms(executed, read))
    stages.event.push(ms(read, emitted))
    stages.spool.push(ms(emitted, sent))
    stages.network.push(ms(sent, arrived))
    stages.commit.push(ms(arrived, acked))
    stages.detection.push(ms(acked, matched))
  }
  return stages
}

async function ask<T>(child: ChildProcess, what: string): Promise<T> {
  const answered = once(child, 'message')
  child.send(what)
  const [answer] = (await answered) as [T]
  return answer
}

function eventsOf({ streams }: AgentStatus): number {
  return streams.reduce((sum, { produced }) => sum + produced, 0)
}

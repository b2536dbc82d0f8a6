/** What the packaged agent and its sensor cost on a lab host: CPU share and memory, idle and at 500 process starts a second. */
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildStorm } from '@firebreak/agent/sensor/testing/build-storm.ts'
import { bootFleet } from '../e2e/fleet.ts'
import { labSupport, type LabHost } from '../lab/lab.ts'
import type { Bench } from './bench.ts'

const STARTS_PER_S = 500

export const agentBench: Bench = {
  name: 'agent',
  describe: 'CPU share and memory of the packaged agent with its sensor, idle and at 500 process starts a second',
  async run({ short, say }) {
    const support = await labSupport()
    if (!support.ok) throw new Error(`no lab here: ${support.why}`)
    const seconds = short ? 5 : 30
    await using fleet = await bootFleet({ hosts: ['bench-1'] })
    const [host] = fleet.hosts as [LabHost]
    const storm = buildStorm()
    for (const file of [storm, join(dirname(storm), 'nothing')]) {
      // The storm knows the program that it starts by its whole path.
      await host.exec(['mkdir', '-p', dirname(storm)])
      await host.copyIn(file, file, 0o755)
    }
    const source = await sourceOf(host, 'process')
    if (source !== 'sensor') throw new Error(`processes come from ${source}, so this would measure something else`)
    // The first look at everything is over.
    await sleep(short ? 15_000 : 60_000)
    say(`idle for ${seconds} s ...`)
    const idle = await measure(host, seconds)
    say(`${STARTS_PER_S} process starts a second for ${seconds} s ...`)
    const before = await produced(host)
    const count = STARTS_PER_S * (seconds + 2)
    const load = host.spawn([storm, 'processes', String(count), String(STARTS_PER_S)])
    await sleep(1_000)
    const busy = await measure(host, seconds)
    const ended = await load.exited
    const rate = Number(ended.stdout)
    if (!(rate > 0)) throw new Error(`the storm of processes did not come: ${ended.stderr}`)
    await sleep(3_000)
    const after = await produced(host)
    return {
      metrics: {
        idle_cpu_percent: idle.cpuPercent,
        idle_rss_bytes: idle.rssBytes,
        idle_agent_rss_bytes: idle.agent.rssBytes,
        idle_sensor_rss_bytes: idle.sensor.rssBytes,
        busy_cpu_percent: busy.cpuPercent,
        busy_agent_cpu_percent: busy.agent.cpuPercent,
        busy_sensor_cpu_percent: busy.sensor.cpuPercent,
        busy_rss_bytes: busy.rssBytes,
        busy_starts_per_s: rate,
        busy_cpu_us_per_start: (busy.cpuPercent * 1e4) / rate,
        events_per_start: (after.produced - before.produced) / count,
        dropped: after.dropped - before.dropped,
      },
      ratios: { busy_cpu_to_idle_cpu: busy.cpuPercent / Math.max(idle.cpuPercent, 0.01) },
    }
  },
}

interface Cost {
  /** Of one core. */
  readonly cpuPercent: number
  readonly rssBytes: number
}
type Costs = Cost & { readonly agent: Cost; readonly sensor: Cost }
interface Ticks {
  readonly pid: number
  readonly ticks: number
  readonly atS: number
}

async function measure(host: LabHost, seconds: number): Promise<Costs> {
  const pids = await pidsOf(host)
  const before = await Promise.all(pids.map((pid) => ticks(host, pid)))
  await sleep(seconds * 1_000)
  const after = await Promise.all(pids.map((pid) => ticks(host, pid)))
  const costs = await Promise.all(
    before.map(async (then, at): Promise<Cost> => {
      const now = after[at] ?? then
      const cpuPercent = (now.ticks - then.ticks) / (now.atS - then.atS)
      return { cpuPercent, rssBytes: await rssOf(host, then.pid) }
    }),
  )
  const [agent, sensor] = costs as [Cost, Cost]
  return {
    agent,
    sensor,
    cpuPercent: agent.cpuPercent + sensor.cpuPercent,
    rssBytes: agent.rssBytes + sensor.rssBytes,
  }
}

/** Of the agent and of the sensor, its child. */
async function pidsOf(host: LabHost): Promise<readonly [number, number]> {
  const agent = Number(
    (await host.exec(['systemctl', 'show', '--property=MainPID', '--value', 'firebreak-agent'])).stdout,
  )
  const sensor = Number((await host.exec(['pgrep', '-P', String(agent), 'firebreak-senso'])).stdout.trim())
  if (!(sensor > 0)) throw new Error('the agent has no sensor')
  return [agent, sensor]
}

/** From /proc/<pid>/stat (proc_pid_stat(5): utime and stime in ticks of 10 ms). */
async function ticks(host: LabHost, pid: number): Promise<Ticks> {
  const shown = (await host.exec(['cat', `/proc/${pid}/stat`, '/proc/uptime'])).stdout.split('\n')
  const fields = shown[0]?.slice(shown[0].lastIndexOf(')') + 2).split(' ') ?? []
  return { pid, ticks: Number(fields[11]) + Number(fields[12]), atS: Number(shown[1]?.split(' ')[0]) }
}

async function rssOf(host: LabHost, pid: number): Promise<number> {
  const status = await host.exec(['sh', '-c', `grep VmRSS /proc/${pid}/status`])
  return Number(/\d+/.exec(status.stdout)?.[0]) * 1_024
}

interface Status {
  readonly sources: readonly { readonly class: string; readonly source: string; readonly why?: string }[]
  readonly streams: readonly { readonly class: string; readonly produced: number; readonly dropped: number }[]
}

async function status(host: LabHost): Promise<Status> {
  return JSON.parse((await host.exec(['firebreak-agent', 'status', '--json'])).stdout) as Status
}

async function sourceOf(host: LabHost, name: string): Promise<string> {
  const found = (await status(host)).sources.find((one) => one.class === name)
  return found?.source === 'sensor' ? found.source : `${found?.source} (${found?.why})`
}

async function produced(host: LabHost): Promise<{ produced: number; dropped: number }> {
  const stream = (await status(host)).streams.find((one) => one.class === 'process')
  return { produced: stream?.produced ?? 0, dropped: stream?.dropped ?? 0 }
}

/** What the packaged agent costs on a lab host: CPU share and memory, idle and at 100 process starts a second. */
import { setTimeout as sleep } from 'node:timers/promises'
import { bootFleet } from '../e2e/fleet.ts'
import { labSupport, type LabHost } from '../lab/lab.ts'
import type { Bench } from './bench.ts'

const STARTS_PER_S = 100
/** Starts a program $2 times a second for $1 seconds; waits without starting one. */
const GENERATOR = `
exec {pipe}<> <(:)
begin=\${EPOCHREALTIME/./} n=0
while now=\${EPOCHREALTIME/./}; ((now - begin < $1 * 1000000)); do
  /bin/true
  ((n++))
  printf -v wait '0.%06d' $((begin + n * 1000000 / $2 > now ? begin + n * 1000000 / $2 - now : 1))
  read -r -t "$wait" -u "$pipe"
done
echo "$n"`

export const agentBench: Bench = {
  name: 'agent',
  describe: 'CPU share and memory of the packaged agent on a lab host, idle and at 100 process starts a second',
  async run({ short, say }) {
    const support = await labSupport()
    if (!support.ok) throw new Error(`no lab here: ${support.why}`)
    const seconds = short ? 5 : 30
    await using fleet = await bootFleet({ hosts: ['bench-1'] })
    const [host] = fleet.hosts as [LabHost]
    await sleep(short ? 2_000 : 10_000)
    say(`idle for ${seconds} s ...`)
    const idle = await measure(host, seconds)
    say(`${STARTS_PER_S} process starts a second for ${seconds} s ...`)
    const load = host.spawn(['bash', '-c', GENERATOR, 'generator', String(seconds + 2), String(STARTS_PER_S)])
    await sleep(1_000)
    const busy = await measure(host, seconds)
    const started = Number((await load.exited).stdout)
    return {
      metrics: {
        idle_cpu_percent: idle.cpuPercent,
        idle_rss_bytes: idle.rssBytes,
        busy_cpu_percent: busy.cpuPercent,
        busy_rss_bytes: busy.rssBytes,
        busy_starts_per_s: started / (seconds + 2),
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

/** From /proc/<pid>/stat (proc_pid_stat(5): utime and stime in ticks of 10 ms) and VmRSS of /proc/<pid>/status. */
async function measure(host: LabHost, seconds: number): Promise<Cost> {
  const before = await ticks(host)
  await sleep(seconds * 1_000)
  const after = await ticks(host)
  const status = await host.exec(['sh', '-c', `grep VmRSS /proc/${after.pid}/status`])
  return {
    cpuPercent: (after.ticks - before.ticks) / (after.atS - before.atS),
    rssBytes: Number(/\d+/.exec(status.stdout)?.[0]) * 1_024,
  }
}

async function ticks(host: LabHost): Promise<{ pid: number; ticks: number; atS: number }> {
  const pid = Number(
    (await host.exec(['systemctl', 'show', '--property=MainPID', '--value', 'firebreak-agent'])).stdout,
  )
  const shown = (await host.exec(['cat', `/proc/${pid}/stat`, '/proc/uptime'])).stdout.split('\n')
  const fields = shown[0]?.slice(shown[0].lastIndexOf(')') + 2).split(' ') ?? []
  return { pid, ticks: Number(fields[11]) + Number(fields[12]), atS: Number(shown[1]?.split(' ')[0]) }
}

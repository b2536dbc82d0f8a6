/**
 * The kernel sensor: does it tell every short process, what does it add to a program start, an open and a write, and what does it cost
 * itself. The added times stand beside none and beside the audit subsystem with equal rules, measured in turns in one run.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type RunningSensor, noSensor, startSensor } from '@firebreak/agent/src/collectors/kernel/sensor.fixture.ts'
import { buildStorm } from '@firebreak/agent/sensor/testing/build-storm.ts'
import { AuditDaemon, noAudit } from '@firebreak/agent/src/collectors/audit-daemon.fixture.ts'
import { type Bench, percentile } from './bench.ts'

const run = promisify(execFile)
const POLL_MS = 200
const TURNS = ['none', 'sensor', 'audit'] as const
type Turn = (typeof TURNS)[number]
const COSTS = ['exec', 'open', 'watched_write', 'call'] as const
type Cost = (typeof COSTS)[number]

export const sensorBench: Bench = {
  name: 'sensor',
  describe:
    'kernel sensor: share of short processes told, time added per exec, open and write against none and audit, CPU, memory',
  async run({ short, say }) {
    const why = noSensor()
    if (why) throw new Error(`no kernel sensor here: ${why}`)
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fb-bench-sensor-')))
    try {
      const whole = await completeness(folder, short ? 4_000 : 20_000, say)
      const load = await loadCost(folder, short ? 4 : 10, say)
      const added = await addedTimes(folder, short ? 2 : 7, say)
      return { metrics: { ...whole.metrics, ...load, ...added.metrics }, ratios: { ...whole.ratios, ...added.ratios } }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

type Say = (line: string) => void

async function sensorFor(folder: string): Promise<RunningSensor> {
  return await startSensor({ paths: [Buffer.from(folder)], coalesceUs: 2_000, statsIntervalMs: 500 })
}

async function completeness(folder: string, count: number, say: Say) {
  say(`${count} processes at 2,000 a second ...`)
  await using sensor = await sensorFor(folder)
  const storm = spawn(buildStorm(), ['processes', String(count), '2000'], { stdio: ['ignore', 'pipe', 'ignore'] })
  let printed = ''
  storm.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString()
  })
  const polled = pollProc(storm.pid ?? 0, storm)
  await once(storm, 'close')
  const seen = await polled
  const stats = await sensor.settled()
  const ofStorm = (kind: 'exec' | 'exit' | 'fork') =>
    sensor.of(kind).filter(({ actor }) => actor?.ppid === storm.pid).length
  const metrics = {
    storm_processes: count,
    storm_per_s: Number(printed),
    storm_forks_told_percent: (100 * ofStorm('fork')) / count,
    storm_execs_told_percent: (100 * ofStorm('exec')) / count,
    storm_exits_told_percent: (100 * ofStorm('exit')) / count,
    storm_polling_told_percent: (100 * seen) / count,
    storm_dropped: stats.classes.process.dropped,
  }
  say(`told ${metrics.storm_execs_told_percent} %, polling would have seen ${metrics.storm_polling_told_percent} %`)
  return { metrics, ratios: { storm_told_to_polling: ofStorm('exec') / Math.max(seen, 1) } }
}

/** Children of the storm that a look at /proc every 200 ms finds: the most that polling can see. */
async function pollProc(parent: number, storm: { readonly exitCode: number | null }): Promise<number> {
  const seen = new Set<string>()
  while (storm.exitCode === null) {
    for (const pid of readdirSync('/proc')) {
      if (!/^\d+$/.test(pid) || seen.has(pid)) continue
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
        if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent) seen.add(pid)
      } catch {
        // Gone since it was listed: not seen.
      }
    }
    await sleep(POLL_MS)
  }
  return seen.size
}

async function loadCost(folder: string, seconds: number, say: Say) {
  await using sensor = await sensorFor(folder)
  await sleep(2_000)
  const idle = usage(sensor.pid)
  await sleep(seconds * 1_000)
  const idleAfter = usage(sensor.pid)
  say(`500 processes a second for ${seconds} s ...`)
  const storm = spawn(buildStorm(), ['processes', String(500 * seconds), '500'], { stdio: 'ignore' })
  const before = usage(sensor.pid)
  await once(storm, 'exit')
  const after = usage(sensor.pid)
  return {
    sensor_idle_cpu_percent: share(idle, idleAfter),
    sensor_idle_rss_bytes: idleAfter.rssBytes,
    sensor_cpu_percent_at_500_per_s: share(before, after),
    sensor_busy_rss_bytes: after.rssBytes,
  }
}

interface Usage {
  readonly cpuNs: number
  readonly atMs: number
  readonly rssBytes: number
}

/** CPU in nanoseconds: the first number of schedstat (kernel, Documentation/scheduler/sched-stats.rst). */
function usage(pid: number): Usage {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    cpuNs: Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]),
    atMs: performance.now(),
    rssBytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1_024,
  }
}

/** Percent of one core. */
function share(before: Usage, after: Usage): number {
  return (after.cpuNs - before.cpuNs) / 1e4 / (after.atMs - before.atMs)
}

async function addedTimes(folder: string, rounds: number, say: Say) {
  const audit = noAudit()
  if (audit) say(`audit is left out of the comparison: ${audit}`)
  const unwatched = realpathSync(mkdtempSync(join(tmpdir(), 'fb-bench-unwatched-')))
  writeFileSync(join(unwatched, 'file'), 'x')
  const taken = new Map<string, number[]>()
  let lost = 0
  try {
    await using rules = new AuditDaemon(auditRules(folder))
    for (let round = 0; round < rounds; round++) {
      say(`added times, round ${round + 1} of ${rounds} ...`)
      for (const turn of TURNS) {
        if (turn === 'audit' && audit) continue
        const sensor = turn === 'sensor' ? await sensorFor(folder) : undefined
        const lostBefore = rules.lost()
        if (turn === 'audit') await rules.on()
        for (const cost of COSTS) {
          const at = `${cost} ${turn}`
          taken.set(at, [...(taken.get(at) ?? []), await costOf(cost, folder, unwatched)])
        }
        if (turn === 'audit') lost += rules.lost() - lostBefore
        await rules.off()
        await sensor?.[Symbol.asyncDispose]()
      }
    }
  } finally {
    rmSync(unwatched, { recursive: true, force: true })
  }
  // The least disturbed rounds: what else runs on the machine only ever adds.
  const ns = (cost: Cost, turn: Turn) => percentile(taken.get(`${cost} ${turn}`) ?? [], 0.25)
  const metrics: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  for (const cost of COSTS) {
    for (const turn of TURNS) if (taken.has(`${cost} ${turn}`)) metrics[`${cost}_${turn}_us`] = ns(cost, turn) / 1_000
    ratios[`${cost}_sensor_to_none`] = ns(cost, 'sensor') / ns(cost, 'none')
    if (audit) continue
    ratios[`${cost}_audit_to_none`] = ns(cost, 'audit') / ns(cost, 'none')
    ratios[`${cost}_sensor_to_audit`] = ns(cost, 'sensor') / ns(cost, 'audit')
  }
  if (!audit) metrics['audit_records_lost'] = lost
  return { metrics, ratios }
}

/** Nanoseconds of processor time each, the program's own: start and end of a program; open and close of a file that nobody watches; open, write and close of one that is watched; the shortest system call. */
async function costOf(cost: Cost, folder: string, unwatched: string): Promise<number> {
  const args = {
    exec: ['exec', '500'],
    open: ['read', '50000', join(unwatched, 'file')],
    watched_write: ['write', '3000', join(folder, 'file')],
    call: ['call', '1000000'],
  }[cost]
  const { stdout } = await run(buildStorm(), args)
  return Number(stdout)
}

/** What the sensor tells of these calls, as audit rules. `watched`: a folder. */
function auditRules(watched: string): readonly (readonly string[])[] {
  const key = ['-k', 'firebreak-bench']
  return [
    ['always,exit', '-F', 'arch=b64', '-S', 'execve,execveat', ...key],
    [
      'always,exit',
      '-F',
      'arch=b64',
      '-S',
      'ptrace,memfd_create,mount,umount2,setns,unshare,init_module,finit_module',
      ...key,
    ],
    ['always,exit', '-F', 'arch=b64', '-S', 'setuid,setgid,setreuid,setregid,setresuid,setresgid,capset', ...key],
    ['always,exit', '-F', 'arch=b64', '-S', 'connect,accept,accept4,listen', ...key],
    ['always,exit', '-F', `dir=${watched}`, '-F', 'perm=wa', ...key],
  ]
}

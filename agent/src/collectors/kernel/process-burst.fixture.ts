/** So many short processes as fast as the machine starts them, and what the collectors of a watched host said of them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildStorm } from '../../../sensor/testing/build-storm.ts'
import type { SourceStatus } from '@firebreak/shared/events/coverage.ts'
import { WatchedHost } from './watched-host.fixture.ts'

export interface BurstReport {
  readonly started: number
  readonly ended: number
  /** Starts and ends that the collectors counted as lost, of any process of the machine. */
  readonly lost: number
  readonly perSecond: number
  /** From the end of the burst to the last event of it. */
  readonly behindMs: number
  readonly source: SourceStatus | undefined
}

export async function burstOfProcesses(count: number, patienceMs: number): Promise<BurstReport> {
  let started = 0
  let ended = 0
  let storm: ChildProcess | undefined
  await using host = await new WatchedHost({
    take: ({ event, process }) => {
      if (storm?.pid === undefined || process?.parent?.pid !== storm.pid) return
      if (event.action === 'process-started' || event.action === 'fork') started += 1
      if (event.action === 'process-ended') ended += 1
    },
  }).start()
  const isAccountedFor = () => Math.min(started, ended) + host.lost('process') >= count
  const begin = performance.now()
  storm = spawn(buildStorm(), ['processes', String(count), '0'], { stdio: 'ignore' })
  const [code] = (await once(storm, 'exit')) as [number | null]
  if (code !== 0) throw new Error(`the load program ended with ${code}`)
  const over = performance.now()
  while (!isAccountedFor() && performance.now() - over < patienceMs) await sleep(50)
  const behindMs = performance.now() - over
  // One that is told twice would come now.
  await sleep(300)
  return {
    started,
    ended,
    lost: host.lost('process'),
    perSecond: (count * 1_000) / (over - begin),
    behindMs,
    source: host.source('process'),
  }
}

/**
 * Process starts and ends on systems without /proc, by systeminformation, which runs a program of the system at each look: so it looks
 * every two seconds at most, and what lives shorter is missed. There is no kernel boot id: the time of boot stands for it.
 */
import os from 'node:os'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { entityIdOf } from '../platform/linux/process-identity.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { ProcessConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { PollLoop } from './poll-loop.ts'
import { present } from './present.ts'

const MIN_INTERVAL_MS = 2_000
const MAX_PROCESSES = 50_000

export interface ProcessPortableDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
}

interface Listed {
  readonly pid: number
  readonly ppid: number
  readonly name: string
  readonly path: string
  readonly command: string
  readonly params: string
  readonly user: string
  readonly started: string
}
interface Known {
  readonly listed: Listed
  readonly fields: NonNullable<Event['process']>
}

export function createPortableProcessCollector(
  deps: ProcessPortableDeps,
  config: Static<typeof ProcessConfig>,
): Collector {
  return new PortableProcessCollector(deps, config)
}

class PortableProcessCollector implements Collector {
  readonly name = 'process-portable'
  readonly classes = ['process'] as const
  readonly source = 'polling'
  readonly #deps: ProcessPortableDeps
  readonly #config: Static<typeof ProcessConfig>
  readonly #intervalMs: number
  readonly #out = new EmitTally()
  readonly #loop: PollLoop
  readonly #bootId: string
  #table: Map<number, Known> | undefined

  constructor(deps: ProcessPortableDeps, config: Static<typeof ProcessConfig>) {
    this.#deps = deps
    this.#config = config
    this.#intervalMs = Math.max(MIN_INTERVAL_MS, config.interval_ms)
    this.#loop = new PollLoop(deps.clock, this.#intervalMs, (signal) => this.#look(signal))
    // Rounded: the time of boot is worked out from the uptime and trembles.
    this.#bootId = `boot ${Math.round((deps.clock.now() / 1_000 - os.uptime()) / 60)}`
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.process.enabled is false')
    if (this.#deps.platform === 'linux')
      return refuse('unsupported_system', 'on Linux the process collector reads /proc')
    try {
      const listed = await listProcesses()
      return listed.length > 0 ? ok() : refuse('missing_source', 'the system lists no process')
    } catch (error) {
      return refuse('missing_source', reasonOf(error).slice(0, 512))
    }
  }

  async start(emit: Emit): Promise<void> {
    this.#out.open(emit)
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    await this.#loop.stop()
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    if (this.#loop.trouble !== undefined) return this.#out.health('degraded', this.#loop.trouble)
    return this.#out.health(
      'running',
      `by polling: a process that lives shorter than ${this.#intervalMs} ms can be missed`,
    )
  }

  async #look(signal: AbortSignal): Promise<void> {
    const listed = await listProcesses()
    if (signal.aborted) return
    this.#out.lost('process', listed.length - MAX_PROCESSES)
    const before = this.#table
    const after = new Map<number, Known>()
    this.#table = after
    for (const process of listed.slice(0, MAX_PROCESSES)) {
      const known = before?.get(process.pid)
      const isSame = known?.listed.started === process.started && known.listed.name === process.name
      after.set(process.pid, isSame ? known : { listed: process, fields: this.#fieldsOf(process) })
    }
    for (const [pid, known] of before ?? []) if (after.get(pid) !== known) this.#tell('process-ended', known)
    for (const [pid, known] of after) {
      if (before?.get(pid) !== known) this.#tell(before ? 'process-started' : 'process-existing', known)
    }
  }

  #tell(action: 'process-existing' | 'process-started' | 'process-ended', { listed, fields }: Known): void {
    const at = new Date(this.#deps.clock.now()).toISOString()
    const parent = this.#table?.get(listed.ppid)?.fields
    this.#out.event({
      '@timestamp': at,
      event: {
        category: ['process'],
        type: [action === 'process-started' ? 'start' : action === 'process-ended' ? 'end' : 'info'],
        action,
        dataset: 'firebreak.process',
        provider: 'systeminformation',
      },
      host: { name: this.#deps.hostName },
      process: {
        ...fields,
        ...present({
          parent: parent ?? (listed.ppid > 0 ? { pid: listed.ppid } : undefined),
          end: action === 'process-ended' ? at : undefined,
        }),
      },
      ...present({ user: listed.user === '' ? undefined : { name: listed.user } }),
    })
  }

  #fieldsOf(listed: Listed): NonNullable<Event['process']> {
    const startedMs = Date.parse(listed.started.replace(' ', 'T'))
    const start = Number.isFinite(startedMs) ? startedMs : undefined
    const executable =
      listed.path && !listed.command.startsWith(listed.path) ? `${listed.path}/${listed.command}` : listed.command
    return {
      pid: listed.pid,
      entity_id: entityIdOf(this.#bootId, listed.pid, start === undefined ? 0 : Math.trunc(start / 10)),
      name: listed.name,
      command_line: listed.params === '' ? listed.command : `${listed.command} ${listed.params}`,
      ...present({
        executable: executable === '' ? undefined : executable,
        start: start === undefined ? undefined : new Date(start).toISOString(),
        user: listed.user === '' ? undefined : { name: listed.user },
      }),
    }
  }
}

/** Loaded when it is needed: it costs 36 MB that an agent on Linux never uses. */
async function listProcesses(): Promise<Listed[]> {
  const { processes } = await import('systeminformation')
  const { list } = await processes()
  return list.map(({ pid, parentPid, name, path, command, params, user, started }) => ({
    pid,
    ppid: parentPid,
    name,
    path,
    command,
    params,
    user,
    started,
  }))
}

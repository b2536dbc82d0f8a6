/**
 * Process starts and connections out of auditd's log, where the kernel sensor cannot run and the audit rules of the host record `execve`
 * (and `connect`). The agent adds no rules: they are the owner's. Processes are put into the table that all sources share, so they
 * have the identity that polling would give them. Source: auditd(8), audit.rules(7); shared/src/auditd.
 */
import {
  accessSync,
  constants,
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from 'node:fs'
import { join } from 'node:path'
import { ecsOfAudit } from '@firebreak/shared/auditd/audit-ecs.ts'
import { type AuditEvent, AuditGrouper } from '@firebreak/shared/auditd/audit-events.ts'
import { AUDIT_LIMITS, parseAuditRecord } from '@firebreak/shared/auditd/audit-record.ts'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import type { Static } from 'typebox'
import { AuditProcesses } from './audit-processes.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { AuditConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { textOfBytes } from './escaped-bytes.ts'
import type { ExecutableIdentities } from './executable-identities.ts'
import { PollLoop } from './poll-loop.ts'
import type { ProcessTable } from './process-table.ts'
import type { Sources } from './sources.ts'
import { FileTail, LineSplitter } from './tail-file.ts'

export interface AuditDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  readonly root: string
  readonly table: ProcessTable
  readonly executables: ExecutableIdentities
  readonly sources: Sources
}

/** How much of the end of the log is looked through for what it records. */
const LOOKED_AT_BYTES = 512 * KiB
/** An event whose records have stopped coming is taken as it is; auditd writes them at once. */
const PATIENCE_MS = 2_000
const PID_FILE = 'run/auditd.pid'
const MAX_RULE_BYTES = 1_024 * KiB

export function createAuditCollector(deps: AuditDeps, config: Static<typeof AuditConfig>): Collector {
  return new AuditCollector(deps, config)
}

class AuditCollector implements Collector {
  readonly name = 'audit'
  readonly classes = ['process', 'network'] as const
  readonly #deps: AuditDeps
  readonly #config: Static<typeof AuditConfig>
  readonly #out = new EmitTally()
  readonly #loop: PollLoop
  readonly #lines = new LineSplitter(AUDIT_LIMITS.line)
  readonly #grouper = new AuditGrouper()
  readonly #processes: AuditProcesses
  #tail: FileTail | undefined
  #recordsConnect = false
  #lastRecordMs = 0
  #unreadable: string | undefined
  #daemonSeen = false
  #daemonGone = false

  constructor(deps: AuditDeps, config: Static<typeof AuditConfig>) {
    this.#deps = deps
    this.#config = config
    this.#processes = new AuditProcesses(deps, this.#out)
    this.#loop = new PollLoop(deps.clock, config.interval_ms, () => this.#look())
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.audit.enabled is false')
    if (this.#deps.platform !== 'linux') return refuse('unsupported_system', 'only Linux has this audit system')
    const path = this.#path(this.#config.log_path)
    if (!existsSync(path)) return refuse('missing_source', `${path} is not there: auditd does not run`)
    try {
      accessSync(path, constants.R_OK)
    } catch (error) {
      return refuse('no_permission', `${path} cannot be read: ${reasonOf(error)}`)
    }
    return this.#recorded('execve')
      ? ok()
      : refuse('missing_source', 'neither the audit rules nor the end of the log speak of execve')
  }

  async start(emit: Emit): Promise<void> {
    this.#out.open(emit)
    this.#tail = new FileTail(this.#path(this.#config.log_path))
    this.#recordsConnect = this.#recorded('connect')
    this.#daemonSeen = this.#daemonRuns() === true
    this.#daemonGone = false
    this.#look()
    this.#offer()
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    await this.#loop.stop()
    this.#tail?.close()
    this.#tail = undefined
    for (const eventClass of this.classes) this.#deps.sources.withdraw(this.name, eventClass)
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    const trouble = this.#unreadable ?? this.#loop.trouble ?? (this.#daemonGone ? 'auditd has ended' : undefined)
    if (trouble !== undefined) return this.#out.health('degraded', trouble)
    if (!this.#speaks('process')) return this.#out.health('running', 'stands by: a better source tells processes')
    return this.#out.health('running', undefined)
  }

  #speaks(eventClass: 'process' | 'network'): boolean {
    return this.#deps.sources.speaks(this.name, eventClass)
  }

  /** Ends of processes are not in the log: polling finds them later. */
  #offer(): void {
    const { sources } = this.#deps
    if (this.#daemonGone || this.#unreadable !== undefined) {
      const absence = { source: 'audit', reason: 'collector_off', why: this.#unreadable ?? 'auditd has ended' } as const
      for (const eventClass of this.classes) sources.withdraw(this.name, eventClass, absence)
      return
    }
    sources.offer(this.name, 'process', {
      source: 'audit',
      quality: 'partial',
      why: 'ends of processes are seen only when polling compares',
    })
    if (this.#recordsConnect)
      sources.offer(this.name, 'network', {
        source: 'audit',
        quality: 'partial',
        why: 'only connections that the audit rules record; no ports that listen, no ends',
      })
  }

  #look(): void {
    const tail = this.#tail
    if (!tail) return
    const nowMs = this.#deps.clock.monotonic()
    const before = `${this.#daemonGone}${this.#unreadable}`
    try {
      for (;;) {
        const bytes = tail.read()
        this.#unreadable = undefined
        if (bytes.length === 0) break
        this.#lastRecordMs = nowMs
        for (const line of this.#lines.push(bytes)) this.#takeLine(textOfBytes(line))
        this.#lost(this.#lines.takeSkipped())
      }
    } catch (error) {
      this.#unreadable = reasonOf(error)
    }
    if (this.#grouper.openEvents > 0 && nowMs - this.#lastRecordMs > PATIENCE_MS)
      for (const event of this.#grouper.flush()) this.#take(event)
    if (this.#daemonSeen) this.#daemonGone = this.#daemonRuns() === false
    if (`${this.#daemonGone}${this.#unreadable}` !== before) this.#offer()
  }

  #takeLine(line: string): void {
    if (line === '') return
    const record = parseAuditRecord(line)
    if (record.ok) for (const event of this.#grouper.push(record.value, 0)) this.#take(event)
    else this.#lost(1)
  }

  /** Records that cannot be read may have been of any kind; a start is what they are read for. */
  #lost(records: number): void {
    if (this.#speaks('process')) this.#out.lost('process', records)
  }

  #take(audited: AuditEvent): void {
    const event = ecsOfAudit(audited, {
      hostName: this.#deps.hostName,
      nameOf: (uid) => this.#deps.table.accounts.nameOf(uid),
    })
    // A log that gathers other hosts is theirs to tell.
    const own: Event = { ...event, host: { name: this.#deps.hostName } }
    if (event.event.action === 'exec') {
      if (this.#speaks('process')) this.#processes.started(own)
    } else if (event.event.action === 'connect' && event.destination !== undefined) {
      if (!this.#speaks('network')) return
      const attempted: Event = { ...own, event: { ...own.event, action: 'connection-attempted' } }
      this.#out.event(this.#processes.withDoer(attempted))
    }
  }

  /** Whether rules or the log itself speak of a system call. */
  #recorded(syscall: 'execve' | 'connect'): boolean {
    const rule = new RegExp(String.raw`^\s*-a\s.*-S\s*(?:\S*,)?(?:all|${syscall})(?:,|\s|$)`, 'm')
    for (const path of this.#rulePaths()) {
      try {
        if (rule.test(readFileSync(path, 'utf8').slice(0, MAX_RULE_BYTES))) return true
      } catch {
        // Not ours to read, or gone: the log decides.
      }
    }
    return (syscall === 'execve' ? /^(?:node=\S+ )?type=EXECVE /m : /^(?:node=\S+ )?type=SOCKADDR /m).test(this.#end())
  }

  #rulePaths(): string[] {
    const folder = this.#path('etc/audit/rules.d')
    const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.rules')) : []
    return [this.#path('etc/audit/audit.rules'), ...files.slice(0, 64).map((name) => join(folder, name))]
  }

  #end(): string {
    const fd = openSync(this.#path(this.#config.log_path), 'r')
    try {
      const { size } = fstatSync(fd)
      const bytes = Buffer.alloc(Math.min(size, LOOKED_AT_BYTES))
      const length = readSync(fd, bytes, 0, bytes.length, size - bytes.length)
      return bytes.toString('latin1', 0, length)
    } finally {
      closeSync(fd)
    }
  }

  /** `undefined`: it has not told its pid. */
  #daemonRuns(): boolean | undefined {
    try {
      const pid = Number.parseInt(readFileSync(this.#path(PID_FILE), 'latin1'), 10)
      return Number.isInteger(pid) ? existsSync(join(this.#deps.table.reader.root, String(pid))) : undefined
    } catch {
      return this.#daemonSeen ? false : undefined
    }
  }

  #path(path: string): string {
    return join(this.#deps.root, path)
  }
}

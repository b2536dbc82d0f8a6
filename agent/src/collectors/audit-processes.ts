/** Execs of the audit log as process events: what the record says of the program, and the identity and lineage that the shared table gives. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { commandLineOf } from './command-line.ts'
import type { EmitTally } from './emit-tally.ts'
import type { ExecutableIdentities } from './executable-identities.ts'
import { type EventContext, basicFields, processEvent } from './process-events.ts'
import { type ProcessEntry, type ProcessTable, metIn } from './process-table.ts'
import type { ProcessImage, ProcessStat } from './procfs-process.ts'

const TICK_MS = 10

export interface AuditProcessesDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly table: ProcessTable
  readonly executables: ExecutableIdentities
}

export class AuditProcesses {
  readonly #deps: AuditProcessesDeps
  readonly #table: ProcessTable
  readonly #out: EmitTally

  constructor(deps: AuditProcessesDeps, out: EmitTally) {
    this.#deps = deps
    this.#table = deps.table
    this.#out = out
  }

  started(event: Event): void {
    const pid = event.process?.pid
    if (pid === undefined) return
    const stat = this.#table.reader.stat(pid)
    const known = stat && this.#table.find(pid, stat.startTicks)
    const wasTold = known?.telling === 'told'
    const entry = known ?? this.#admit(event, pid, stat)
    const image = imageOf(event, stat === undefined ? undefined : this.#table.reader.image(pid, stat.comm))
    entry.telling = 'told'
    entry.touchedMs = this.#table.nowMs()
    entry.imageOfMs = entry.touchedMs
    if (stat !== undefined) {
      entry.stack = stat.startStack
      entry.comm = stat.comm
    }
    this.#table.change(entry, { image, executable: undefined })
    const action = wasTold ? 'exec' : 'process-started'
    if (stat === undefined) this.#table.forget(entry)
    else
      this.#deps.executables.identify(entry, this.#table, (identified) => {
        const at = new Date(this.#deps.clock.now()).toISOString()
        this.#out.event(processEvent('executable-identified', at, identified, this.#context()))
      })
    const told = processEvent(action, event['@timestamp'], entry.known, this.#context())
    this.#out.event({ ...told, ...(event.auditd === undefined ? {} : { auditd: event.auditd }) })
  }

  /** Another kind of event, with the process that did it as the table knows it. */
  withDoer(event: Event): Event {
    const pid = event.process?.pid
    const stat = pid === undefined ? undefined : this.#table.reader.stat(pid)
    const known =
      pid === undefined
        ? undefined
        : stat === undefined
          ? this.#table.last(pid)
          : this.#table.find(pid, stat.startTicks)
    if (known === undefined) return event
    return { ...event, process: { ...event.process, ...basicFields(known.known, this.#table.accounts) } }
  }

  /** Met for the first time. Of one that is gone already its start is taken for the time of the exec: it lived no longer than this. */
  #admit(event: Event, pid: number, stat: ProcessStat | undefined): ProcessEntry {
    const bootedAtMs = this.#table.reader.bootedAt(this.#deps.clock.now())
    const execTicks = Math.max(0, Math.floor((Date.parse(event['@timestamp']) - bootedAtMs) / TICK_MS))
    const startTicks = stat?.startTicks ?? execTicks
    const ppid = stat?.ppid ?? event.process?.parent?.pid ?? 0
    const parent = this.#table.get(ppid)
    const older = parent !== undefined && parent.known.startTicks <= startTicks ? parent : undefined
    const nowMs = this.#table.nowMs()
    const entry = this.#table.entryOf({
      session: 0,
      tty: event.process?.tty,
      comm: event.process?.name ?? '',
      ...(stat === undefined ? {} : metIn(stat)),
      pid,
      startTicks,
      startedAt: new Date(bootedAtMs + startTicks * TICK_MS).toISOString(),
      ppid,
      image: imageOf(event, undefined),
      parent: older,
      isKernelThread: false,
      telling: 'untold',
      nowMs,
      imageOfMs: nowMs,
    })
    this.#table.add(entry)
    return entry
  }

  #context(): EventContext {
    const { accounts, ordinary } = this.#table
    return { hostName: this.#deps.hostName, accounts, provider: 'auditd', ordinary }
  }
}

/** The record tells what was run; what it does not tell is taken from the living process, if that still runs the same program. */
function imageOf(event: Event, living: ProcessImage | undefined): ProcessImage {
  const { process, user } = event
  const executable = process?.executable
  const same = living !== undefined && living.executable === executable ? living : undefined
  return {
    name: process?.name ?? living?.name ?? '',
    executable,
    executableDeleted: same?.executableDeleted ?? false,
    executableMemfd: same?.executableMemfd ?? false,
    file: same?.file,
    commandLine:
      process?.args === undefined ? same?.commandLine : commandLineOf(Buffer.from(`${process.args.join('\0')}\0`)),
    workingDirectory: process?.working_directory ?? same?.workingDirectory,
    uid: user?.id,
    effectiveUid: user?.effective?.id ?? user?.id,
    loginUid: user?.audit?.id,
    capabilities: same?.capabilities,
    cgroup: living?.cgroup,
    namespaces: same?.namespaces,
  }
}

/**
 * Logins, failed logins, su and sudo: from the journal or an authentication log, and sessions from wtmp. btmp is read only where no
 * text source is, because it says the same failures again. A line in a log file can be forged by who may write to syslog; in the journal
 * the kernel tells the writer, and lines of unprivileged writers are left out.
 */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { AccountNames } from './accounts.ts'
import { type AuthLine, type AuthProvider, authEvent, utmpEvent } from './auth-events.ts'
import { MAX_LINE, parseAuthMessage } from './auth-messages.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { LoginsConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { textOfBytes } from './escaped-bytes.ts'
import { type JournalEntry, JournalFollow } from './journal-follow.ts'
import { PollLoop } from './poll-loop.ts'
import { FileTail, LineSplitter } from './tail-file.ts'
import { parseUtmp, utmpLayoutOf } from './utmp.ts'

const PROGRAMS = ['sshd', 'sshd-session', 'sudo', 'su', 'login', 'systemd-logind'] as const
/** Programs that anybody may start and that are root while they write; the journal shows the account of who started them. */
const SETUID_PROGRAMS = /^\/(?:usr\/)?(?:local\/)?bin\/(?:sudo|su|login)$/
const MAX_EXISTING_BYTES = MiB

export interface LoginsDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly root: string
  readonly architecture: NodeJS.Architecture
  readonly journalctl: string
  readonly stateFolder: string | undefined
}

export function createLoginsCollector(deps: LoginsDeps, config: Static<typeof LoginsConfig>): Collector {
  return new LoginsCollector(deps, config)
}

class LoginsCollector implements Collector {
  readonly name = 'logins'
  readonly classes = ['authentication'] as const
  readonly source = 'log'
  readonly #deps: LoginsDeps
  readonly #config: Static<typeof LoginsConfig>
  readonly #out = new EmitTally()
  readonly #accounts: AccountNames
  readonly #loop: PollLoop
  readonly #lines = new LineSplitter(2 * MAX_LINE)
  readonly #halfRecord = new Map<FileTail, Buffer>()
  #journal: JournalFollow | undefined
  #log: FileTail | undefined
  #records: readonly { readonly tail: FileTail; readonly provider: AuthProvider }[] = []
  #forged = 0
  readonly #unreadable = new Map<string, string>()

  constructor(deps: LoginsDeps, config: Static<typeof LoginsConfig>) {
    this.#deps = deps
    this.#config = config
    this.#accounts = new AccountNames(deps.clock, deps.root)
    this.#loop = new PollLoop(deps.clock, config.interval_ms, () => this.#look())
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.logins.enabled is false')
    if (this.#hasJournal()) return ok()
    const files = [...this.#logPaths(), this.#path('var/log/wtmp'), this.#path('var/log/btmp')]
    const there = files.filter((path) => existsSync(path))
    if (there.length === 0) return refuse('missing_source', `no journal and none of ${files.join(', ')}`.slice(0, 512))
    return there.some(isReadable) ? ok() : refuse('no_permission', `cannot read ${there.join(', ')}`.slice(0, 512))
  }

  async start(emit: Emit): Promise<void> {
    this.#out.open(emit)
    if (this.#hasJournal()) this.#startJournal()
    else {
      const path = this.#logPaths().find((path) => existsSync(path))
      this.#log = path === undefined ? undefined : new FileTail(path)
    }
    const wtmp = { tail: new FileTail(this.#path('var/log/wtmp')), provider: 'wtmp' } as const
    const btmp = { tail: new FileTail(this.#path('var/log/btmp')), provider: 'btmp' } as const
    this.#records = this.#journal || this.#log ? [wtmp] : [wtmp, btmp]
    this.#tellExisting()
    this.#look()
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    await Promise.all([this.#journal?.stop(), this.#loop.stop()])
    this.#log?.close()
    for (const { tail } of this.#records) tail.close()
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    const troubles = [...this.#unreadable].map(([path, why]) => `${path}: ${why}`)
    for (const trouble of [this.#journal?.trouble, this.#loop.trouble])
      if (trouble !== undefined) troubles.push(trouble)
    if (!this.#journal && !this.#log)
      troubles.push('no journal and no authentication log: sudo, su and methods of login are not seen')
    if (troubles.length > 0) return this.#out.health('degraded', troubles.join('; '))
    return this.#out.health(
      'running',
      this.#forged > 0 ? `${this.#forged} lines of unprivileged writers were left out` : undefined,
    )
  }

  #startJournal(): void {
    const { clock, journalctl, stateFolder } = this.#deps
    this.#journal = new JournalFollow(
      { clock, journalctl, cursorFile: stateFolder === undefined ? undefined : join(stateFolder, 'journal-cursor') },
      PROGRAMS,
      (entry) => this.#takeEntry(entry),
      (count) => this.#out.lost('authentication', count),
    )
    this.#journal.start()
  }

  #look(): void {
    this.#guard(this.#log, (bytes) => {
      for (const line of this.#lines.push(bytes)) this.#takeLogLine(line)
      this.#out.lost('authentication', this.#lines.takeSkipped())
    })
    for (const { tail, provider } of this.#records) {
      this.#guard(tail, (bytes) => this.#takeRecords(tail, bytes, provider))
    }
  }

  /** A file that cannot be read is named in the health and does not keep the others from being read. */
  #guard(tail: FileTail | undefined, take: (bytes: Buffer) => void): void {
    if (!tail) return
    try {
      const bytes = tail.read()
      this.#unreadable.delete(tail.path)
      if (bytes.length > 0) take(bytes)
    } catch (error) {
      this.#unreadable.set(tail.path, reasonOf(error))
    }
  }

  #takeEntry(entry: JournalEntry): void {
    if (entry.uid !== '0' && !SETUID_PROGRAMS.test(entry.executable)) {
      this.#forged += 1
      return
    }
    this.#tell(entry, 'journald')
  }

  #takeLogLine(bytes: Buffer): void {
    const line = parseSyslogLine(textOfBytes(bytes), this.#deps.clock.now())
    if (line) this.#tell(line, 'auth-log')
  }

  #tell(line: AuthLine, provider: AuthProvider): void {
    const fact = parseAuthMessage(line.program, line.message)
    if (!fact) return
    this.#out.event(authEvent(fact, line, provider, this.#deps.hostName, (uid) => this.#accounts.nameOf(uid)))
  }

  #takeRecords(tail: FileTail, bytes: Buffer, provider: AuthProvider): void {
    const whole = Buffer.concat([this.#halfRecord.get(tail) ?? Buffer.alloc(0), bytes])
    const { records, rest } = parseUtmp(whole, utmpLayoutOf(this.#deps.architecture))
    this.#halfRecord.set(tail, whole.subarray(whole.length - rest))
    for (const record of records) {
      const event = utmpEvent(record, provider, this.#deps.hostName)
      if (event) this.#out.event(event)
    }
  }

  #tellExisting(): void {
    const path = this.#path('run/utmp')
    const stat = statSync(path, { throwIfNoEntry: false })
    if (!stat || stat.size > MAX_EXISTING_BYTES || !isReadable(path)) return
    for (const record of parseUtmp(readFileSync(path), utmpLayoutOf(this.#deps.architecture)).records) {
      const event = utmpEvent(record, 'utmp', this.#deps.hostName)
      if (event?.event.type[0] === 'info') this.#out.event(event)
    }
  }

  #hasJournal(): boolean {
    if (this.#config.source !== 'auto') return this.#config.source === 'journal'
    return existsSync(this.#path('run/systemd/journal/socket'))
  }

  #logPaths(): string[] {
    return this.#config.auth_log_paths.map((path) => this.#path(path))
  }

  #path(path: string): string {
    return join(this.#deps.root, path)
  }
}

/**
 * `Nov  4 08:15:48 host sshd[123]: text` (RFC 3164: no year, local time, so the time of reading stands for it) or with an RFC 3339
 * time, as rsyslog writes by default since Debian 12.
 */
export function parseSyslogLine(text: string, nowMs: number): AuthLine | undefined {
  const head =
    /^(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)|(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))) \S{1,255} ([\w./-]{1,64})(?:\[(\d{1,10})\])?: /.exec(
      text,
    )
  if (!head) return undefined
  const at = head[2] === undefined ? nowMs : Date.parse(head[2])
  return {
    atMs: Number.isFinite(at) ? at : nowMs,
    program: (head[3] ?? '').slice((head[3] ?? '').lastIndexOf('/') + 1),
    pid: head[4] === undefined ? undefined : Number(head[4]),
    message: text.slice(head[0].length),
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

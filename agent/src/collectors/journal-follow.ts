import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import { textOfBytes } from './escaped-bytes.ts'
import { LineSplitter } from './tail-file.ts'

const MAX_ENTRY_BYTES = 64 * KiB
const RESTART_MS = 5_000
const SAVE_MS = 5_000
const KILL_MS = 2_000
const CURSOR = /^[\w=;.-]{1,512}$/

export interface JournalEntry {
  readonly program: string
  readonly message: string
  readonly pid: number | undefined
  readonly atMs: number
  /** Told by the kernel, not by the writer: the account and the executable that wrote it. */
  readonly uid: string
  readonly executable: string
}

export interface JournalFollowDeps {
  readonly clock: Clock
  /** The program to run: `journalctl`, or another in tests. */
  readonly journalctl: string
  /** Where to go on after a restart of the agent; undefined: nothing is kept, and it starts with what is new. */
  readonly cursorFile: string | undefined
}

/** Follows the journal for some programs, over the end of journalctl itself. Source: journalctl(1), systemd.journal-fields(7). */
export class JournalFollow {
  readonly #deps: JournalFollowDeps
  readonly #programs: readonly string[]
  readonly #take: (entry: JournalEntry) => void
  readonly #lost: (count: number) => void
  readonly #stop = new AbortController()
  #running: Promise<void> | undefined
  #cursor: string | undefined
  #savedAtMs = 0
  #trouble: string | undefined

  constructor(
    deps: JournalFollowDeps,
    programs: readonly string[],
    take: (entry: JournalEntry) => void,
    lost: (count: number) => void,
  ) {
    this.#deps = deps
    this.#programs = programs
    this.#take = take
    this.#lost = lost
  }

  get trouble(): string | undefined {
    return this.#trouble
  }

  start(): void {
    this.#cursor = this.#readCursor()
    this.#running ??= this.#run(this.#stop.signal)
  }

  /** The child has ended when it resolves. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
    this.#saveCursor()
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const ended = await this.#followOnce(signal)
      if (signal.aborted) return
      this.#trouble = `journalctl ended: ${ended}`.slice(0, 256)
      await this.#deps.clock.sleep(RESTART_MS, signal).catch(() => undefined)
    }
  }

  /** Resolves with why it ended. */
  #followOnce(signal: AbortSignal): Promise<string> {
    const child = spawn(this.#deps.journalctl, this.#arguments(), { stdio: ['ignore', 'pipe', 'pipe'] })
    const lines = new LineSplitter(MAX_ENTRY_BYTES)
    let complaint = ''
    child.stderr.on('data', (bytes: Buffer) => {
      complaint = (complaint + bytes.toString('latin1')).slice(-256)
    })
    child.stdout.on('data', (bytes: Buffer) => {
      if (signal.aborted) return
      this.#trouble = undefined
      for (const line of lines.push(bytes)) this.#takeLine(line)
      this.#lost(lines.takeSkipped())
    })
    return new Promise((resolve) => {
      const end = endOnAbort(child, signal)
      child.once('error', (error) => {
        // Not started at all, so nothing is left to end.
        end()
        resolve(reasonOf(error))
      })
      child.once('close', (code) => {
        end()
        // A cursor that the journal does not know any more must not keep us from reading on.
        if (code !== 0 && !signal.aborted) this.#cursor = undefined
        resolve(complaint.trim() || `exit code ${code}`)
      })
    })
  }

  #arguments(): string[] {
    const from = this.#cursor === undefined ? ['--lines=0'] : ['--no-tail', `--after-cursor=${this.#cursor}`]
    return [
      '--follow',
      '--quiet',
      '--no-pager',
      '--output=json',
      '--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_PID,_UID,_EXE',
      ...from,
      ...this.#programs.map((program) => `SYSLOG_IDENTIFIER=${program}`),
    ]
  }

  #takeLine(line: Buffer): void {
    const entry = parseJournalEntry(line)
    if (!entry) {
      this.#lost(1)
      return
    }
    this.#cursor = entry.cursor
    this.#take(entry)
    const nowMs = this.#deps.clock.monotonic()
    if (nowMs - this.#savedAtMs < SAVE_MS) return
    this.#savedAtMs = nowMs
    this.#saveCursor()
  }

  #readCursor(): string | undefined {
    if (this.#deps.cursorFile === undefined) return undefined
    try {
      const cursor = readFileSync(this.#deps.cursorFile, 'latin1').trim()
      return CURSOR.test(cursor) ? cursor : undefined
    } catch {
      // The first start, or a lost state folder: both begin with what is new.
      return undefined
    }
  }

  #saveCursor(): void {
    const { cursorFile } = this.#deps
    if (cursorFile === undefined || this.#cursor === undefined) return
    try {
      mkdirSync(dirname(cursorFile), { recursive: true, mode: 0o700 })
      writeFileSync(`${cursorFile}.new`, `${this.#cursor}\n`, { mode: 0o600 })
      renameSync(`${cursorFile}.new`, cursorFile)
    } catch (error) {
      this.#trouble = `the place in the journal cannot be kept: ${reasonOf(error)}`
    }
  }
}

/** One line of `journalctl --output=json`; undefined for what is not or whose message was too long to be shown. */
export function parseJournalEntry(line: Buffer): (JournalEntry & { readonly cursor: string | undefined }) | undefined {
  let fields: unknown
  try {
    fields = JSON.parse(line.toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof fields !== 'object' || fields === null) return undefined
  const field = (name: string) => fieldText((fields as Record<string, unknown>)[name])
  const message = field('MESSAGE')
  const atMs = Number(field('__REALTIME_TIMESTAMP')) / 1_000
  if (message === undefined || !Number.isFinite(atMs) || atMs < 0 || atMs > 8.64e15) return undefined
  const pid = Number(field('_PID'))
  const cursor = field('__CURSOR')
  return {
    program: field('SYSLOG_IDENTIFIER') ?? '',
    message,
    pid: Number.isInteger(pid) ? pid : undefined,
    atMs,
    uid: field('_UID') ?? '',
    executable: field('_EXE') ?? '',
    cursor: cursor !== undefined && CURSOR.test(cursor) ? cursor : undefined,
  }
}

/** Text, or the bytes of what is no UTF-8, or a list when the field came several times. */
function fieldText(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (!Array.isArray(value)) return undefined
  return value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255)
    ? textOfBytes(Uint8Array.from(value as number[]))
    : fieldText(value[0])
}

/** Ends the child when told to stop, by force when it does not listen; returns how to call that off. */
function endOnAbort(child: ChildProcessByStdio<null, Readable, Readable>, signal: AbortSignal): () => void {
  let force: NodeJS.Timeout | undefined
  const end = () => {
    child.kill('SIGTERM')
    force = setTimeout(() => child.kill('SIGKILL'), KILL_MS)
  }
  if (signal.aborted) end()
  else signal.addEventListener('abort', end, { once: true })
  return () => {
    signal.removeEventListener('abort', end)
    clearTimeout(force)
  }
}

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { Fault } from '@firebreak/shared/result.ts'
import { childrenOf, pidInNamespace } from './process-table.ts'

const MAX_OUTPUT_BYTES = 32 * 1024 * 1024
const AFTER_EXIT_MS = 500

export interface Finished {
  /** Exit code; 128 + signal number when a signal ended it, as a shell says it. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface ExecOptions {
  readonly input?: string | Uint8Array
  /** Default 60 s. Past it everything that was started is killed and `lab_timed_out` is thrown. */
  readonly timeoutMs?: number
  /** Default true: a code other than 0 throws `lab_command_failed`. */
  readonly check?: boolean
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface SpawnOptions extends Pick<ExecOptions, 'env' | 'cwd' | 'input'> {
  /** Keep standard input open for `write`; `endInput` closes it. */
  readonly keepInputOpen?: boolean
}

/** A program that goes on running beside the test. */
export interface Running extends AsyncDisposable {
  readonly stdout: string
  readonly stderr: string
  readonly ended: boolean
  /** Resolves when it has ended and its output has been read. Never rejects. */
  readonly exited: Promise<Finished>
  /** Its process number as programs beside it see it (inside of the host); nothing once it has ended. */
  pidInside(): Promise<number | undefined>
  /** Its process number as this process sees it; nothing before it runs and once it has ended. */
  pidOutside(): number | undefined
  /** Resolves with the match when standard output or standard error contains it; throws `lab_timed_out` or `lab_command_failed` (ended first). */
  waitForOutput(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  write(input: string | Uint8Array): void
  endInput(): void
  /** Signals the program itself (not its children); default SIGTERM. */
  kill(signal?: NodeJS.Signals): Promise<void>
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
}

/** How a command line is brought to where it shall run. `wrapped`: the first process only waits for a child in another PID namespace (nsenter). */
export interface Entry {
  readonly argv: readonly string[]
  readonly wrapped: boolean
}

/** Starts a program in a process group of its own, so that a timeout can end all of it. */
export function start(entry: Entry, options: SpawnOptions = {}): Running {
  const [file, ...rest] = entry.argv
  if (file === undefined) throw new Fault('lab_bad_request', 'a command needs at least its program')
  const wantsInput = options.input !== undefined || options.keepInputOpen === true
  const child = spawn(file, rest, {
    detached: true,
    stdio: [wantsInput ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  })
  return new Program(child, entry, options.input, options.keepInputOpen === true)
}

/** Runs a program to its end. */
export async function run(entry: Entry, shown: string, options: ExecOptions = {}): Promise<Finished> {
  const { timeoutMs = 60_000, check = true } = options
  const program = start(entry, options)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), timeoutMs)
  })
  const finished = await Promise.race([program.exited, late])
  clearTimeout(timer)
  if (finished === 'late') {
    await program[Symbol.asyncDispose]()
    throw new Fault(
      'lab_timed_out',
      `not finished after ${timeoutMs} ms: ${shown}\n${tail(program.stdout)}${tail(program.stderr)}`,
    )
  }
  if (check && finished.code !== 0)
    throw new Fault(
      'lab_command_failed',
      `exit code ${finished.code}: ${shown}\n${tail(finished.stdout)}${tail(finished.stderr)}`,
    )
  return finished
}

function tail(text: string): string {
  return text.length > 2_000 ? `...${text.slice(-2_000)}` : text
}

class Program implements Running {
  readonly exited: Promise<Finished>
  readonly #child: ChildProcess
  readonly #entry: Entry
  readonly #chunks: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] }
  readonly #watchers = new Set<() => void>()
  #bytes = 0
  #cut = false
  #ended = false

  constructor(child: ChildProcess, entry: Entry, input: string | Uint8Array | undefined, keepInputOpen: boolean) {
    this.#child = child
    this.#entry = entry
    this.#collect('stdout')
    this.#collect('stderr')
    // A program may end without reading its input; that is its right and shows in its exit code.
    child.stdin?.on('error', () => {})
    if (input !== undefined) child.stdin?.write(input)
    if (!keepInputOpen) child.stdin?.end()
    this.exited = new Promise((resolve) => {
      let code = 0
      let drain: NodeJS.Timeout | undefined
      const done = (): void => {
        if (this.#ended) return
        clearTimeout(drain)
        this.#ended = true
        resolve({ code, stdout: this.stdout, stderr: this.stderr })
        for (const watcher of this.#watchers) watcher()
      }
      child.once('error', (error) => {
        code = 127
        this.#chunks.stderr.push(Buffer.from(`${error.message}\n`))
        done()
      })
      child.once('exit', (exitCode, signal) => {
        code = exitCode ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0)
        // A child left in the background can hold the pipes open for ever: what it still says is not waited for.
        drain = setTimeout(() => {
          child.stdout?.destroy()
          child.stderr?.destroy()
          done()
        }, AFTER_EXIT_MS)
      })
      child.once('close', done)
    })
  }

  get stdout(): string {
    return Buffer.concat(this.#chunks.stdout).toString('utf8')
  }

  get ended(): boolean {
    return this.#ended
  }

  get stderr(): string {
    return Buffer.concat(this.#chunks.stderr).toString('utf8')
  }

  async pidInside(): Promise<number | undefined> {
    for (let tries = 0; tries < 100 && !this.#ended; tries++) {
      const pid = this.pidOutside()
      const inside = pid === undefined ? undefined : pidInNamespace(pid)
      if (inside !== undefined) return inside
      await new Promise((resolve) => {
        setTimeout(resolve, 10)
      })
    }
    return undefined
  }

  async waitForOutput(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpExecArray> {
    const found = (): RegExpExecArray | null => pattern.exec(this.stdout) ?? pattern.exec(this.stderr)
    return await new Promise((resolve, reject) => {
      const settle = (finish: () => void): void => {
        clearTimeout(timer)
        this.#watchers.delete(look)
        finish()
      }
      const said = (): string => `${tail(this.stdout)}${tail(this.stderr)}`
      const timer = setTimeout(
        () =>
          settle(() =>
            reject(new Fault('lab_timed_out', `no output like ${pattern} within ${timeoutMs} ms\n${said()}`)),
          ),
        timeoutMs,
      )
      const look = (): void => {
        const match = found()
        if (match !== null) settle(() => resolve(match))
        else if (this.#ended)
          settle(() => reject(new Fault('lab_command_failed', `ended without output like ${pattern}\n${said()}`)))
      }
      this.#watchers.add(look)
      look()
    })
  }

  write(input: string | Uint8Array): void {
    this.#child.stdin?.write(input)
  }

  endInput(): void {
    this.#child.stdin?.end()
  }

  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.pidInside() // it may have been started a moment ago and not be there yet
    const pid = this.#ended ? undefined : this.pidOutside()
    if (pid !== undefined) sendSignal(pid, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const inner = this.#ended ? undefined : this.pidOutside() // it may have left the process group (setsid)
    if (inner !== undefined) sendSignal(inner, 'SIGKILL')
    if (this.#child.pid !== undefined && !this.#ended) sendSignal(-this.#child.pid, 'SIGKILL')
    await this.exited
  }

  pidOutside(): number | undefined {
    const pid = this.#child.pid
    if (pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return undefined
    return this.#entry.wrapped ? childrenOf(pid)[0] : pid
  }

  #collect(stream: 'stdout' | 'stderr'): void {
    this.#child[stream]?.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length
      if (this.#cut) return
      this.#cut = this.#bytes > MAX_OUTPUT_BYTES
      this.#chunks[stream].push(
        this.#cut ? Buffer.from(`\n[cut: more than ${MAX_OUTPUT_BYTES} bytes of output]\n`) : chunk,
      )
      for (const watcher of this.#watchers) watcher()
    })
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ESRCH') throw cause // it ended by itself in between
  }
}

/**
 * The sensor as a child: started, configured, watched and started again. It gives a sign of life in numbers at least every two seconds;
 * one that falls silent is ended and replaced, as is one that dies. Between two lives nobody sees, and that is told with its time.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { type SensorConfiguration, encodeSensorConfiguration } from './sensor-configure.ts'
import { SensorFrames } from './sensor-frames.ts'
import { decodeSensorRecord } from './decode-record.ts'
import type { SensorHello, SensorRecord } from './sensor-records.ts'

export const STATS_MS = 2_000
const TIMING: SensorTiming = {
  helloMs: 10_000,
  silentMs: 7_000,
  firstWaitMs: 250,
  longestWaitMs: 60_000,
  soundMs: 60_000,
}
const STDERR_KEPT = 400

export interface SensorTiming {
  /** Until it must have said what it can see. */
  readonly helloMs: number
  /** Without any record for so long it is taken for stuck. */
  readonly silentMs: number
  /** Before it is started again; doubled each time, up to the longest. */
  readonly firstWaitMs: number
  readonly longestWaitMs: number
  /** After so long a life the wait is short again. */
  readonly soundMs: number
}

export interface SensorListener {
  /** It runs and says what it sees. */
  up(hello: SensorHello): void
  record(record: SensorRecord): void
  /** A frame that is no record: the two do not fit together. */
  bad(why: string): void
  /** Before and after the records of one piece. */
  batch(isStart: boolean): void
  /** It is gone, and why, in words. */
  down(why: string): void
}

export interface SensorProcessDeps {
  readonly clock: Clock
  readonly path: string
  readonly args?: readonly string[]
  readonly timing?: Partial<SensorTiming>
  /** Asked at each start. */
  readonly configuration: () => SensorConfiguration
  readonly listener: SensorListener
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>

export class SensorProcess {
  readonly #deps: SensorProcessDeps
  readonly #timing: SensorTiming
  readonly #stop = new AbortController()
  #child: Child | undefined
  #life: Promise<void> | undefined
  #lastFrameMs = 0
  #isUp = false

  constructor(deps: SensorProcessDeps) {
    this.#deps = deps
    this.#timing = { ...TIMING, ...deps.timing }
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves when the first one runs, or when it is clear that it does not yet. */
  async start(): Promise<void> {
    const first = Promise.withResolvers<void>()
    this.#life = this.#live(first.resolve)
    await first.promise
  }

  /** No child is left when it resolves. */
  async stop(): Promise<void> {
    this.#stop.abort()
    this.#child?.kill('SIGKILL')
    await this.#life
  }

  /** The whole configuration anew. */
  configure(): void {
    const child = this.#child
    if (!child || child.stdin.destroyed) return
    const frame = encodeSensorConfiguration(this.#deps.configuration())
    if (!frame.ok) throw new TypeError(`the configuration of the sensor: ${frame.why}`)
    child.stdin.write(frame.value)
  }

  async #live(started: () => void): Promise<void> {
    const { signal } = this.#stop
    let waitMs = this.#timing.firstWaitMs
    while (!signal.aborted) {
      const bornMs = this.#deps.clock.monotonic()
      const why = await this.#runOnce(started)
      started()
      this.#isUp = false
      this.#child = undefined
      if (signal.aborted) return
      this.#deps.listener.down(why)
      if (this.#deps.clock.monotonic() - bornMs >= this.#timing.soundMs) waitMs = this.#timing.firstWaitMs
      try {
        await this.#deps.clock.sleep(waitMs, signal)
      } catch (error) {
        if (!signal.aborted) throw error
      }
      waitMs = Math.min(waitMs * 2, this.#timing.longestWaitMs)
    }
  }

  /** One life. Resolves with why it ended. */
  async #runOnce(started: () => void): Promise<string> {
    const child = spawn(this.#deps.path, [...(this.#deps.args ?? [])], { stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' })
    this.#child = child
    this.#lastFrameMs = this.#deps.clock.monotonic()
    let why: string | undefined
    const kill = (reason: string) => {
      why ??= reason
      child.kill('SIGKILL')
    }
    const frames = new SensorFrames()
    child.stdout.on('data', (chunk: Buffer) => {
      this.#lastFrameMs = this.#deps.clock.monotonic()
      this.#deps.listener.batch(true)
      const taken = frames.push(chunk, (frame) => this.#take(frame, started, kill))
      this.#deps.listener.batch(false)
      if (!taken.ok) kill(`its output cannot be read: ${taken.why}`)
    })
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString('utf8')).slice(-STDERR_KEPT)
    })
    // It may end while it is written to; its end is told by `close`.
    child.stdin.on('error', () => undefined)
    const ended = new Promise<string>((resolve) => {
      child.on('error', (error) => resolve(`it cannot be started: ${reasonOf(error)}`))
      child.on('close', (code, signal) => resolve(endOf(code, signal, stderr)))
    })
    const watching = new AbortController()
    const watched = this.#watch(kill, watching.signal)
    if (child.pid !== undefined) this.configure()
    const end = await ended
    watching.abort()
    await watched
    return why === undefined ? end : why
  }

  #take(frame: Uint8Array, started: () => void, kill: (reason: string) => void): void {
    const { listener } = this.#deps
    const record = decodeSensorRecord(frame)
    if (!record.ok) {
      listener.bad(`${record.code}: ${record.why}`)
      if (record.code === 'wrong_version') kill(`it is of another version: ${record.why}`)
      return
    }
    if (record.value.kind === 'hello') {
      this.#isUp = true
      listener.up(record.value)
      started()
    } else listener.record(record.value)
  }

  async #watch(kill: (reason: string) => void, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps
    try {
      for (;;) {
        const limitMs = this.#isUp ? this.#timing.silentMs : this.#timing.helloMs
        const beforeMs = clock.monotonic()
        const leftMs = this.#lastFrameMs + limitMs - beforeMs
        if (leftMs > 0) {
          await clock.sleep(leftMs + 1, signal)
          const lateMs = clock.monotonic() - beforeMs - leftMs
          // This process itself slept or was held up: what the sensor wrote meanwhile has to be read first.
          if (lateMs > limitMs / 4) await clock.sleep(limitMs / 2, signal)
        } else {
          kill(`it was silent for ${limitMs} ms`)
          return
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
}

function endOf(code: number | null, signal: NodeJS.Signals | null, stderr: string): string {
  const last = stderr.trim().split('\n').at(-1) ?? ''
  const how = signal === null ? `it ended with status ${code}` : `it was ended by ${signal}`
  return last === '' ? how : `${how}: ${last}`
}

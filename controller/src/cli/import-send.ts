/** Sends the lines of one recording in order, at its pace. A controller that is away or busy is waited for; what it has taken is not sent again. */
import { wholeEvents } from '@firebreak/shared/recordings/audit-chunks.ts'
import type { RecordingLine } from '@firebreak/shared/recordings/recording.ts'
import { type Import, LINES_AT_ONCE } from '../api/imports.ts'
import type { ApiClient } from './api-client.ts'
import { CliError } from './exit-codes.ts'
import { type Pace, PaceClock } from './import-pace.ts'
import { type ReadOptions, timesOf } from './import-read.ts'
import type { RecordingFile } from './recording-files.ts'
import type { Cli } from './session.ts'

/** Characters of one request, as JSON; far below what the controller takes. */
const CHARACTERS_AT_ONCE = 1_048_576
/** A line that is longer than this as JSON is told and not sent. */
const LONGEST_LINE = 6 * 1_048_576
const RETRY_MS = 1_000
const MOST_RETRIES = 120

export interface SendDeps {
  readonly cli: Pick<Cli, 'now' | 'sleep'>
  readonly api: ApiClient
  /** Told after each request. */
  readonly progress: (state: Import) => void
  /** Told once when the controller has to be waited for. */
  readonly waits: (why: string) => void
}

export async function sendRecording(
  { cli, api, progress, waits }: SendDeps,
  begun: Import,
  file: RecordingFile,
  pace: Pace,
  options: ReadOptions,
): Promise<Import> {
  const path = `/api/v1/imports/${begun.id}`
  const clock = new PaceClock(pace, cli.now())
  let state = begun
  let sent = 0
  const send = async (lines: readonly RecordingLine[]): Promise<void> => {
    const first = sent + 1
    sent += lines.length
    if (sent <= begun.lines) return
    const fresh = lines.slice(Math.max(0, begun.lines + 1 - first))
    const body = { first_line: sent - fresh.length + 1, lines: fresh }
    state = await patiently(cli, waits, async () => await api.post<Import>(`${path}/lines`, body))
    progress(state)
  }
  const sendWhenDue = async (lines: readonly RecordingLine[]): Promise<void> => {
    if (pace === Number.POSITIVE_INFINITY || sent + lines.length <= begun.lines) return await send(lines)
    const due = timesOf(lines, options).map((time) => clock.due(time))
    let from = 0
    while (from < lines.length) {
      const wait = (due[from] ?? 0) - cli.now()
      if (wait > 0) await cli.sleep(wait)
      let to = from + 1
      while (to < lines.length && (due[to] ?? 0) <= cli.now()) to++
      await send(lines.slice(from, to))
      from = to
    }
  }
  let waiting: RecordingLine[] = []
  let characters = 0
  for await (const batch of file.lines()) {
    for (const line of batch) {
      const length = typeof line === 'string' ? JSON.stringify(line).length : 0
      waiting.push(typeof line === 'string' && length > LONGEST_LINE ? { bytes: Buffer.byteLength(line) } : line)
      characters += Math.min(length, LONGEST_LINE)
      if (waiting.length < LINES_AT_ONCE && characters < CHARACTERS_AT_ONCE) continue
      const whole = wholeEvents(waiting)
      await sendWhenDue(waiting.slice(0, whole))
      waiting = waiting.slice(whole)
      characters = 0
    }
  }
  if (waiting.length > 0) await sendWhenDue(waiting)
  return await patiently(cli, waits, async () => await api.post<Import>(`${path}/complete`, { lines: sent }))
}

/** Asks again while nobody answers or the controller says that it is not ready: taking the same lines again changes nothing. */
async function patiently<T>(cli: Pick<Cli, 'sleep'>, waits: (why: string) => void, ask: () => Promise<T>): Promise<T> {
  for (let tried = 0; ; tried++) {
    try {
      return await ask()
    } catch (thrown) {
      const passing =
        thrown instanceof CliError &&
        (thrown.exit === 'unreachable' || thrown.problem === 'not_ready' || thrown.problem === 'rate_limited')
      if (!passing || tried >= MOST_RETRIES) throw thrown
      if (tried === 0) waits(thrown.message)
      await cli.sleep(RETRY_MS)
    }
  }
}

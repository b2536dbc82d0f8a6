/** Follows a command to its end and tells what came of it. */
import { type CommandState, FINAL_STATES } from '@firebreak/shared/commands/command.ts'
import ora from 'ora'
import { isRecord } from '../api/json-column.ts'
import type { CommandPage } from '../api/commands.ts'
import type { ApiClient } from './api-client.ts'
import { type Exit, EXIT_CODES, exitOfState } from './exit-codes.ts'
import type { Colors, Io } from './io.ts'
import { tableOf } from './output.ts'
import type { Cli } from './session.ts'
import { fitText, safeText } from './terminal-text.ts'

export const DEFAULT_WAIT_S = 150
const FIRST_POLL_MS = 100
const LAST_POLL_MS = 1_000

/** What a person has to know of each state while waiting. */
const STATE_TEXT: Readonly<Record<CommandState, string>> = {
  proposed: 'proposed',
  approved: 'approved',
  queued: 'waiting for the host',
  delivered: 'signed and sent to the host',
  accepted: 'the host has checked and accepted it',
  applied: 'the host did it; probes are looking',
  verified: 'verified: probes saw the effect',
  refuted: 'refuted: the host did it, but probes saw no effect',
  failed: 'failed on the host',
  refused: 'refused',
  expired: 'expired before the host took it',
  cancelled: 'cancelled',
  reverted: 'taken back',
  unknown: 'unknown: the host did not answer in time',
}

export async function awaitCommand(
  cli: Cli,
  api: ApiClient,
  id: string,
  what: string,
  timeoutS: number,
): Promise<{ readonly command: CommandPage; readonly exit: Exit }> {
  const show = progressOn(cli.io, what)
  const deadline = cli.now() + timeoutS * 1000
  let pollMs = FIRST_POLL_MS
  try {
    for (;;) {
      const command = await api.get<CommandPage>(`/api/v1/commands/${id}`)
      show.states(command)
      if (FINAL_STATES.has(command.state) || cli.now() >= deadline) {
        const exit = exitOfState(command.state)
        show.end(command, exit)
        return { command, exit }
      }
      await cli.sleep(Math.min(pollMs, Math.max(1, deadline - cli.now())))
      pollMs = Math.min(LAST_POLL_MS, pollMs * 1.3)
    }
  } finally {
    show.stop()
  }
}

interface Progress {
  states(command: CommandPage): void
  end(command: CommandPage, exit: Exit): void
  stop(): void
}

function progressOn(io: Io, what: string): Progress {
  return io.spinnerOn ? spinner(io, what) : lines(io, what)
}

/** One line a state, for logs and pipes. */
function lines(io: Io, what: string): Progress {
  let told = 0
  return {
    states({ transitions }) {
      for (const { state, at } of transitions.slice(told)) io.say(`${at}  ${what}  ${safeText(state)}`)
      told = transitions.length
    },
    end: (command, exit) => io.say(`${what}: ${endText(command, exit)}`),
    stop: () => {},
  }
}

function spinner(io: Io, what: string): Progress {
  const spin = ora({
    text: what,
    ...(io.spinnerOn ? { stream: io.spinnerOn } : {}),
    discardStdin: false,
  })
  spin.start()
  return {
    states: ({ state }) => {
      spin.text = `${what}  ${io.colors.dim(STATE_TEXT[state])}`
    },
    end(command, exit) {
      const text = `${what}  ${endText(command, exit)}`
      if (exit === 'ok') spin.succeed(text)
      else if (exit === 'timed_out' || exit === 'unknown') spin.warn(text)
      else spin.fail(text)
    },
    stop: () => {
      if (spin.isSpinning) spin.stop()
    },
  }
}

function endText({ state }: CommandPage, exit: Exit): string {
  return exit === 'timed_out' && !FINAL_STATES.has(state)
    ? `not finished (${STATE_TEXT[state]}); it goes on: ${EXIT_CODES.timed_out.meaning}`
    : STATE_TEXT[state]
}

/** Why it ended as it did, and what the probes saw. Empty when there is nothing more to say. */
export function explain(io: Io, command: CommandPage, width: number): string {
  const { colors } = io
  const parts: string[] = []
  if (command.code !== null || command.why !== null)
    parts.push(
      `${colors.bold('why')}       ${[command.code, command.why]
        .filter((part) => part !== null)
        .map(safeText)
        .join(': ')}`,
    )
  const facts = factsOf(command.evidence ?? {})
  for (const [name, value] of facts) parts.push(`${colors.bold(name.padEnd(9))} ${fitText(value, width - 10)}`)
  const probes = probesOf(command.evidence ?? {})
  if (probes.length > 0)
    parts.push(
      tableOf(
        io,
        probes,
        [
          { head: 'probe', cell: (probe) => probe.name },
          { head: 'target', cell: (probe) => probe.target },
          { head: 'promised', cell: (probe) => probe.expected },
          { head: 'found', cell: (probe) => probe.found, paint: (text, probe) => paintProbe(colors, text, probe) },
          { head: 'detail', cell: (probe) => probe.detail, flexible: true },
        ],
        width,
      ),
    )
  return parts.join('\n')
}

interface ProbeShown {
  readonly name: string
  readonly target: string
  readonly expected: string
  readonly found: string
  readonly detail: string
}

function paintProbe(colors: Colors, text: string, { expected, found }: ProbeShown): string {
  if (found === 'unverifiable') return colors.yellow(text)
  return found === expected ? colors.green(text) : colors.red(text)
}

function probesOf(evidence: Readonly<Record<string, unknown>>): ProbeShown[] {
  const probes = evidence['probes']
  if (!Array.isArray(probes)) return []
  return probes.filter(isRecord).map((probe) => ({
    name: wordOf(probe['name']),
    target: wordOf(probe['target']),
    expected: wordOf(probe['expected']),
    found: wordOf(probe['found']),
    detail: wordOf(probe['detail'] ?? ''),
  }))
}

/** The figures of an evidence that people ask for first. */
function factsOf(evidence: Readonly<Record<string, unknown>>): [string, string][] {
  const facts: [string, string][] = []
  const milliseconds = (key: string) =>
    typeof evidence[key] === 'number' ? `${Math.round(evidence[key])} ms` : undefined
  const add = (name: string, value: string | undefined) => {
    if (value !== undefined) facts.push([name, value])
  }
  add('applied', milliseconds('applied_ms'))
  add('confirmed', milliseconds('confirmed_ms'))
  add(
    'cut',
    typeof evidence['sockets_closed'] === 'number' ? `${evidence['sockets_closed']} open connections` : undefined,
  )
  add('dropped', typeof evidence['dropped_packets'] === 'number' ? `${evidence['dropped_packets']} packets` : undefined)
  add('open to', Array.isArray(evidence['controllers']) ? evidence['controllers'].map(wordOf).join(', ') : undefined)
  add('lapses', typeof evidence['expires_at'] === 'string' ? evidence['expires_at'] : undefined)
  if (evidence['ruleset_restored'] === true) add('ruleset', 'byte for byte the one before the isolation')
  if (evidence['ruleset_restored'] === false) add('ruleset', 'NOT the one before the isolation')
  const killed = evidence['killed']
  if (Array.isArray(killed))
    add(
      'killed',
      killed
        .filter(isRecord)
        .map((one) => `${wordOf(one['pid'])} ${wordOf(one['executable'] ?? '')}`.trim())
        .join(', ') || 'nobody',
    )
  for (const key of ['surviving', 'respawned']) {
    const pids = evidence[key]
    if (Array.isArray(pids) && pids.length > 0) add(key, pids.map(wordOf).join(', '))
  }
  return facts
}

function wordOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

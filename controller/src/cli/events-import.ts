/** `firebreak events import`: recordings taken in, so that a recorded attack goes through the whole controller as if hosts had sent it. */
import { basename } from 'node:path'
import { READ_AS, type ReadAs } from '@firebreak/shared/recordings/recording.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { type Command, Option } from 'commander'
import type { Import } from '../api/imports.ts'
import { CliError, type Exit } from './exit-codes.ts'
import { type Pace, parsePace, shiftToNow } from './import-pace.ts'
import { type Looked, lookThrough, type ReadOptions } from './import-read.ts'
import { sendRecording } from './import-send.ts'
import { tableOf } from './output.ts'
import { type RecordingFile, recordingsIn } from './recording-files.ts'
import { type Cli, type Session, verb } from './session.ts'
import { safeText } from './terminal-text.ts'

interface ImportOptions {
  readonly format: ReadAs
  readonly host?: string
  readonly pace: Pace
  readonly shiftTime?: 'now'
  readonly again?: boolean
  readonly dryRun?: boolean
}

/** What became of one recording. */
interface Outcome {
  readonly file: string
  readonly state: 'stored' | 'known' | 'looked_at' | 'failed'
  readonly why?: string
  readonly import_id?: string
  readonly file_sha256?: string
  readonly lines: number
  readonly records: number
  readonly stored_records: number
  readonly stored_events: number
  readonly refused: Import['refused']
  readonly hosts: readonly { readonly hostname: string; readonly events: number }[]
}

/** What `--json` prints. */
export interface ImportReport {
  readonly files: readonly Outcome[]
  readonly records: number
  readonly stored_records: number
  readonly stored_events: number
  readonly refused_records: number
  /** Reason → records. */
  readonly refused: Readonly<Record<string, number>>
  readonly hosts: number
}

const SAY_EVERY_MS = 2_000

export function addImportVerb(cli: Cli, events: Command): void {
  verb<ImportOptions>(
    cli,
    events,
    'import <files...>',
    'take recordings in, as if the hosts that they name had sent them',
    async (session, args, options) => await importAll(session, args, options),
  )
    .addOption(
      new Option('--format <format>', 'what is in the files; sysmon: records of Windows in any form')
        .choices([...READ_AS])
        .default('auto'),
    )
    .option('--host <name>', 'give all records to this host, whatever they say')
    .addOption(
      new Option('--pace <pace>', 'original, max, or a number of times faster, such as 10x')
        .argParser(parsePace)
        .default(Number.POSITIVE_INFINITY, 'max'),
    )
    .addOption(
      new Option('--shift-time <to>', 'move all times so that the recording ends when it is taken in').choices(['now']),
    )
    .option('--again', 'take a recording in once more that was taken in to its end')
    .option('--dry-run', 'only say what would be stored and refused; no controller is asked')
    .addHelpText(
      'after',
      `
NDJSON (ECS, Windows event logs, or anything else), and logs of the Linux audit system; plain, gzip, zstd, or a tar of them;
- for standard input. A file is told by its content: taking it in twice stores nothing twice, and one that was broken off goes on.
Hosts that a recording names stand in the fleet as imported; nothing can be ordered to them.
Exit code 8: some records were refused, or some files failed; each with its reason.`,
    )
}

async function importAll(session: Session, paths: readonly string[], options: ImportOptions): Promise<Exit> {
  const outcomes: Outcome[] = []
  for (const path of paths) {
    try {
      for await (const file of recordingsIn(path)) outcomes.push(await importOne(session, file, options))
    } catch (thrown) {
      if (thrown instanceof CliError) throw thrown
      outcomes.push(failed(path === '-' ? 'stdin' : basename(path), reasonOf(thrown)))
    }
  }
  report(session, outcomes)
  if (outcomes.length > 0 && outcomes.every(({ state }) => state === 'failed')) return 'usage'
  return outcomes.some(({ state, refused }) => state === 'failed' || refused.length > 0) ? 'partial' : 'ok'
}

async function importOne(session: Session, file: RecordingFile, options: ImportOptions): Promise<Outcome> {
  const { cli } = session
  const reading: ReadOptions = { readAs: options.format, host: options.host, nowMs: cli.now() }
  const fileSha256 = await file.digest()
  if (options.dryRun === true) {
    const looked = await lookThrough(file, fileSha256, reading)
    return { file: file.name, state: 'looked_at', file_sha256: fileSha256, ...countsOf(looked), hosts: looked.hosts }
  }
  const span = options.shiftTime === 'now' ? (await lookThrough(file, fileSha256, reading)).span : undefined
  const begun = await session.api.post<Import>('/api/v1/imports', {
    file_name: file.name.slice(-1_024),
    file_sha256: fileSha256,
    read_as: options.format,
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(span === undefined ? {} : { shift_ms: shiftToNow(span, options.pace, cli.now()) }),
    ...(options.again === true ? { again: true } : {}),
  })
  if (begun.state === 'complete') return outcomeOf(file, 'known', begun)
  const { progress, waits } = talk(session, file)
  if (begun.lines > 0) session.io.say(`${safeText(file.name)}: goes on after line ${begun.lines}`)
  const done = await sendRecording({ cli, api: session.api, progress, waits }, begun, file, options.pace, reading)
  return outcomeOf(file, 'stored', done)
}

/** A line every few seconds, for whoever waits. */
function talk({ cli, io }: Session, file: RecordingFile) {
  let saidMs = cli.now()
  return {
    progress: (state: Import) => {
      if (cli.now() - saidMs < SAY_EVERY_MS) return
      saidMs = cli.now()
      io.say(`${safeText(file.name)}: ${state.records} records, ${state.stored_events} events stored`)
    },
    waits: (why: string) => io.say(`${safeText(file.name)}: waits for the controller: ${safeText(why)}`),
  }
}

function countsOf(looked: Looked) {
  return {
    lines: looked.lines,
    records: looked.records,
    stored_records: looked.storedRecords,
    stored_events: looked.storedEvents,
    refused: looked.refused,
  }
}

function outcomeOf(file: RecordingFile, state: 'stored' | 'known', done: Import): Outcome {
  return {
    file: file.name,
    state,
    import_id: done.id,
    file_sha256: done.file_sha256,
    lines: done.lines,
    records: done.records,
    stored_records: done.stored_records,
    stored_events: done.stored_events,
    refused: done.refused,
    hosts: done.hosts.map(({ hostname, events }) => ({ hostname, events })),
  }
}

function failed(file: string, why: string): Outcome {
  const none = { lines: 0, records: 0, stored_records: 0, stored_events: 0, refused: [], hosts: [] }
  return { file, state: 'failed', why, ...none }
}

const STATES: Readonly<Record<Outcome['state'], string>> = {
  stored: 'stored',
  known: 'was stored before',
  looked_at: 'looked at',
  failed: 'FAILED',
}

function report({ io, format }: Session, outcomes: readonly Outcome[]): void {
  const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((total, outcome) => total + of(outcome), 0)
  const refusedIn = (outcome: Outcome) => outcome.refused.reduce((total, { records }) => total + records, 0)
  const total: ImportReport = {
    files: outcomes,
    records: sum(({ records }) => records),
    stored_records: sum(({ stored_records: stored }) => stored),
    stored_events: sum(({ stored_events: events }) => events),
    refused_records: sum(refusedIn),
    refused: refusedByReason(outcomes),
    hosts: new Set(outcomes.flatMap(({ hosts }) => hosts.map(({ hostname }) => hostname.toLowerCase()))).size,
  }
  if (format === 'json') {
    io.out(`${JSON.stringify(total)}\n`)
    return
  }
  const columns = [
    { head: 'FILE', cell: ({ file }: Outcome) => safeText(file), flexible: true },
    { head: 'STATE', cell: ({ state }: Outcome) => STATES[state] },
    { head: 'RECORDS', cell: ({ records }: Outcome) => String(records) },
    { head: 'STORED', cell: ({ stored_records: stored }: Outcome) => String(stored) },
    { head: 'REFUSED', cell: (outcome: Outcome) => String(refusedIn(outcome)) },
    { head: 'EVENTS', cell: ({ stored_events: events }: Outcome) => String(events) },
    { head: 'HOSTS', cell: ({ hosts }: Outcome) => String(hosts.length) },
  ]
  io.out(`${tableOf(io, outcomes, columns, io.columns)}\n`)
  for (const { file, why } of outcomes) if (why !== undefined) io.out(`${safeText(file)}: ${safeText(why)}\n`)
  for (const { file, refused } of outcomes)
    for (const { code, records, examples } of refused) {
      io.out(`${safeText(file)}: ${records} refused, ${code}\n`)
      for (const { line, why } of examples) io.out(`  line ${line}: ${safeText(why)}\n`)
    }
  io.out(
    `${total.records} records = ${total.stored_records} stored (${total.stored_events} events of ${total.hosts} hosts) + ${total.refused_records} refused\n`,
  )
}

function refusedByReason(outcomes: readonly Outcome[]): Readonly<Record<string, number>> {
  const reasons = new Map<string, number>()
  for (const { refused } of outcomes)
    for (const { code, records } of refused) reasons.set(code, (reasons.get(code) ?? 0) + records)
  return Object.fromEntries(reasons)
}

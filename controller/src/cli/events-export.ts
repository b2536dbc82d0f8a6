/** `firebreak events export`: events as a file. It has its name only once it is whole. */
import { createWriteStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { reasonOf } from '@firebreak/shared/result.ts'
import { type Command, Option } from 'commander'
import { EXPORT_FORMATS, type ExportFormat } from '../store/telemetry/telemetry-store.ts'
import { scopeOptions, type ScopeOptions, scopeQuery, spanText } from './events-options.ts'
import { CliError } from './exit-codes.ts'
import { type Cli, verb, wholeNumber } from './session.ts'
import { fitText } from './terminal-text.ts'

interface ExportOptions extends ScopeOptions {
  readonly format: ExportFormat
  readonly file: string
  readonly limit?: number
}

/** The store may count and sort for long before the first byte comes. */
const TIMEOUT_MS = 600_000

export function addEventExportVerb(cli: Cli, events: Command): void {
  const command = verb<ExportOptions>(
    cli,
    events,
    'export [query]',
    'write events to a file: one JSON object a line, or Parquet',
    async ({ api, io }, [query = ''], options) => {
      const target = options.file === '-' ? undefined : resolve(io.cwd, options.file)
      const scope = await scopeQuery(api, query, options)
      const { format, limit } = options
      const answer = await api.stream('/api/v1/events/export', { ...scope, format, limit }, TIMEOUT_MS)
      const expected = Number(answer.headers['x-firebreak-events'])
      if (target === undefined) await toOutput(answer, format, expected, (text) => io.out(text))
      else await toFile(answer, target, format, expected)
      const more = answer.headers['x-firebreak-more'] === 'true' ? ' (more match: --limit cut it)' : ''
      const notKept = String(answer.headers['x-firebreak-not-kept'] ?? '')
      if (notKept !== '')
        io.say(`not all that was asked for is kept; the first days that are there: ${fitText(notKept, 500)}`)
      io.say(
        `${expected} ${expected === 1 ? 'event' : 'events'}${more} ${spanText(options)}${target === undefined ? '' : ` in ${fitText(target, 200)}`}`,
      )
    },
  )
  scopeOptions(cli, command)
    .addOption(new Option('--format <format>', 'form of the file').choices([...EXPORT_FORMATS]).default('ndjson'))
    .addOption(new Option('--file <file>', 'where to write; - is standard output').makeOptionMandatory())
    .addOption(
      new Option('--limit <n>', 'events at most; without it, too many for one export are refused').argParser(
        wholeNumber(1, 1_000_000_000),
      ),
    )
    .addHelpText('after', '\nEvery export is in the audit log: who, what query, how many events.')
}

async function toFile(answer: IncomingMessage, target: string, format: ExportFormat, expected: number): Promise<void> {
  const partial = `${target}.partial`
  try {
    const check = new WholeCheck(format)
    await pipeline(answer, check.through(), createWriteStream(partial, { mode: 0o600 }))
    check.must(expected)
    const file = await open(partial, 'r')
    await file.sync()
    await file.close()
    await rename(partial, target)
  } catch (thrown) {
    await rm(partial, { force: true })
    if (thrown instanceof CliError) throw thrown
    throw new CliError('failed', `the export was not written: ${reasonOf(thrown)}`)
  }
}

async function toOutput(
  answer: IncomingMessage,
  format: ExportFormat,
  expected: number,
  out: (text: string) => void,
): Promise<void> {
  if (format === 'parquet') {
    answer.destroy()
    throw new CliError('usage', 'Parquet is no text: give a file with --file')
  }
  const check = new WholeCheck(format)
  const decoder = new TextDecoder()
  for await (const piece of check.through()(answer)) out(decoder.decode(piece, { stream: true }))
  check.must(expected)
}

/** Whether all that was promised came: lines are counted, a Parquet file ends with its mark. */
class WholeCheck {
  readonly #format: ExportFormat
  #lines = 0
  #tail = Buffer.alloc(0)

  constructor(format: ExportFormat) {
    this.#format = format
  }

  through() {
    const look = (piece: Buffer) => this.#look(piece)
    return async function* (pieces: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
      for await (const piece of pieces) {
        const bytes = Buffer.from(piece as Uint8Array)
        look(bytes)
        yield bytes
      }
    }
  }

  must(expected: number): void {
    const whole = this.#format === 'ndjson' ? this.#lines === expected : this.#tail.toString('latin1') === 'PAR1'
    if (!whole) throw new CliError('failed', `the export broke off: ${this.#lines} of ${expected} events came`)
  }

  #look(bytes: Buffer): void {
    this.#tail = Buffer.concat([this.#tail, bytes.subarray(-4)]).subarray(-4)
    if (this.#format === 'ndjson') for (const byte of bytes) if (byte === 0x0a) this.#lines++
  }
}

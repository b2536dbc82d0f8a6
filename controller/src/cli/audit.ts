/** `firebreak audit`: who did what, and whether the log still says so. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Command } from 'commander'
import type { AuditRecordShown } from '../api/audit.ts'
import { isRecord } from '../api/json-column.ts'
import { type AuditVerification, ChainCheck } from '../audit/chain.ts'
import { readKeptReceipt } from '../audit/receipt-check.ts'
import { timeText } from './durations.ts'
import { CliError, type Exit } from './exit-codes.ts'
import type { Io } from './io.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList, printOne } from './output.ts'
import { type Cli, verb } from './session.ts'
import { safeText } from './terminal-text.ts'

/** Longer lines are no audit records; a record's detail and its receipt are far below. */
const MAX_LINE = 4 * 1024 * 1024

interface AuditListOptions extends ListOptions {
  readonly actor?: string
  readonly action?: string
  readonly object?: string
}

export function addAuditVerbs(cli: Cli, program: Command): void {
  const audit = program.command('audit').description('who did what')

  listOptions(
    verb<AuditListOptions>(
      cli,
      audit,
      'list',
      'list records, newest first',
      async ({ api, io, format }, _args, options) => {
        const query = { actor: options.actor, action: options.action, object_id: options.object }
        const rows = await api.list<AuditRecordShown>('/api/v1/audit', query, options.limit)
        printList(io, format, rows, {
          columns: [
            { head: 'N', cell: (record) => String(record.n) },
            { head: 'TIME', cell: (record) => timeText(record.at) },
            { head: 'ACTOR', cell: (record) => record.actor, flexible: true },
            { head: 'ACTION', cell: (record) => record.action },
            { head: 'OBJECT', cell: (record) => `${record.object_type} ${record.object_id}`, flexible: true },
          ],
          raw: (record) => String(record.n),
          empty: 'The log is empty.',
        })
      },
    ),
  )
    .option('--actor <who>', 'only by this actor, such as user:ann')
    .option('--action <name>', 'only this action')
    .option('--object <id>', 'only about this')

  verb<{ readonly file?: string }>(
    cli,
    audit,
    'verify',
    'check every record and every receipt, recomputed here and not believed from the controller',
    async (session, _args, { file }): Promise<Exit> => {
      const { io, format } = session
      const lines =
        file === undefined
          ? await session.api.stream('/api/v1/audit/export') // only now is a controller needed, and a token
          : file === '-'
            ? process.stdin
            : createReadStream(file)
      const found = await verifyExport(lines, file ?? 'the answer')
      printOne(io, format, found, found.head_sha256, () =>
        found.ok
          ? `${io.colors.green('✓')} ${found.records} records hold, each chained to the one before\n${receiptsText(io, found)}  head ${found.head_sha256}  ${io.colors.dim('keep it elsewhere: it proves that nothing was cut off')}`
          : `${io.colors.red('✗')} record ${found.broken_at ?? '?'} does not hold: ${safeText(found.why ?? '')}\n  the ${found.records} records before it do`,
      )
      return found.ok ? 'ok' : 'failed'
    },
  ).option('--file <export>', 'an export instead of a controller; - for standard input')

  verb(cli, audit, 'export', 'export the log as NDJSON, with a signed checkpoint at the end', async ({ api, io }) => {
    const body = await api.stream('/api/v1/audit/export')
    body.setEncoding('utf8')
    for await (const chunk of body) io.out(String(chunk))
  })
}

function receiptsText({ colors }: Io, { receipts, missing_receipts: missing }: Verified): string {
  const held = `${colors.green('✓')} ${receipts} receipts hold, each signed by its host and in its place\n`
  return missing === 0 ? held : `${held}${colors.yellow('!')} ${missing} receipts never came; each gap was an alarm\n`
}

interface Verified {
  readonly ok: boolean
  readonly records: number
  readonly receipts: number
  readonly missing_receipts: number
  readonly head_sha256: string
  readonly broken_at?: number
  readonly why?: string
}

export async function verifyExport(input: NodeJS.ReadableStream, name: string): Promise<Verified> {
  const check = new ChainCheck()
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (line.length > MAX_LINE) throw new CliError('failed', `${name}: a line is longer than ${MAX_LINE} characters`)
      if (line.trim() === '') continue
      const parsed = parse(line, name)
      if (isRecord(parsed['checkpoint'])) continue
      const { n, record, prev_sha256, sha256, receipt } = parsed
      if (
        typeof n !== 'number' ||
        typeof record !== 'string' ||
        typeof prev_sha256 !== 'string' ||
        typeof sha256 !== 'string'
      )
        throw new CliError('failed', `${name}: a line is not an audit record`)
      if (!check.take({ n, record, prev_sha256, sha256 }, { receipt: readKeptReceipt(receipt) })) break
    }
  } catch (thrown) {
    if (thrown instanceof CliError) throw thrown
    throw new CliError('usage', `${name} cannot be read: ${reasonOf(thrown)}`)
  }
  return shown(check.result())
}

function shown({ ok, records, receipts, missingReceipts, headSha256, brokenAt, why }: AuditVerification): Verified {
  return {
    ok,
    records,
    receipts,
    missing_receipts: missingReceipts,
    head_sha256: headSha256,
    ...(brokenAt === undefined ? {} : { broken_at: brokenAt }),
    ...(why === undefined ? {} : { why }),
  }
}

function parse(line: string, name: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line)
    if (isRecord(value)) return value
  } catch {
    // the same answer as for JSON that is no object
  }
  throw new CliError('failed', `${name}: a line is not a JSON object`)
}

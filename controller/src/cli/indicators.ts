/** `firebreak indicators`: values that are known to be bad, where they come from, and what was seen of them. */
import { randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { OBSERVABLE_TYPES, observableOf, type ObservableType } from '@firebreak/shared/indicators/observable.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Hunt, type Indicator, INDICATORS_AT_ONCE } from '../api/indicators.ts'
import { CSV_COLUMNS, type CsvMapping } from '../indicators/feeds/csv.ts'
import { parseText, TEXT_FORMATS, type TextFormat } from '../indicators/feeds/formats.ts'
import { type FeedContent, type NewIndicator, type Tlp, TLPS } from '../indicators/index.ts'
import { parseDuration } from './durations.ts'
import { CliError, type Exit } from './exit-codes.ts'
import { addFeedVerbs } from './indicator-feeds.ts'
import { addPatternVerb } from './indicator-pattern.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { type Column, printList, printOne } from './output.ts'
import { type Cli, type Session, verb, wholeNumber } from './session.ts'
import { safeText } from './terminal-text.ts'

const MAX_FILE_BYTES = 512 * 1_048_576

interface AboutOptions {
  readonly source?: string
  readonly confidence?: number
  readonly tlp?: Tlp
  readonly label?: readonly string[]
  readonly expires?: number
  readonly type?: ObservableType
}
interface ImportOptions extends AboutOptions {
  readonly format: TextFormat | 'auto'
  readonly column?: CsvMapping
  readonly replace?: boolean
  readonly dryRun?: boolean
}
interface Taken {
  readonly counts: { readonly indicators: number; readonly added: number; readonly expired: number } | null
}

export function addIndicatorVerbs(cli: Cli, program: Command): void {
  const noun = program.command('indicators').description('values that are known to be bad')
  aboutOptions(
    verb<ImportOptions>(
      cli,
      noun,
      'import <file>',
      'take indicators in from a file',
      async (session, [file = ''], options) => await importFile(session, file, options),
    ),
  )
    .addOption(
      new Option('--format <format>', 'what is in the file').choices(['auto', ...TEXT_FORMATS]).default('auto'),
    )
    .option('--column <what=name>', `of CSV: which column is what (${CSV_COLUMNS.join(', ')}); may be repeated`, column)
    .option('--replace', 'what the source said before and this file does not say is over')
    .option('--dry-run', 'only say what would be taken; no controller is asked')
    .addHelpText(
      'after',
      `
Plain lists, CSV, STIX 2.0 and 2.1 bundles, events of MISP; plain or gzip. Defanged values (hxxp://evil[.]example) are understood.
Nothing is taken of a file that ends in the middle or is something else. Exit code 8: some of its entries are no indicators.`,
    )
  aboutOptions(
    verb<AboutOptions & { readonly description?: string }>(
      cli,
      noun,
      'add <value>',
      'take one value in',
      async (session, [value = ''], options) => await addOne(session, value, options),
    ),
  ).option('--description <text>', 'why it is bad')
  listOptions(
    verb<ListOptions & { type?: string; source?: string; expired?: boolean }>(
      cli,
      noun,
      'list',
      'list indicators, the newest first',
      async ({ api, io, format }, _args, { limit, type, source, expired }) => {
        const rows = await api.list<Indicator>(
          '/api/v1/indicators',
          { type, source, expired: expired === true ? true : undefined },
          limit,
        )
        printList(io, format, rows, { columns: COLUMNS, raw: (row) => row.value, empty: 'No indicators.' })
      },
    ),
  )
    .addOption(new Option('--type <type>', 'only of this type').choices([...OBSERVABLE_TYPES]))
    .option('--source <source>', 'only of this source')
    .option('--expired', 'only those that are over')
  verb(cli, noun, 'show <id>', 'show one', async ({ api, io, format }, [id = '']) => {
    const one = await api.get<Indicator>(`/api/v1/indicators/${number(id)}`)
    printOne(io, format, one, one.value, () => page(one))
  })
  verb(
    cli,
    noun,
    'lookup <value>',
    'what is known of a value',
    async ({ api, io, format }, [value = '']): Promise<Exit> => {
      const found = await api.get<{ value: string; type: string; items: Indicator[] }>('/api/v1/indicators/lookup', {
        value,
      })
      const shown = {
        columns: COLUMNS,
        raw: (row: Indicator) => row.value,
        empty: `Nothing is known of ${safeText(found.value)} (${found.type}).`,
      }
      printList(io, format, found.items, shown)
      return found.items.length > 0 ? 'ok' : 'not_found'
    },
  )
  verb<{ readonly reason: string }>(
    cli,
    noun,
    'expire <id>',
    'end one: it matches nothing any more',
    async ({ api, io, format }, [id = ''], { reason }) => {
      const one = await api.post<Indicator>(`/api/v1/indicators/${number(id)}/expire`, { reason })
      printOne(io, format, one, one.value, () => `${safeText(one.value)} is over.`)
    },
  ).requiredOption('--reason <text>', 'why; in the audit log')
  verb(cli, noun, 'hunts', 'look-ups of new indicators in stored events', async ({ api, io, format }) => {
    const { items } = await api.get<{ items: Hunt[] }>('/api/v1/indicators/hunts')
    printList(io, format, items, {
      columns: [
        { head: 'PLANNED', cell: (row) => row.created_at },
        { head: 'STATE', cell: (row) => row.state },
        { head: 'INDICATORS', cell: (row) => String(row.indicators) },
        { head: 'COMPARED', cell: (row) => String(row.looked_at) },
        { head: 'HITS', cell: (row) => String(row.hits) },
        { head: 'SKIPPED', cell: (row) => String(row.skipped) },
      ],
      raw: (row) => row.id,
      empty: 'No indicators were looked up yet.',
    })
  })
  verb(cli, noun, 'patterns', 'patterns that are kept and cannot be matched, and why', async ({ api, io, format }) => {
    type Kept = { source: string; reference: string; pattern: string; code: string; why: string }
    const { items } = await api.get<{ items: Kept[] }>('/api/v1/indicators/patterns')
    printList(io, format, items, {
      columns: [
        { head: 'SOURCE', cell: (row) => row.source },
        { head: 'PATTERN', cell: (row) => row.pattern, flexible: true },
        { head: 'WHY', cell: (row) => row.why, flexible: true },
      ],
      raw: (row) => row.reference,
      empty: 'All patterns can be matched.',
    })
  })
  addPatternVerb(cli, noun)
  addFeedVerbs(cli, noun)
}

function aboutOptions(command: Command): Command {
  return command
    .option('--source <source>', 'whom it comes from; the name of the file, or your word for it')
    .addOption(
      new Option('--type <type>', 'what the values are, where their form does not tell').choices([...OBSERVABLE_TYPES]),
    )
    .addOption(
      new Option('--confidence <n>', 'how sure the source is, where it does not say').argParser(wholeNumber(0, 100)),
    )
    .addOption(new Option('--tlp <tlp>', 'Traffic Light Protocol 2.0').choices([...TLPS]))
    .addOption(new Option('--expires <time>', 'over after so long, such as 30d').argParser(parseDuration))
    .option('--label <label...>', 'a label; may be repeated')
}

async function importFile(session: Session, file: string, options: ImportOptions): Promise<Exit> {
  const content = parse(file, textOf(file), options, session.cli.now())
  const source =
    options.source ??
    basename(file === '-' ? 'stdin' : file)
      .replaceAll(/[^A-Za-z0-9._ -]/g, '-')
      .slice(0, 64)
  if (options.dryRun !== true) await send(session, source, content, options.replace === true)
  else report(session, source, content, null)
  return content.refused.length > 0 ? 'partial' : 'ok'
}

function parse(file: string, text: string, options: ImportOptions, nowMs: number): FeedContent {
  const content = parseText(options.format, text, {
    details: aboutOf(options, nowMs),
    ...(options.type ? { type: options.type } : {}),
    ...(options.column ? { columns: options.column } : {}),
  })
  if (!content.ok)
    throw new CliError('usage', `${safeText(file)}: ${safeText(content.why)} [${content.code}]; nothing was taken`)
  return content.value
}

async function addOne(
  session: Session,
  value: string,
  options: AboutOptions & { readonly description?: string },
): Promise<Exit> {
  const found = observableOf(value, options.type)
  if (!found.ok) throw new CliError('usage', `${safeText(found.why)} [${found.code}]`)
  const more = options.description === undefined ? {} : { description: options.description }
  const one: NewIndicator = { ...found.value, ...aboutOf(options, session.cli.now()), ...more }
  await send(session, options.source ?? 'manual', { indicators: [one], patterns: [], refused: [], revoked: [] }, false)
  return 'ok'
}

function aboutOf({ confidence, tlp, label, expires }: AboutOptions, nowMs: number) {
  return {
    ...(confidence === undefined ? {} : { confidence }),
    ...(tlp === undefined ? {} : { tlp }),
    ...(label === undefined ? {} : { labels: label }),
    ...(expires === undefined ? {} : { validUntil: new Date(nowMs + expires * 1_000).toISOString() }),
  }
}

async function send(session: Session, source: string, content: FeedContent, replace: boolean): Promise<void> {
  const { api } = session
  const importId = randomUUID()
  const { indicators, patterns, revoked } = content
  const most = Math.max(1, indicators.length, patterns.length)
  let counts: Taken['counts'] = null
  for (let from = 0; from < most; from += INDICATORS_AT_ONCE) {
    const isLast = from + INDICATORS_AT_ONCE >= most
    const taken = await api.post<Taken>('/api/v1/indicators', {
      source,
      import_id: importId,
      indicators: indicators.slice(from, from + INDICATORS_AT_ONCE).map(bodyOf),
      patterns: patterns.slice(from, from + INDICATORS_AT_ONCE),
      ...(isLast ? { complete: { replace, revoked } } : {}),
    })
    counts = taken.counts
  }
  report(session, source, content, counts)
}

function bodyOf({ validFrom, validUntil, ...rest }: NewIndicator) {
  return {
    ...rest,
    ...(validFrom === undefined ? {} : { valid_from: validFrom }),
    ...(validUntil === undefined ? {} : { valid_until: validUntil }),
  }
}

function report({ io, format }: Session, source: string, content: FeedContent, counts: Taken['counts']): void {
  const refused = content.refused.reduce((sum, { entries }) => sum + entries, 0)
  const total = {
    source,
    indicators: content.indicators.length,
    added: counts?.added ?? null,
    expired: counts?.expired ?? null,
    patterns_kept: content.patterns.length,
    refused,
    refused_by_reason: content.refused,
  }
  printOne(io, format, total, String(content.indicators.length), () =>
    [
      `${content.indicators.length} indicators of ${safeText(source)}${counts ? `: ${counts.added} new, ${counts.expired} over` : ', nothing was sent'}`,
      ...(content.patterns.length > 0
        ? [`${content.patterns.length} patterns are kept and cannot be matched (firebreak indicators patterns)`]
        : []),
      ...content.refused.map(
        ({ code, entries, examples }) =>
          `${entries} entries are no indicators (${code}), such as ${safeText(examples[0] ?? '')}`,
      ),
    ].join('\n'),
  )
}

function textOf(file: string): string {
  try {
    if (file !== '-' && statSync(file).size > MAX_FILE_BYTES)
      throw new CliError('usage', `${safeText(file)} is larger than 512 MiB`)
    const bytes = readFileSync(file === '-' ? 0 : file)
    const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
    return (isGzip ? gunzipSync(bytes, { maxOutputLength: MAX_FILE_BYTES }) : bytes).toString('utf8')
  } catch (thrown) {
    if (thrown instanceof CliError) throw thrown
    throw new CliError('usage', `${safeText(file)} cannot be read: ${safeText(reasonOf(thrown))}`)
  }
}

function column(text: string, before: CsvMapping | undefined): CsvMapping {
  const [what = '', ...name] = text.split('=')
  const known = CSV_COLUMNS.find((one) => one === what)
  if (!known || name.length === 0)
    throw new InvalidArgumentError(`One of ${CSV_COLUMNS.join(', ')}, = and the name of a column is needed.`)
  return { ...before, [known]: name.join('=') }
}

function number(id: string): number {
  if (!/^[1-9]\d{0,14}$/.test(id)) throw new CliError('usage', `${safeText(id)} is no number of an indicator`)
  return Number(id)
}

const COLUMNS: readonly Column<Indicator>[] = [
  { head: 'ID', cell: (row) => String(row.id) },
  { head: 'TYPE', cell: (row) => row.type },
  { head: 'VALUE', cell: (row) => row.value, flexible: true },
  { head: 'SOURCE', cell: (row) => row.source },
  { head: 'CONF', cell: (row) => String(row.confidence) },
  { head: 'SEEN', cell: (row) => String(row.sightings) },
  { head: 'UNTIL', cell: (row) => (row.expired ? 'over' : (row.valid_until?.slice(0, 10) ?? '-')), optional: true },
  { head: 'WARNING LIST', cell: (row) => row.warning ?? '', optional: true },
]

function page(one: Indicator): string {
  const lines: [string, string | null][] = [
    ['value', `${one.value} (${one.type})`],
    ['source', one.source],
    ['confidence', String(one.confidence)],
    ['in force', `${one.valid_from} to ${one.valid_until ?? 'for ever'}${one.expired ? ' (over)' : ''}`],
    ['TLP', one.tlp],
    ['labels', one.labels.length > 0 ? one.labels.join(', ') : null],
    ['description', one.description],
    ['reference', one.reference],
    ['seen', `${one.sightings} times${one.last_sighted_at === null ? '' : `, last ${one.last_sighted_at}`}`],
    ['warning list', one.warning],
  ]
  return lines.flatMap(([name, text]) => (text === null ? [] : [`${name.padEnd(13)}${safeText(text)}`])).join('\n')
}

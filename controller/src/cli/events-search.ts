/** `firebreak events search`: a query in, a table or data out. */
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { NotKept } from '../api/event-query.ts'
import type { Page } from './api-client.ts'
import { fieldNamed, nearestField } from '../search/fields.ts'
import { columnsOf, fieldColumns, fieldOf, fieldText } from './event-columns.ts'
import { notKeptText, scopeOptions, type ScopeOptions, scopeQuery, spanText } from './events-options.ts'
import { CliError } from './exit-codes.ts'
import { followEvents } from './follow-events.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList, type Shown } from './output.ts'
import { type Cli, verb } from './session.ts'

interface SearchOptions extends ListOptions, ScopeOptions {
  readonly fields?: readonly string[]
  readonly oldest?: boolean
  readonly ndjson?: boolean
  readonly follow?: boolean
}

export function addEventSearchVerb(cli: Cli, events: Command): void {
  const command = verb<SearchOptions>(
    cli,
    events,
    'search [query]',
    'search events, newest first',
    async (session, [query = ''], options) => {
      const { api, io } = session
      const format = options.ndjson === true ? 'ndjson' : session.format
      const scope = await scopeQuery(api, query, options)
      const shown = shownAs(options.fields)
      const { fields } = options
      const asData = format === 'json' || format === 'ndjson' || format === 'yaml'
      const print = (rows: readonly Event[]) => {
        if (fields === undefined || !asData) printList(io, format, rows, shown(rows))
        else
          printList(
            io,
            format,
            rows.map((event) => picked(event, fields)),
            NO_TABLE,
          )
      }
      if (options.follow === true) {
        if (options.until !== undefined || options.oldest === true)
          throw new CliError(
            'usage',
            '--follow shows what comes in from now on: it goes with neither --until nor --oldest',
          )
        await followEvents(cli, api, scope, print)
        return
      }
      // One more than is shown tells whether there are more.
      const sort = options.oldest === true ? 'oldest' : 'newest'
      const { items: found, first } = await api.listWith<Page<Event> & { readonly not_kept: readonly NotKept[] }>(
        '/api/v1/events',
        { ...scope, sort },
        options.limit + 1,
      )
      const rows = found.slice(0, options.limit)
      const more = found.length > rows.length
      print(rows)
      const gone = notKeptText(first?.not_kept ?? [])
      if (gone !== '') io.say(io.colors.yellow(gone))
      if (format === 'table' && rows.length > 0)
        io.say(
          io.colors.dim(
            `${more ? `the ${sort} ${rows.length === 1 ? 'event' : `${rows.length} events`}` : `${rows.length} ${rows.length === 1 ? 'event' : 'events'}`} ${spanText(options)}${more ? `; more with --limit ${Math.min(100_000, options.limit * 10)}, all with: firebreak events export` : ''}`,
          ),
        )
    },
  )
  scopeOptions(cli, listOptions(command))
    .addOption(
      new Option('--fields <names>', 'only these fields, separated by commas; see firebreak events fields').argParser(
        fieldNames,
      ),
    )
    .option('--oldest', 'oldest first')
    .option('--ndjson', 'the same as -o ndjson')
    .option('--follow', 'show what comes in from now on, until Ctrl-C')
    .addHelpText('after', '\nHow queries are written: firebreak events --help')
}

const NO_TABLE: Shown<Record<string, unknown>> = { columns: [], raw: () => '', empty: '' }

function shownAs(fields: readonly string[] | undefined): (rows: readonly Event[]) => Shown<Event> {
  return (rows) => ({
    columns: fields === undefined ? columnsOf(rows) : fieldColumns(fields),
    raw: (event) =>
      fields === undefined ? (event.event.id ?? '') : fields.map((field) => fieldText(event, field)).join('  '),
    empty:
      'No events match. Look further back with --since, see what can be asked with firebreak events fields, or who sends with firebreak hosts list',
  })
}

function picked(event: Event, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    fields.flatMap((field) => {
      const value = fieldOf(event, field)
      return value === undefined ? [] : [[field, value]]
    }),
  )
}

function fieldNames(text: string): string[] {
  const names = text.split(',').map((name) => name.trim())
  for (const name of names)
    if (!fieldNamed(name)) {
      const nearest = nearestField(name)
      throw new InvalidArgumentError(
        `Unknown field ${name}${nearest === undefined ? '' : `, did you mean ${nearest}?`} All are listed by: firebreak events fields`,
      )
    }
  return names
}

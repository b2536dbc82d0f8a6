/** `firebreak events search`: facts from hosts. */
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Command, Option } from 'commander'
import { parseTime } from './durations.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { type Cli, collect, verb } from './session.ts'

interface SearchOptions extends ListOptions {
  readonly host?: string
  readonly class?: string
  readonly since?: string
  readonly until?: string
  readonly text?: string
  readonly field?: readonly string[]
}

export function addEventVerbs(cli: Cli, program: Command): void {
  const events = program.command('events').description('facts from hosts')
  listOptions(
    verb<SearchOptions>(
      cli,
      events,
      'search',
      'search events, newest first',
      async ({ api, io, format }, _args, options) => {
        const host = options.host === undefined ? undefined : (await resolveHost(api, options.host)).agent_id
        const query = {
          host,
          class: options.class,
          since: options.since,
          until: options.until,
          text: options.text,
          field: options.field,
        }
        const rows = await api.list<Event>('/api/v1/events', query, options.limit)
        printList(io, format, rows, {
          columns: [
            { head: 'TIME', cell: (event) => event['@timestamp'].slice(0, 23).replace('T', ' ') },
            {
              head: 'HOST',
              cell: (event) => (event.host?.name ?? event.host?.hostname ?? event.host?.id ?? '-').slice(0, 20),
            },
            { head: 'ACTION', cell: (event) => event.event.action },
            { head: 'WHO', cell: (event) => event.process?.user?.name ?? event.user?.name ?? '-' },
            { head: 'WHAT', cell: whatOf, flexible: true },
          ],
          raw: (event) => event.event.id ?? '',
          empty: 'No events match. Look further back with --since 7d, or see who sends: firebreak hosts list',
        })
      },
    ),
  )
    .option('--host <host>', 'only of this host')
    .addOption(new Option('--class <class>', 'only of this class').choices([...EVENT_CLASSES]))
    .addOption(
      new Option('--since <time>', 'from: 1h (ago) or an ISO 8601 time').argParser((text) =>
        parseTime(text, cli.now()),
      ),
    )
    .addOption(new Option('--until <time>', 'until: the same').argParser((text) => parseTime(text, cli.now())))
    .option(
      '--field <name=value>',
      'ECS field, such as process.name=curl; * stands for any text; may be given several times',
      collect,
    )
    .option('--text <text>', 'anywhere in command line, path or message')
}

/** The one thing about an event that says most. */
export function whatOf(event: Event): string {
  const { process, file, source, destination } = event
  if (file?.path !== undefined) return `${file.path}${process?.name === undefined ? '' : `  by ${process.name}`}`
  if (destination?.ip !== undefined)
    return `${endpoint(source)} → ${endpoint(destination)}${process?.name === undefined ? '' : `  by ${process.name}`}`
  if (process !== undefined)
    // A kernel thread has an empty command line.
    return process.command_line || process.executable || `${process.name ?? 'process'} (pid ${process.pid ?? '?'})`
  if (event.package !== undefined) return `${event.package.name} ${event.package.version}`
  return event.message ?? event.event.reason ?? event.user?.name ?? event.service?.name ?? ''
}

function endpoint(side: Event['destination']): string {
  if (side?.ip === undefined) return '?'
  const address = side.ip.includes(':') ? `[${side.ip}]` : side.ip
  return side.port === undefined ? address : `${address}:${side.port}`
}

/** `firebreak events seen`: have we ever seen this, where, since when. */
import type { Command } from 'commander'
import type { EventSighting } from '../api/event-sightings.ts'
import { ageText, timeText } from './durations.ts'
import type { Io } from './io.ts'
import { printOne, tableOf } from './output.ts'
import { type Cli, verb } from './session.ts'
import { fitText } from './terminal-text.ts'

const PLURALS = { hash: 'hash', address: 'address', domain: 'domain', executable: 'program' } as const

export function addEventSeenVerb(cli: Cli, events: Command): void {
  verb(
    cli,
    events,
    'seen <value>',
    'where a hash, an address, a domain or a program was seen, first and last',
    async ({ api, io, format }, [value = '']) => {
      const seen = await api.get<EventSighting>('/api/v1/events/seen', { value })
      printOne(io, format, seen, `${seen.host_count} ${seen.events}`, () => seenPage(io, seen, cli.now()))
    },
  )
}

function seenPage(io: Io, seen: EventSighting, nowMs: number): string {
  const { colors } = io
  const what = `${PLURALS[seen.kind]} ${fitText(seen.value, io.columns)}`
  if (seen.first_seen === null || seen.last_seen === null)
    return `${colors.bold(what)}\nnever seen on any of ${seen.fleet_hosts} hosts`
  const share = `${seen.host_count} of ${seen.fleet_hosts} ${seen.fleet_hosts === 1 ? 'host' : 'hosts'}`
  const query = queryOf(seen)
  return [
    colors.bold(what),
    `seen on ${colors.bold(share)}, in ${seen.events} ${seen.events === 1 ? 'event' : 'events'}`,
    `first ${timeText(seen.first_seen)} (${ageText(seen.first_seen, nowMs)}), last ${timeText(seen.last_seen)} (${ageText(seen.last_seen, nowMs)})`,
    ...(seen.fields.length === 0
      ? [colors.dim('its events have expired; only the sum of them is kept')]
      : [colors.dim(`as ${seen.fields.map(({ field, events }) => `${field} (${events})`).join(', ')}`)]),
    ...(seen.hosts.length === 0
      ? []
      : [
          '',
          tableOf(
            io,
            seen.hosts,
            [
              { head: 'HOST', cell: (host) => host.hostname ?? host.agent_id, flexible: true },
              { head: 'FIRST', cell: (host) => timeText(host.first_seen) },
              { head: 'LAST', cell: (host) => timeText(host.last_seen) },
              { head: 'EVENTS', cell: (host) => String(host.events) },
            ],
            io.columns,
          ),
        ]),
    ...(seen.hosts.length < seen.host_count && seen.hosts.length > 0
      ? [
          colors.dim(
            `the ${seen.hosts.length} hosts that saw it last; the others, and hosts whose events expired, are only counted`,
          ),
        ]
      : []),
    ...(query === undefined ? [] : ['', colors.bold('Next'), `  firebreak events search '${query}'`]),
  ].join('\n')
}

/** Only of characters that mean nothing to a shell in single quotes, nor to a query in double quotes. */
function queryOf({ fields, value }: EventSighting): string | undefined {
  if (fields.length === 0 || !/^[\w.:/ @+-]+$/.test(value)) return undefined
  return fields.map(({ field }) => `${field}:"${value}"`).join(' or ')
}

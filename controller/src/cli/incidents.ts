/** `firebreak incidents`: alerts that belong together, and what is done about them. */
import { Argument, type Command, Option } from 'commander'
import { INCIDENT_STATUSES, type Incident, type IncidentPage } from '../api/incidents.ts'
import { SEVERITIES, VERDICTS } from '../triage/index.ts'
import { ageText } from './durations.ts'
import { incidentPage } from './incident-page.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList, printOne } from './output.ts'
import type { ApiClient } from './api-client.ts'
import { resolveId, shortId } from './short-id.ts'
import { type Cli, type Session, verb } from './session.ts'
import { confidenceText, paintSeverity } from './severity.ts'
import { fitText } from './terminal-text.ts'

interface IncidentListOptions extends ListOptions {
  readonly status?: string
  readonly route?: string
  readonly severity?: string
}
interface EditOptions {
  readonly reason?: string
}

export function addIncidentVerbs(cli: Cli, program: Command): void {
  const incidents = program.command('incidents').description('alerts that belong together, and what is done about them')

  listOptions(
    verb<IncidentListOptions>(
      cli,
      incidents,
      'list',
      'list incidents, newest first',
      async ({ api, io, format }, _args, { limit, status, route, severity }) => {
        const rows = await api.list<Incident>('/api/v1/incidents', { status, route, severity }, limit)
        printList(io, format, rows, {
          columns: [
            { head: 'INCIDENT', cell: (incident) => shortId(incident.id) },
            {
              head: 'SEVERITY',
              cell: (incident) => incident.severity,
              paint: (text, { severity }) => paintSeverity(io.colors, text, severity),
            },
            { head: 'CONF', cell: (incident) => confidenceText(incident.confidence) },
            { head: 'STATUS', cell: (incident) => incident.verdict ?? incident.status },
            { head: 'ROUTE', cell: (incident) => incident.route, optional: true },
            { head: 'TITLE', cell: (incident) => incident.title, flexible: true },
            { head: 'HOSTS', cell: (incident) => String(incident.hosts.length), optional: true },
            { head: 'SEEN', cell: (incident) => ageText(incident.last_seen, cli.now()) },
          ],
          raw: (incident) => incident.id,
          empty: 'No incidents. What hosts tell: firebreak events search; what is looked for: firebreak rules list',
        })
      },
    ),
  )
    .addOption(new Option('--status <status>', 'only with this status').choices([...INCIDENT_STATUSES]))
    .addOption(new Option('--route <route>', 'act, ask or log').choices(['act', 'ask', 'log']))
    .addOption(new Option('--severity <level>', 'only of this severity').choices([...SEVERITIES]))

  verb(cli, incidents, 'show <id>', 'show all of an incident on one page', async ({ api, io, format }, [id = '']) => {
    const page = await api.get<IncidentPage>(await pathOf(api, id))
    printOne(io, format, page, page.incident.status, () => incidentPage(io, page, cli.now()))
  })

  verb<EditOptions>(
    cli,
    incidents,
    'verdict <id>',
    'say what it was; closes it and its alerts',
    async ({ api, io, format }, [id = '', verdict = ''], { reason }) => {
      const body = { verdict, reason: reason ?? 'judged by hand' }
      const incident = await api.post<Incident>(`${await pathOf(api, id)}/verdict`, body)
      printOne(io, format, incident, incident.id, () => shortPage(incident, io.columns))
    },
  )
    .addArgument(
      new Argument('<verdict>', 'benign: it happened as seen, and it was meant to happen').choices([...VERDICTS]),
    )
    .option('--reason <text>', 'why; goes into the audit log')

  verb<EditOptions>(
    cli,
    incidents,
    'status <id>',
    'change its status',
    async (session, [id = '', status = ''], { reason }) => await edit(session, id, { status }, reason),
  )
    .addArgument(new Argument('<status>', 'new status').choices([...INCIDENT_STATUSES]))
    .option('--reason <text>', 'why; goes into the audit log')

  verb<EditOptions>(
    cli,
    incidents,
    'assign <id> <name>',
    'give it to somebody',
    async (session, [id = '', name = ''], { reason }) => await edit(session, id, { assignee: name }, reason),
  ).option('--reason <text>', 'why; goes into the audit log')
}

async function edit(
  { api, io, format }: Session,
  id: string,
  change: object,
  reason: string | undefined,
): Promise<void> {
  const path = await pathOf(api, id)
  const { etag } = await api.read<IncidentPage>(path)
  const incident = await api.patch<Incident>(
    path,
    { ...change, ...(reason === undefined ? {} : { reason }) },
    etag ?? '*',
  )
  printOne(io, format, incident, incident.id, () => shortPage(incident, io.columns))
}

function shortPage(incident: Incident, width: number): string {
  return `${fitText(incident.title, width - 4)}\n  status ${incident.status}, verdict ${incident.verdict ?? 'none'}, assignee ${incident.assignee ?? 'nobody'}`
}

async function pathOf(api: ApiClient, id: string): Promise<string> {
  return `/api/v1/incidents/${await resolveId(api, 'incidents', id)}`
}

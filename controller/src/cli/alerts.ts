/** `firebreak alerts`: what detectors said. */
import { type Command, Option } from 'commander'
import type { Alert } from '../api/alerts.ts'
import { SEVERITIES } from '../triage/index.ts'
import { ageText } from './durations.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { shortId } from './short-id.ts'
import { type Cli, verb } from './session.ts'
import { confidenceText, paintSeverity } from './severity.ts'

interface AlertOptions extends ListOptions {
  readonly host?: string
  readonly severity?: string
  readonly status?: string
}

export function addAlertVerbs(cli: Cli, program: Command): void {
  const alerts = program.command('alerts').description('what detectors said')
  listOptions(
    verb<AlertOptions>(
      cli,
      alerts,
      'list',
      'list alerts, newest first',
      async ({ api, io, format }, _args, options) => {
        const host = options.host === undefined ? undefined : (await resolveHost(api, options.host)).agent_id
        const query = { host, severity: options.severity, status: options.status }
        const rows = await api.list<Alert>('/api/v1/alerts', query, options.limit)
        printList(io, format, rows, {
          columns: [
            { head: 'ALERT', cell: (alert) => shortId(alert.id) },
            {
              head: 'SEVERITY',
              cell: (alert) => alert.severity,
              paint: (text, alert) => paintSeverity(io.colors, text, alert.severity),
            },
            { head: 'CONF', cell: (alert) => confidenceText(alert.confidence) },
            { head: 'TITLE', cell: (alert) => alert.title, flexible: true },
            { head: 'SIGNALS', cell: (alert) => String(alert.signal_count), optional: true },
            { head: 'STATUS', cell: (alert) => alert.verdict ?? alert.status },
            { head: 'SEEN', cell: (alert) => ageText(alert.last_seen, cli.now()) },
          ],
          raw: (alert) => alert.id,
          empty: 'No alerts. What hosts tell: firebreak events search; what is looked for: firebreak rules list',
        })
      },
    ),
  )
    .option('--host <host>', 'only of this host')
    .addOption(new Option('--severity <level>', 'only of this severity').choices([...SEVERITIES]))
    .addOption(new Option('--status <status>', 'only with this status').choices(['open', 'closed']))
}

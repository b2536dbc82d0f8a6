/** `firebreak runs`: playbooks at work. */
import type { Command } from 'commander'
import type { PlaybookShown } from '../api/playbooks.ts'
import type { Run, RunWithSteps } from '../api/runs.ts'
import { ageText, timeText } from './durations.ts'
import { hostNames } from './host-names.ts'
import type { Colors, Io } from './io.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList, printOne } from './output.ts'
import { type Cli, verb } from './session.ts'
import { fitText, safeText, wrapText } from './terminal-text.ts'

export function addRunVerbs(cli: Cli, program: Command): void {
  const runs = program.command('runs').description('playbooks at work')

  listOptions(
    verb<ListOptions & { readonly incident?: string }>(
      cli,
      runs,
      'list',
      'list runs, newest first',
      async ({ api, io, format }, _args, { limit, incident }) => {
        const rows = await api.list<Run>('/api/v1/runs', { incident_id: incident }, limit)
        const ids = rows.flatMap((run) => (run.agent_id === null ? [] : [run.agent_id]))
        const names = format === 'table' ? await hostNames(api, ids) : new Map<string, string>()
        printList(io, format, rows, {
          columns: [
            { head: 'RUN', cell: (run) => run.id },
            { head: 'PLAYBOOK', cell: (run) => run.playbook_id },
            { head: 'HOST', cell: (run) => names.get(run.agent_id ?? '') ?? run.agent_id ?? '-', flexible: true },
            {
              head: 'STATE',
              cell: (run) => run.state,
              paint: (text, run) => paintRunState(io.colors, text, run.state),
            },
            { head: 'WHY', cell: (run) => run.why ?? '', flexible: true, optional: true },
            { head: 'WHEN', cell: (run) => ageText(run.started_at, cli.now()) },
          ],
          raw: (run) => run.id,
          empty: 'No playbook has run yet. What would start one: firebreak playbooks list',
        })
      },
    ),
  ).option('--incident <id>', 'only of this incident')

  verb(cli, runs, 'show <id>', 'show a run with its steps', async ({ api, io, format }, [id = '']) => {
    const found = await api.get<RunWithSteps>(`/api/v1/runs/${encodeURIComponent(id)}`)
    printOne(io, format, found, found.run.state, () => runLines(io, found, io.columns).join('\n'))
  })
}

export function addPlaybookVerbs(cli: Cli, program: Command): void {
  const playbooks = program.command('playbooks').description('what can be done by itself')
  verb(cli, playbooks, 'list', 'list playbooks in force', async ({ api, io, format }) => {
    const { items } = await api.get<{ items: PlaybookShown[] }>('/api/v1/playbooks')
    printList(io, format, items, {
      columns: [
        { head: 'PLAYBOOK', cell: (playbook) => playbook.id },
        { head: 'VERSION', cell: (playbook) => String(playbook.version) },
        { head: 'TITLE', cell: (playbook) => playbook.title, flexible: true },
        { head: 'FILE', cell: (playbook) => playbook.file, flexible: true },
      ],
      raw: (playbook) => playbook.id,
      empty: 'No playbooks are loaded.',
    })
  })
}

export function paintRunState(colors: Colors, text: string, state: string): string {
  if (state === 'succeeded') return colors.green(text)
  if (state === 'failed' || state === 'refused') return colors.red(text)
  return state === 'skipped' || state === 'cancelled' ? colors.dim(text) : colors.cyan(text)
}

const MARKS: Readonly<Record<string, string>> = {
  succeeded: '✓',
  failed: '✗',
  refused: '✗',
  skipped: '-',
  running: '…',
}

export function runLines(io: Io, { run, steps }: RunWithSteps, width: number): string[] {
  const { colors } = io
  return [
    `${colors.bold(safeText(run.playbook_id))}  ${paintRunState(colors, run.state, run.state)}  ${colors.dim(`${timeText(run.started_at)} by ${fitText(run.started_by, 40)}`)}`,
    ...(run.why === null ? [] : wrapText(run.why, width - 4).map((line) => `    ${line}`)),
    ...steps.flatMap((step) => [
      `  ${paintRunState(colors, MARKS[step.state] ?? '?', step.state)} ${fitText(step.step_id, 32).padEnd(32)} ${paintRunState(colors, step.state.padEnd(10), step.state)} ${colors.dim(step.command_id === null ? safeText(step.type) : `command ${safeText(step.command_id)}`)}`,
      ...(step.why === null ? [] : wrapText(step.why, width - 6).map((line) => colors.dim(`      ${line}`))),
    ]),
  ]
}

/** `firebreak commands`: signed orders and their proof. */
import { COMMAND_STATES, type CommandState } from '@firebreak/shared/commands/command.ts'
import { type Command, Option } from 'commander'
import type { CommandPage, Command as CommandShown } from '../api/commands.ts'
import { explain } from './await-command.ts'
import { ageText } from './durations.ts'
import type { Colors, Io } from './io.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList, printOne, tableOf } from './output.ts'
import { hostNames } from './host-names.ts'
import { resolveHost } from './resolve-host.ts'
import { resolveId, shortId } from './short-id.ts'
import { type Cli, verb } from './session.ts'
import { fitText, safeText } from './terminal-text.ts'

interface CommandListOptions extends ListOptions {
  readonly host?: string
  readonly state?: string
  readonly incident?: string
}

export function addCommandVerbs(cli: Cli, program: Command): void {
  const commands = program.command('commands').description('signed orders and their proof')

  listOptions(
    verb<CommandListOptions>(
      cli,
      commands,
      'list',
      'list commands, newest first',
      async ({ api, io, format }, _args, options) => {
        const host = options.host === undefined ? undefined : (await resolveHost(api, options.host)).agent_id
        const query = { host, state: options.state, incident_id: options.incident }
        const rows = await api.list<CommandShown>('/api/v1/commands', query, options.limit)
        const names =
          format === 'table'
            ? await hostNames(
                api,
                rows.map((row) => row.agent_id),
              )
            : new Map<string, string>()
        printList(io, format, rows, {
          columns: [
            { head: 'COMMAND', cell: (command) => shortId(command.id) },
            { head: 'TYPE', cell: (command) => command.type },
            { head: 'HOST', cell: (command) => names.get(command.agent_id) ?? command.agent_id, flexible: true },
            {
              head: 'STATE',
              cell: (command) => command.state,
              paint: (text, command) => paintCommandState(io.colors, text, command.state),
            },
            { head: 'CODE', cell: (command) => command.code ?? '-', optional: true },
            { head: 'BY', cell: (command) => command.actor, flexible: true, optional: true },
            { head: 'WHEN', cell: (command) => ageText(command.created_at, cli.now()) },
          ],
          raw: (command) => command.id,
          empty: 'No commands. See what one would do: firebreak isolate HOST --dry-run',
        })
      },
    ),
  )
    .option('--host <host>', 'only to this host')
    .addOption(new Option('--state <state>', 'only in this state').choices([...COMMAND_STATES]))
    .option('--incident <id>', 'only of this incident')

  verb(cli, commands, 'show <id>', 'show a command, its life and its proof', async ({ api, io, format }, [id = '']) => {
    const command = await api.get<CommandPage>(`/api/v1/commands/${await resolveId(api, 'commands', id)}`)
    const names = format === 'table' ? await hostNames(api, [command.agent_id]) : new Map<string, string>()
    printOne(io, format, command, command.state, () => commandPage(io, command, names.get(command.agent_id)))
  })

  verb<{ readonly reason?: string }>(
    cli,
    commands,
    'cancel <id>',
    'cancel a command that no host has taken',
    async ({ api, io, format }, [id = ''], { reason }) => {
      const path = `/api/v1/commands/${await resolveId(api, 'commands', id)}/cancel`
      const command = await api.post<CommandShown>(path, { reason: reason ?? 'cancelled by hand' })
      printOne(io, format, command, command.state, () => `${command.id}  ${command.type}: ${command.state}`)
    },
  ).option('--reason <text>', 'why; goes into the audit log')

  verb(
    cli,
    commands,
    'release-code <id>',
    'read the one-time code that frees an isolated host locally',
    async ({ api, io, format }, [id = '']) => {
      const found = await api.get<{ command_id: string; code: string }>(
        `/api/v1/commands/${await resolveId(api, 'commands', id)}/release-code`,
      )
      printOne(
        io,
        format,
        found,
        found.code,
        () => `On the host: firebreak-agent release --code ${safeText(found.code)}`,
      )
    },
  )
}

export function paintCommandState(colors: Colors, text: string, state: CommandState): string {
  switch (state) {
    case 'verified':
      return colors.green(text)
    case 'refuted':
    case 'failed':
    case 'refused':
      return colors.red(text)
    case 'unknown':
    case 'expired':
    case 'reverted':
      return colors.yellow(text)
    case 'cancelled':
      return colors.dim(text)
    default:
      return colors.cyan(text)
  }
}

/** Before the detail of a state: margin, time, state and the gaps. */
const LIFE_LEFT = 2 + 23 + 2 + 12 + 2
const LONG_DIGEST = /^[0-9a-f]{24,}$/

/** `lease 1, seq 4`: what a person wants of it at a glance; digests by their beginning, all of it is in --json. */
function pairsText(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value)
      return `${name} ${LONG_DIGEST.test(text) ? `${text.slice(0, 12)}…` : text}`
    })
    .join(', ')
}

function commandPage(io: Io, command: CommandPage, hostname: string | undefined): string {
  const { colors } = io
  const line = (name: string, value: string) => `  ${colors.dim(name.padEnd(9))} ${fitText(value, io.columns - 12)}`
  const why = explain(io, command, io.columns - 2)
  return [
    `${colors.bold(`${safeText(command.type)} on ${fitText(hostname ?? command.agent_id, 64)}`)}  ${paintCommandState(colors, command.state, command.state)}`,
    line('command', command.id),
    line('host', command.agent_id),
    line('arguments', pairsText(command.args)),
    line('by', `${command.actor}: ${command.reason}`),
    ...(command.playbook === null ? [] : [line('playbook', command.playbook)]),
    ...(command.incident_id === null ? [] : [line('incident', command.incident_id)]),
    '',
    colors.bold('Life'),
    ...command.transitions.map(({ state, at, detail }) =>
      `  ${colors.dim(at.slice(0, 23).replace('T', ' '))}  ${fitText(state, 12).padEnd(12)}  ${colors.dim(fitText(pairsText(detail), io.columns - LIFE_LEFT))}`.trimEnd(),
    ),
    ...(why === '' ? [] : ['', colors.bold('Outcome'), ...why.split('\n').map((one) => `  ${one}`)]),
    '',
    colors.bold('Receipts'),
    command.receipts.length === 0
      ? '  none yet'
      : tableOf(
          io,
          command.receipts,
          [
            { head: '  NO', cell: (receipt) => `  ${receipt.receipt_seq}` },
            { head: 'STATE', cell: (receipt) => receipt.state },
            { head: 'CODE', cell: (receipt) => receipt.code ?? '-' },
            {
              head: 'SIGNATURE AND CHAIN',
              cell: (receipt) => (receipt.valid ? 'hold' : 'DO NOT HOLD'),
              paint: (text, receipt) => (receipt.valid ? colors.green(text) : colors.red(text)),
            },
            { head: 'PAYLOAD SHA-256', cell: (receipt) => receipt.payload_sha256, flexible: true },
          ],
          io.columns,
        ),
  ].join('\n')
}

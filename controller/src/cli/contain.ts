/** The verbs that act on a host: asked for, previewed, ordered, and followed until a probe saw the effect. */
import { randomUUID } from 'node:crypto'
import type { CommandArgs, CommandType } from '@firebreak/shared/commands/catalogue.ts'
import { type Command, Option } from 'commander'
import type { Command as CommandShown } from '../api/commands.ts'
import type { Host } from '../api/hosts.ts'
import { awaitCommand, DEFAULT_WAIT_S, explain } from './await-command.ts'
import { confirm } from './confirm.ts'
import { durationText, parseDuration } from './durations.ts'
import { CliError, type Exit } from './exit-codes.ts'
import { printOne } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { type Cli, type Session, verb } from './session.ts'
import { fitText } from './terminal-text.ts'

interface OrderOptions {
  readonly reason?: string
  readonly yes?: boolean
  readonly wait: boolean
  readonly timeout: number
  readonly dryRun?: boolean
  readonly idempotencyKey?: string
  readonly incident?: string
}
interface IsolateOptions extends OrderOptions {
  readonly hold: number
  readonly onControllerLoss: 'hold' | 'release'
}
interface KillOptions extends OrderOptions {
  readonly tree?: boolean
  readonly entityId?: string
}

interface Preview {
  readonly dry_run: true
  readonly agent_id: string
  readonly hostname: string
  readonly connected: boolean
  readonly protected: boolean
  readonly type: string
  readonly risk: string
  readonly undone_by: string | null
}

export function addContainVerbs(cli: Cli, program: Command): void {
  orderOptions(
    verb<IsolateOptions>(
      cli,
      program,
      'isolate <host>',
      'cut a host off from everything but its controllers',
      async (session, [host = ''], options) => {
        const { hold, onControllerLoss } = options
        return await order(session, host, options, {
          type: 'isolate-host',
          args: { hold_s: hold, on_controller_loss: onControllerLoss },
          what: (name) => `isolate ${name} for ${durationText(hold)}`,
          reason: 'isolated by hand',
        })
      },
    ),
  )
    .addOption(
      new Option('--hold <time>', 'until it lapses by itself, such as 4h')
        .argParser(parseDuration)
        .default(14_400, '4h'),
    )
    .addOption(
      new Option('--on-controller-loss <what>', 'at the end of the hold while no controller answers')
        .choices(['hold', 'release'])
        .default('release'),
    )

  orderOptions(
    verb<OrderOptions>(
      cli,
      program,
      'release <host>',
      'end the isolation of a host',
      async (session, [host = ''], options) =>
        await order(session, host, options, {
          type: 'release-host',
          args: {},
          what: (name) => `release ${name}`,
          reason: 'released by hand',
        }),
    ),
  )

  orderOptions(
    verb<KillOptions>(
      cli,
      program,
      'kill <host> <pid>',
      'end a process on a host at once',
      async (session, [host = '', pid = ''], options) =>
        await order(session, host, options, {
          type: 'kill-process',
          args: {
            pid: pidOf(pid),
            tree: options.tree ?? false,
            ...(options.entityId === undefined ? {} : { entity_id: options.entityId }),
          },
          what: (name) => `kill process ${pid}${options.tree ? ' and its descendants' : ''} on ${name}`,
          reason: 'killed by hand',
        }),
    ),
  )
    .option('--tree', 'its descendants too')
    .option('--entity-id <id>', 'only if the process is still this one (process.entity_id of its events)')
}

function orderOptions(command: Command): Command {
  return command
    .option('--reason <text>', 'why; goes into the audit log and to the host')
    .option('--yes', 'do not ask; needed where nobody can answer')
    .option('--wait', 'follow it until a probe saw the effect', true)
    .option('--no-wait', 'return as soon as it is ordered')
    .addOption(
      new Option('--timeout <time>', 'how long to wait')
        .argParser(parseDuration)
        .default(DEFAULT_WAIT_S, `${DEFAULT_WAIT_S}s`),
    )
    .option('--dry-run', 'only say what would be done')
    .option('--idempotency-key <key>', 'the same key gives the same command again')
    .option('--incident <id>', 'incident it belongs to')
}

const MAX_PID = 2 ** 31 - 1
/** Not 1: without its first process a host is gone. */
function pidOf(text: string): number {
  const pid = Number(text)
  if (!/^\d+$/.test(text) || pid < 2 || pid > MAX_PID)
    throw new CliError(
      'usage',
      `${fitText(text, 40)} is not a process id: a whole number from 2 to ${MAX_PID} is needed`,
    )
  return pid
}

interface Order<T extends CommandType> {
  readonly type: T
  readonly args: CommandArgs<T>
  readonly what: (hostname: string) => string
  readonly reason: string
}

async function order<T extends CommandType>(
  session: Session,
  hostText: string,
  options: OrderOptions,
  { type, args, what, reason }: Order<T>,
): Promise<Exit> {
  const { api, cli, io, format } = session
  const host = await resolveHost(api, hostText)
  const name = fitText(host.hostname, 64)
  const body = {
    agent_id: host.agent_id,
    type,
    args,
    reason: options.reason ?? reason,
    ...(options.incident === undefined ? {} : { incident_id: options.incident }),
  }
  if (options.dryRun === true) {
    const preview = await api.post<Preview>('/api/v1/commands', body, { dry_run: true })
    printOne(io, format, preview, preview.type, () => previewText(what(name), preview))
    return 'ok'
  }
  await confirm(io, options.yes === true, `${capital(what(name))} (${hostFacts(host)})?`)
  const headers = { 'idempotency-key': options.idempotencyKey ?? randomUUID() }
  const ordered = await api.post<CommandShown>('/api/v1/commands', body, {}, headers)
  if (!options.wait) {
    printOne(
      io,
      format,
      ordered,
      ordered.id,
      () => `${ordered.id}  ${ordered.state}  follow it: firebreak commands show ${ordered.id}`,
    )
    return 'ok'
  }
  const { command, exit } = await awaitCommand(cli, api, ordered.id, what(name), options.timeout)
  printOne(io, format, command, command.id, () =>
    [`${command.id}  ${command.type} on ${name}: ${command.state}`, explain(io, command, io.columns)]
      .filter((part) => part !== '')
      .join('\n'),
  )
  return exit
}

function previewText(what: string, preview: Preview): string {
  return [
    `Would ${what}; nothing was done.`,
    `  host       ${fitText(preview.hostname, 64)} (${preview.agent_id})`,
    `  connected  ${preview.connected ? 'yes' : 'no: it would wait for the host'}`,
    `  protected  ${preview.protected ? 'yes: a playbook would be refused' : 'no'}`,
    `  risk       ${preview.risk}`,
    `  undone by  ${preview.undone_by ?? 'nothing'}`,
  ].join('\n')
}

function hostFacts(host: Host): string {
  return [
    host.agent_id,
    host.connected ? 'connected' : 'offline: it would wait',
    ...(host.protected ? ['PROTECTED'] : []),
    ...(host.criticality === 'normal' ? [] : [`criticality ${host.criticality}`]),
  ].join(', ')
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

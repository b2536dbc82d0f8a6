/** `firebreak hosts`: the fleet. */
import { type Command, Option } from 'commander'
import { CRITICALITIES, type Host } from '../api/hosts.ts'
import type { Stream } from '../api/streams.ts'
import { confirm } from './confirm.ts'
import { addHostCoverage } from './coverage.ts'
import { ageText, timeText } from './durations.ts'
import { CliError } from './exit-codes.ts'
import type { Colors, Io } from './io.ts'
import { addInventoryVerb } from './inventory.ts'
import { listOptions, type ListOptions } from './list-options.ts'
import { printList, printOne, tableOf } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { type Cli, collect, verb } from './session.ts'
import { fitText, wrapText } from './terminal-text.ts'

type HostShown = Host & { readonly streams: readonly Stream[] }

interface SetOptions {
  readonly tag?: readonly string[]
  readonly untag?: readonly string[]
  readonly protected?: boolean
  readonly criticality?: Host['criticality']
  readonly group?: string
  readonly reason?: string
}

export function addHostVerbs(cli: Cli, program: Command): void {
  const hosts = program.command('hosts').description('the fleet')
  addHostCoverage(cli, hosts)

  listOptions(
    verb<ListOptions & { readonly group?: string; readonly connected?: boolean; readonly offline?: boolean }>(
      cli,
      hosts,
      'list',
      'list hosts',
      async ({ api, io, format }, _args, { limit, group, connected, offline }) => {
        const query = { group, connected: connected === true ? true : offline === true ? false : undefined }
        const rows = await api.list<Host>('/api/v1/hosts', query, limit)
        printList(io, format, rows, {
          columns: [
            { head: 'AGENT', cell: (host) => host.agent_id },
            { head: 'HOST', cell: (host) => host.hostname, flexible: true },
            { head: 'STATE', cell: stateOf, paint: (text, host) => paintState(io.colors, text, host) },
            {
              head: 'ISOLATION',
              cell: (host) => host.containment.phase,
              paint: (text, host) => paintPhase(io.colors, text, host),
            },
            { head: 'FLAGS', cell: flagsOf },
            { head: 'OS', cell: (host) => host.os ?? '-', flexible: true, optional: true },
            { head: 'SEEN', cell: (host) => ageText(host.last_seen_at, cli.now()) },
          ],
          raw: (host) => host.agent_id,
          empty: 'No hosts yet. Let one in: firebreak join-token create',
        })
      },
    ),
  )
    .option('--group <name>', 'only this group')
    .option('--connected', 'only hosts that are connected')
    .option('--offline', 'only hosts that are not')

  verb(cli, hosts, 'show <host>', 'show a host', async ({ api, io, format }, [text = '']) => {
    const { agent_id: agentId } = await resolveHost(api, text)
    const host = await api.get<HostShown>(`/api/v1/hosts/${agentId}`)
    printOne(io, format, host, host.agent_id, () => hostPage(io, host, cli.now()))
  })

  addInventoryVerb(cli, hosts)

  verb<SetOptions>(
    cli,
    hosts,
    'set <host>',
    'change tags, protection, criticality or group',
    async (session, [text = ''], options) => {
      const { api, io, format } = session
      const { agent_id: agentId } = await resolveHost(api, text)
      const { body: before, etag } = await api.read<HostShown>(`/api/v1/hosts/${agentId}`)
      const edit = editOf(before, options)
      if (Object.keys(edit).length === 0)
        throw new CliError(
          'usage',
          'nothing to change: give --tag, --untag, --protected, --no-protected, --criticality or --group',
        )
      const body = { ...edit, ...(options.reason === undefined ? {} : { reason: options.reason }) }
      const host = await api.patch<Host>(`/api/v1/hosts/${agentId}`, body, etag ?? '*')
      printOne(io, format, host, host.agent_id, () => `${fitText(host.hostname, 64)}: ${flagsOf(host)}`)
    },
  )
    .option('--tag <tag>', 'add a tag; may be given several times', collect)
    .option('--untag <tag>', 'take a tag away; may be given several times', collect)
    .option('--protected', 'no playbook may contain it')
    .option('--no-protected', 'playbooks may contain it')
    .addOption(new Option('--criticality <level>', 'what it is worth').choices([...CRITICALITIES]))
    .option('--group <name>', 'its group')
    .option('--reason <text>', 'why; goes into the audit log')

  verb<{ readonly reason?: string; readonly yes?: boolean }>(
    cli,
    hosts,
    'revoke <host>',
    'shut a host out for good',
    async ({ api, io, format }, [text = ''], { reason, yes }) => {
      const found = await resolveHost(api, text)
      const name = fitText(found.hostname, 64)
      await confirm(io, yes === true, `Shut ${name} (${found.agent_id}) out for good? Its agent is never let in again.`)
      const host = await api.post<Host>(`/api/v1/hosts/${found.agent_id}/revoke`, {
        reason: reason ?? 'revoked by hand',
      })
      printOne(io, format, host, host.agent_id, () => `${name} is shut out`)
    },
  )
    .option('--reason <text>', 'why; goes into the audit log')
    .option('--yes', 'do not ask; needed where nobody can answer')
}

function editOf(before: Host, { tag = [], untag = [], protected: isProtected, criticality, group }: SetOptions) {
  const tags = [...new Set([...before.tags, ...tag])].filter((one) => !untag.includes(one))
  return {
    ...(tag.length > 0 || untag.length > 0 ? { tags } : {}),
    ...(isProtected === undefined ? {} : { protected: isProtected }),
    ...(criticality === undefined ? {} : { criticality }),
    ...(group === undefined ? {} : { group }),
  }
}

function stateOf(host: Host): string {
  if (host.imported_at !== null) return 'imported'
  return host.revoked_at === null ? (host.connected ? 'connected' : 'offline') : 'revoked'
}

function paintState(colors: Colors, text: string, host: Host): string {
  return host.revoked_at !== null || host.imported_at !== null
    ? colors.dim(text)
    : host.connected
      ? colors.green(text)
      : colors.yellow(text)
}

function paintPhase(colors: Colors, text: string, { containment }: Host): string {
  return containment.phase === 'none' ? colors.dim(text) : colors.red(text)
}

function flagsOf(host: Host): string {
  return (
    [
      ...(host.protected ? ['protected'] : []),
      ...(host.criticality === 'normal' ? [] : [host.criticality]),
      ...host.tags,
    ].join(' ') || '-'
  )
}

function hostPage(io: Io, host: HostShown, nowMs: number): string {
  const { colors } = io
  const line = (name: string, value: string) => `  ${colors.dim(name.padEnd(12))} ${fitText(value, io.columns - 15)}`
  const { containment } = host
  const isolation =
    containment.phase === 'none'
      ? 'none'
      : `${containment.phase}${containment.expires_at === null ? '' : `, lapses ${timeText(containment.expires_at)}`}${containment.drift_count > 0 ? `, set again ${containment.drift_count} times` : ''}`
  return [
    `${colors.bold(fitText(host.hostname, 64))}  ${paintState(colors, stateOf(host), host)}`,
    line('agent', `${host.agent_id}  ${host.agent_version ?? ''}`),
    line('system', [host.os, host.kernel, host.architecture].filter((part) => part !== null).join(', ') || '-'),
    line('addresses', host.addresses.join(', ') || '-'),
    line('group', host.group),
    line('flags', flagsOf(host)),
    line('isolation', isolation),
    line('joined', timeText(host.enrolled_at)),
    line('seen', `${timeText(host.last_seen_at)}  ${ageText(host.last_seen_at, nowMs)}`),
    ...(host.imported_at === null
      ? []
      : [line('imported', `${timeText(host.imported_at)}  from recordings; it has no agent`)]),
    ...(host.revoked_at === null ? [] : [line('revoked', timeText(host.revoked_at))]),
    '',
    colors.bold('What it sees'),
    host.collectors.length === 0
      ? '  nothing was reported yet'
      : indent(
          tableOf(
            io,
            host.collectors,
            [
              { head: 'COLLECTOR', cell: (one) => one.name },
              {
                head: 'STATE',
                cell: (one) => one.state,
                paint: (text, one) => (one.state === 'running' ? colors.green(text) : colors.yellow(text)),
              },
              { head: 'EVENTS', cell: (one) => String(one.events) },
              { head: 'LOST', cell: (one) => String(one.lost) },
            ],
            io.columns - 2,
          ),
        ),
    ...host.collectors.flatMap(({ name, why }) =>
      why === undefined || why === ''
        ? []
        : wrapText(`${name}: ${why}`, io.columns - 4).map((line, at) => colors.dim(`  ${at === 0 ? '' : '  '}${line}`)),
    ),
    '',
    colors.bold('Events: produced = stored + spooled + dropped'),
    host.streams.length === 0
      ? '  none yet'
      : indent(
          tableOf(
            io,
            host.streams,
            [
              { head: 'CLASS', cell: (one) => one.class },
              { head: 'PRODUCED', cell: (one) => String(one.produced) },
              { head: 'STORED', cell: (one) => String(one.stored) },
              { head: 'SPOOLED', cell: (one) => String(one.spooled) },
              { head: 'DROPPED', cell: (one) => String(one.dropped) },
              {
                head: 'OPEN',
                cell: (one) => String(one.unaccounted),
                paint: (text, one) => (one.unaccounted > 0 ? colors.red(text) : text),
              },
              { head: 'SAID', cell: (one) => ageText(one.updated_at, nowMs) },
            ],
            io.columns - 2,
          ),
        ),
  ].join('\n')
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n')
}

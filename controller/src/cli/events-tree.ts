/** `firebreak events tree`: where a process came from, what it started, and what each of them did. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { EventTree, TreeNode } from '../api/event-tree.ts'
import { parseBound } from '../search/times.ts'
import type { Io } from './io.ts'
import { printOne } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { type Cli, verb } from './session.ts'
import { fitText } from './terminal-text.ts'
import { type TreeItem, treeLines } from './tree-lines.ts'

interface TreeOptions {
  readonly at?: string
  readonly full?: boolean
}

/** A command line of a script can be 32 KiB long; the beginning says which one it is. */
const MAX_COMMAND_LINE = 300

export function addEventTreeVerb(cli: Cli, events: Command): void {
  verb<TreeOptions>(
    cli,
    events,
    'tree <host> <process>',
    'the tree of a process, by its pid or its entity id',
    async ({ api, io, format }, [name = '', process = ''], options) => {
      const host = await resolveHost(api, name)
      const byPid = /^\d{1,10}$/.test(process)
      const tree = await api.get<EventTree>('/api/v1/events/tree', {
        host: host.agent_id,
        pid: byPid ? process : undefined,
        entity_id: byPid ? undefined : process,
        at: options.at,
      })
      printOne(io, format, tree, tree.entity_id, () => eventTreePage(io, tree, host.hostname, options.full === true))
    },
  )
    .addOption(
      new Option(
        '--at <time>',
        'which use of the pid is meant: the last that began by then; 2h (ago) or a time, UTC',
      ).argParser((text) => {
        const moment = parseBound(text, cli.now())
        if (!moment.ok) throw new InvalidArgumentError(moment.why)
        return new Date(moment.value.toMs - 1).toISOString()
      }),
    )
    .option('--full', `whole command lines, not only their first ${MAX_COMMAND_LINE} characters`)
}

function eventTreePage(io: Io, tree: EventTree, hostname: string, full: boolean): string {
  const { colors } = io
  const children = Map.groupBy(tree.processes, (one) => one.parent_entity_id)
  const days = new Set(tree.processes.flatMap((one) => (one.first_seen === null ? [] : [one.first_seen.slice(0, 10)])))
  const [day] = days
  const itemOf = (one: TreeNode): TreeItem => ({
    text: `${one.relation === 'self' ? '▶ ' : ''}${shortened(one.command_line || one.executable || one.name || '?', full)}`,
    facts: [one.pid === null ? '' : `pid ${one.pid}`, one.user ?? ''].filter((fact) => fact !== ''),
    marked: one.relation === 'self',
    notes: (width) => notesOf(one, days.size > 1).map((note) => colors.dim(fitText(note, Math.max(20, width)))),
    children: (children.get(one.entity_id) ?? []).map(itemOf),
  })
  const roots = tree.processes.filter((one) => one.parent_entity_id === null)
  const when = days.size === 1 && day !== undefined ? `, ${day}` : ''
  return [
    `${colors.bold(fitText(hostname, 40))} ${colors.dim(`${tree.host}${when}, times are UTC`)}`,
    ...roots.flatMap((root) => treeLines(io, itemOf(root), io.columns)),
    ...(tree.cut
      ? ['', colors.yellow('There are more descendants than are shown: ask for the tree of one of them.')]
      : []),
  ]
    .map((line) => line.trimEnd())
    .join('\n')
}

function shortened(text: string, full: boolean): string {
  return full || text.length <= MAX_COMMAND_LINE ? text : `${text.slice(0, MAX_COMMAND_LINE)}…`
}

function notesOf(one: TreeNode, withDay: boolean): string[] {
  if (!one.observed) return ['(no event of its own tells of it)']
  const time = (iso: string) => (withDay ? `${iso.slice(0, 10)} ` : '') + iso.slice(11, 19)
  const began = one.started_at === null ? `seen ${time(one.first_seen ?? '')}` : `started ${time(one.started_at)}`
  const ended = one.ended_at === null ? '' : `, ended ${time(one.ended_at)}${lasted(one)}`
  const code = one.exit_code === null ? '' : `, exit code ${one.exit_code}`
  const execs = one.execs === 0 ? '' : `, became another program ${one.execs === 1 ? 'once' : `${one.execs} times`}`
  return [
    `${began}${ended}${code}${execs}`,
    ...someOf('→', one.peers, 'peer', 'peers'),
    ...someOf('?', one.domains, 'domain', 'domains'),
    ...someOf('≡', one.files, 'file', 'files'),
  ]
}

function lasted({ started_at: from, ended_at: to }: TreeNode): string {
  if (from === null || to === null) return ''
  const ms = Date.parse(to) - Date.parse(from)
  return ms < 0
    ? ''
    : ` after ${ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : ms < 600_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`}`
}

function someOf(mark: string, { count, examples }: TreeNode['peers'], one: string, many: string): string[] {
  if (count === 0) return []
  return [`${mark} ${count} ${count === 1 ? one : many}: ${examples.join(', ')}${count > examples.length ? ', …' : ''}`]
}

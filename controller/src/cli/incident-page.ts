/** One page that tells a person what happened, why we believe it, what was done and what proves it. */
import type { Alert } from '../api/alerts.ts'
import type { IncidentPage } from '../api/incidents.ts'
import type { TimelineEntry } from '../api/incident-timeline.ts'
import type { CommandPage } from '../api/commands.ts'
import { SEVERITIES, VERDICTS } from '../triage/index.ts'
import { explain } from './await-command.ts'
import { paintCommandState } from './commands.ts'
import { ageText, timeText } from './durations.ts'
import { furtherQuestions } from './further-questions.ts'
import type { Io } from './io.ts'
import { processTree } from './process-tree.ts'
import { runLines } from './runs.ts'
import { confidenceText, paintSeverity } from './severity.ts'
import { shortId } from './short-id.ts'
import { fitText, safeText, wrapText } from './terminal-text.ts'

/** The newest of a long timeline; all of it is in --json. */
const MAX_TIMELINE = 60
const BAR_WIDTH = 20

type NameOf = (agentId: string | null) => string

export function incidentPage(io: Io, page: IncidentPage, nowMs: number): string {
  const names = new Map(page.hosts.map((host) => [host.agent_id, host.hostname]))
  const nameOf: NameOf = (agentId) => (agentId === null ? '' : fitText(names.get(agentId) ?? agentId, 32))
  const sections: [string, string[]][] = [
    ['Why we believe it', confidenceLines(io, page)],
    ['Hosts', hostLines(io, page)],
    ['ATT&CK', attackLines(io, page)],
    ['Alerts', alertLines(io, page, nameOf)],
    ['What was seen', treeLines(io, page, nameOf)],
    ['Playbooks', page.runs.flatMap((run) => runLines(io, run, io.columns - 2))],
    ['Commands and their proof', page.commands.flatMap((command) => commandLines(io, command, nameOf))],
    ['Timeline', timelineLines(io, page.timeline, nameOf)],
    ['Look further', furtherLines(page)],
    ['Next', nextLines(page)],
  ]
  const shown = sections.filter(([, lines]) => lines.length > 0)
  return [
    ...headLines(io, page, nowMs),
    ...shown.flatMap(([title, lines]) => ['', io.colors.bold(title), ...lines.map((line) => `  ${line}`)]),
  ]
    .map((line) => line.trimEnd())
    .join('\n')
}

function headLines(io: Io, { incident }: IncidentPage, nowMs: number): string[] {
  const { colors } = io
  const badge = paintSeverity(colors, ` ${incident.severity.toUpperCase()} `, incident.severity)
  const [title = '', ...more] = wrapText(incident.title, io.columns - incident.severity.length - 3)
  const routes = {
    act: 'a playbook may act by itself',
    ask: 'it waits for an analyst',
    log: 'it is kept, nobody is asked',
  } as const
  return [
    `${badge} ${colors.bold(title)}`,
    ...more.map((line) => `${' '.repeat(incident.severity.length + 3)}${colors.bold(line)}`),
    `${colors.dim('incident')} ${safeText(incident.id)}  ${colors.dim('status')} ${incident.status}  ${colors.dim('verdict')} ${fitText(incident.verdict ?? 'none', 24)}  ${colors.dim('assignee')} ${fitText(incident.assignee ?? 'nobody', 24)}`,
    `${colors.dim('seen')} ${timeText(incident.first_seen)} to ${timeText(incident.last_seen)} (${ageText(incident.last_seen, nowMs)})  ${colors.dim('route')} ${incident.route}: ${routes[incident.route]}`,
    ...(incident.escalated_why === null
      ? []
      : wrapText(`handed to a person: ${incident.escalated_why}`, io.columns).map((line) => colors.yellow(line))),
    ...(incident.merged_into === null ? [] : [colors.yellow(`lives on in incident ${safeText(incident.merged_into)}`)]),
  ]
}

function confidenceLines(io: Io, { incident }: IncidentPage): string[] {
  const { colors } = io
  const filled = Math.round((incident.confidence / 100) * BAR_WIDTH)
  const bar = `${'█'.repeat(filled)}${colors.dim('░'.repeat(BAR_WIDTH - filled))}`
  const nameWidth = Math.min(28, Math.max(0, ...incident.parts.map((part) => Array.from(safeText(part.name)).length)))
  return [
    `${colors.bold(confidenceText(incident.confidence))} confidence  ${bar}`,
    ...incident.parts.flatMap((part) => {
      const odds = `${part.log_odds >= 0 ? '+' : '-'}${Math.abs(part.log_odds).toFixed(1)}`.padStart(5)
      const [first = '', ...more] = wrapText(part.why, io.columns - nameWidth - 12)
      return [
        `${part.log_odds >= 0 ? colors.red(odds) : colors.green(odds)}  ${fitText(part.name, nameWidth).padEnd(nameWidth)}  ${first}`,
        ...more.map((line) => `${' '.repeat(nameWidth + 9)}${line}`),
      ]
    }),
  ]
}

function hostLines(io: Io, { hosts }: IncidentPage): string[] {
  const { colors } = io
  return hosts.map((host) => {
    const flags = [
      host.connected ? colors.green('connected') : colors.yellow('offline'),
      ...(host.containment === 'none' ? ['not isolated'] : [colors.red(host.containment)]),
      ...(host.protected ? [colors.yellow('protected')] : []),
      ...(host.criticality === 'normal' ? [] : [`criticality ${safeText(host.criticality)}`]),
    ]
    return `${colors.bold(fitText(host.hostname, 40).padEnd(20))} ${colors.dim(host.agent_id)}  ${flags.join(', ')}`
  })
}

function attackLines(io: Io, { incident }: IncidentPage): string[] {
  const lines = []
  if (incident.tactics.length > 0) lines.push(`tactics     ${incident.tactics.join(', ')}`)
  if (incident.techniques.length > 0) lines.push(`techniques  ${incident.techniques.join(', ')}`)
  return lines.flatMap((line) => wrapText(line, io.columns - 2))
}

/** The gravest first, in columns. */
function alertLines(io: Io, { alerts }: IncidentPage, nameOf: NameOf): string[] {
  const gravest = alerts.toSorted(
    (one, other) =>
      SEVERITIES.indexOf(other.severity) - SEVERITIES.indexOf(one.severity) || other.confidence - one.confidence,
  )
  const widest = Math.max(0, ...alerts.map(({ title }) => Array.from(safeText(title)).length))
  return gravest.map((alert) => alertLine(io, alert, nameOf, widest))
}

function alertLine(io: Io, alert: Alert, nameOf: NameOf, widest: number): string {
  const severity = paintSeverity(io.colors, alert.severity.padEnd(13), alert.severity)
  const tail = `${alert.signal_count} ${alert.signal_count === 1 ? 'signal' : 'signals'}`
  const host = nameOf(alert.agent_id)
  const room = Math.max(20, io.columns - 13 - 4 - host.length - tail.length - 10)
  return `${severity} ${confidenceText(alert.confidence).padStart(4)}  ${fitText(alert.title, room).padEnd(Math.min(room, widest))}  ${io.colors.dim(`${host}  ${tail}`)}`
}

function treeLines(io: Io, { incident, signals, hosts }: IncidentPage, nameOf: NameOf): string[] {
  const order = incident.hosts.length > 0 ? incident.hosts : hosts.map((host) => host.agent_id)
  return order.flatMap((agentId) => {
    const own = signals.filter((signal) => signal.agent_id === agentId)
    const lines = processTree(io, own, io.columns - 4)
    if (lines.length === 0) return []
    return order.length === 1 ? lines : [io.colors.bold(nameOf(agentId)), ...lines.map((line) => `  ${line}`)]
  })
}

function commandLines(io: Io, command: IncidentPage['commands'][number], nameOf: NameOf): string[] {
  const { colors } = io
  const page: CommandPage = { ...command, transitions: [], receipts: [] }
  const proof = explain(io, page, io.columns - 6)
  return [
    `${colors.bold(safeText(command.type))} on ${nameOf(command.agent_id)}: ${paintCommandState(colors, command.state, command.state)}  ${colors.dim(`by ${fitText(command.actor, 40)}, ${timeText(command.created_at)}`)}`,
    colors.dim(`  ${command.id}`),
    ...(proof === '' ? [] : proof.split('\n').map((line) => `  ${line}`)),
  ]
}

/** The questions that what was seen raises, as lines to copy. */
function furtherLines({ signals, hosts }: IncidentPage): string[] {
  const names = new Map(hosts.map((host) => [host.agent_id, nameToType(host, hosts)]))
  return furtherQuestions(signals, (agentId) => names.get(agentId) ?? agentId)
}

/** What a person can do now, as lines to copy. */
function nextLines({ incident, hosts }: IncidentPage): string[] {
  if (incident.verdict !== null || incident.merged_into !== null) return []
  const id = shortId(incident.id)
  const host = (one: IncidentPage['hosts'][number]) => nameToType(one, hosts)
  return [
    ...hosts
      .filter(({ containment }) => containment === 'none')
      .slice(0, 3)
      .map((one) => `firebreak isolate ${host(one)} --incident ${incident.id}`),
    ...hosts
      .filter(({ containment }) => containment !== 'none')
      .slice(0, 3)
      .map((one) => `firebreak release ${host(one)} --incident ${incident.id}`),
    `firebreak incidents verdict ${id} ${VERDICTS.join('|')} --reason '...'`,
  ]
}

/** The name where only one host has it and a shell reads it as it stands. */
function nameToType(
  { hostname, agent_id: agentId }: IncidentPage['hosts'][number],
  hosts: IncidentPage['hosts'],
): string {
  return hosts.every((other) => other.agent_id === agentId || other.hostname !== hostname) && /^[\w.-]+$/.test(hostname)
    ? hostname
    : agentId
}

function timelineLines(io: Io, timeline: readonly TimelineEntry[], nameOf: NameOf): string[] {
  const { colors } = io
  const left = timeline.length - MAX_TIMELINE
  const days = new Set(timeline.map(({ at }) => at.slice(0, 10)))
  return [
    ...(left > 0 ? [colors.dim(`${left} earlier entries are in --json`)] : []),
    ...timeline.slice(-MAX_TIMELINE).map(({ at, kind, title, agent_id: agentId, state, actor }) => {
      const time = days.size > 1 ? timeText(at) : at.slice(11, 23).replace('Z', '').padEnd(12)
      const host = nameOf(agentId)
      const told = state === null || title.endsWith(state) ? '' : state
      const tail = [host, told, actor === null ? '' : `by ${fitText(actor, 32)}`].filter((part) => part !== '')
      const tailText = tail.map((part) => safeText(part)).join('  ')
      const room = Math.max(24, io.columns - time.length - 8 - tailText.length - 8)
      const text = fitText(title, room)
      return `${colors.dim(time)}  ${kind.padEnd(8)}  ${kind === 'person' ? colors.bold(text) : text}  ${colors.dim(tailText)}`
    }),
  ]
}

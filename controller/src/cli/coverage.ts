/** `firebreak hosts coverage` and `firebreak rules coverage`: when somebody was blind, and for what. */
import { type Command, Option } from 'commander'
import type { HostCoverageShown, RuleCoverageShown, WindowShown } from '../api/coverage.ts'
import type { RuleShown } from '../api/rules.ts'
import { parseTime, timeText } from './durations.ts'
import { CliError } from './exit-codes.ts'
import type { Io } from './io.ts'
import { printOne } from './output.ts'
import { resolveHost } from './resolve-host.ts'
import { type Cli, verb } from './session.ts'
import { fitText } from './terminal-text.ts'

interface SinceOption {
  readonly since: string
}

const MAX_RULES = 100_000

export function addHostCoverage(cli: Cli, hosts: Command): void {
  sinceOption(
    cli,
    verb<SinceOption>(
      cli,
      hosts,
      'coverage <host>',
      'what a host could see, and when it could not',
      async ({ api, io, format }, [text = ''], { since }) => {
        const { agent_id: agentId, hostname } = await resolveHost(api, text)
        const found = await api.get<HostCoverageShown>(`/api/v1/hosts/${agentId}/coverage?since=${since}`)
        printOne(io, format, found, agentId, () => hostText(io, hostname, found))
      },
    ),
  )
}

export function addRuleCoverage(cli: Cli, rules: Command): void {
  sinceOption(
    cli,
    verb<SinceOption>(
      cli,
      rules,
      'coverage <rule>',
      'on which hosts a rule was blind, and when; by its id or the whole of its title',
      async ({ api, io, format }, [text = ''], { since }) => {
        const known = await api.list<RuleShown>('/api/v1/rules', {}, MAX_RULES)
        const wanted = text.toLowerCase()
        const rule =
          known.find(({ id }) => id.toLowerCase() === wanted) ??
          known.find(({ title }) => title.toLowerCase() === wanted)
        if (!rule) throw new CliError('not_found', `there is no rule ${text}; firebreak rules list shows them`)
        const path = `/api/v1/rules/${encodeURIComponent(rule.id)}/coverage?since=${since}`
        const found = await api.get<RuleCoverageShown>(path)
        printOne(io, format, found, rule.id, () => ruleText(io, found))
      },
    ),
  )
}

function sinceOption(cli: Cli, command: Command): void {
  command.addOption(
    new Option('--since <time>', 'from when on: 24h (ago) or 2026-11-24T12:00:00Z')
      .argParser((text) => parseTime(text, cli.now()))
      .default(new Date(cli.now() - 86_400_000).toISOString(), '24h'),
  )
}

function hostText(io: Io, hostname: string, { windows, truncated, since, until }: HostCoverageShown): string {
  const { colors } = io
  const lines = windows.map((window) => `  ${paint(io, window)(windowText(window, since, until))}`)
  return [
    `${colors.bold(fitText(hostname, 64))}  from ${timeText(since)}`,
    ...(lines.length > 0 ? lines : ['  nothing is known to have been missed']),
    ...(truncated ? [colors.yellow('  and more: ask for a shorter time')] : []),
  ].join('\n')
}

/** Such as: blind on 1 of 3 hosts: / web-1 02:10 to 02:25 process (kernel_overflow, 1,204 events) */
function ruleText(io: Io, found: RuleCoverageShown): string {
  const { colors } = io
  const { rule, hosts, windows, waiting, since, until } = found
  const some = (count: number, what: string) => (count === 0 ? [] : [`${what} on ${count} of ${hosts} hosts`])
  const sums = [...some(found.blind_hosts, 'blind'), ...some(found.partly_blind_hosts, 'partly blind')]
  return [
    `${colors.bold(fitText(rule.title, 80))}  looks at ${rule.classes.join(', ')}`,
    sums.length === 0
      ? colors.green(`not blind on any of ${hosts} hosts since ${timeText(since)}`)
      : `${sums.join(', ')} since ${timeText(since)}:`,
    ...windows.map(
      (window) => `  ${fitText(window.hostname, 32)} ${paint(io, window)(windowText(window, since, until))}`,
    ),
    ...(found.truncated ? [colors.yellow('  and more: ask for a shorter time')] : []),
    ...(waiting.length === 0
      ? []
      : [
          `not connected, so not known yet: ${waiting
            .slice(0, 8)
            .map((host) => `${fitText(host.hostname, 32)} (since ${timeText(host.since)})`)
            .join(', ')}${waiting.length > 8 ? ` and ${waiting.length - 8} more` : ''}`,
        ]),
  ].join('\n')
}

function windowText(window: WindowShown, since: string, until: string): string {
  const to = window.to ?? until
  const isOneDay = since.slice(0, 10) === until.slice(0, 10)
  const at = (iso: string) => (isOneDay ? iso.slice(11, 16) : `${iso.slice(5, 10)} ${iso.slice(11, 16)}`)
  const what = window.class === '*' ? 'everything' : window.class
  const counted = window.events > 0 ? `, ${window.events.toLocaleString('en')} events` : ''
  const reason = window.reason ?? window.source
  const quality = window.quality === 'partial' ? 'partly ' : ''
  const why = window.why === null ? '' : `: ${fitText(window.why, 160)}`
  const span = window.to === null ? `since ${at(window.from)}` : `${at(window.from)} to ${at(to)}`
  return `${span} ${quality}${what} (${reason}${counted})${why}`
}

function paint({ colors }: Io, { quality }: WindowShown): (text: string) => string {
  return quality === 'blind' ? colors.red : quality === 'partial' ? colors.yellow : colors.dim
}

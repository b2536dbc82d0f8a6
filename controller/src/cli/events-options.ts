/** What searching verbs have in common: the query, the host and the time. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { NotKept } from '../api/event-query.ts'
import { parseBound } from '../search/times.ts'
import type { ApiClient, Query } from './api-client.ts'
import { timeText } from './durations.ts'
import { resolveHost } from './resolve-host.ts'
import type { Cli } from './session.ts'
import { safeText } from './terminal-text.ts'

export interface ScopeOptions {
  readonly host?: string
  /** ms since 1970. */
  readonly since?: number
  readonly until?: number
}

export function scopeOptions(cli: Cli, command: Command): Command {
  // `until` means all of what it names: the whole day, the whole minute.
  const bound = (pick: 'fromMs' | 'toMs') => (text: string) => {
    const moment = parseBound(text, cli.now())
    if (!moment.ok) throw new InvalidArgumentError(`${moment.why}; 7d means seven days ago.`)
    return pick === 'fromMs' ? moment.value.fromMs : moment.value.toMs - 1
  }
  return command
    .option('--host <host>', 'only of this host')
    .addOption(new Option('--since <time>', 'from: 7d (ago), now-1d/d, 2026-11-24 ...; UTC').argParser(bound('fromMs')))
    .addOption(new Option('--until <time>', 'until, inclusive: the same').argParser(bound('toMs')))
}

export async function scopeQuery(api: ApiClient, query: string, options: ScopeOptions): Promise<Query> {
  return {
    query: query === '' ? undefined : query,
    host: options.host === undefined ? undefined : (await resolveHost(api, options.host)).agent_id,
    since: isoOf(options.since),
    until: isoOf(options.until),
  }
}

/** The span that was searched, with its zone. */
export function spanText({ since, until }: ScopeOptions): string {
  const from = since === undefined ? '' : `from ${timeText(isoOf(since) ?? null)} `
  return `${from}${until === undefined ? 'until now' : `until ${timeText(isoOf(until) ?? null)}`} (UTC)`
}

/** A line for each day from which on classes are kept; nothing where all that was asked for is there. */
export function notKeptText(notKept: readonly NotKept[]): string {
  const days = Map.groupBy(notKept, ({ kept_since: day }) => day)
  return [...days]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(
      ([day, classes]) =>
        `nothing from before ${safeText(day)} is kept of: ${classes

          .map(({ class: name }) => safeText(name))
          .sort()
          .join(', ')}`,
    )
    .join('\n')
}

function isoOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString()
}

/** `firebreak hunt`: Sigma rules over recorded events, without a controller. Matches on standard output, talk on standard error. */
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Firing } from '@firebreak/shared/sigma/correlate/correlator.ts'
import { firingInWords } from '@firebreak/shared/sigma/correlate/words.ts'
import type { ParsedRules } from '@firebreak/shared/sigma/parse.ts'
import { type RuleRefusal, ruleKey } from '@firebreak/shared/sigma/rule.ts'
import { Command } from 'commander'
import { eventLines } from './hunt-events.ts'
import { readPlaceholders } from './hunt-placeholders.ts'
import { readRuleFiles } from './hunt-rules.ts'
import { hunt, type HuntCounts, type HuntMatch } from './hunt-run.ts'

export interface HuntOptions {
  readonly rules: string
  readonly events: string
  readonly json?: boolean
  readonly anyLogSource?: boolean
  readonly placeholders?: string
}

/** Where a hunt writes. `drained` resolves when more may be written. */
export interface HuntOutput {
  write(text: string): void
  drained(): Promise<void>
  say(text: string): void
}

export const HUNT_EXIT = { done: 0, unusable: 2 } as const

export function huntCommand(): Command {
  return new Command('hunt')
    .description('run Sigma rules over recorded events')
    .requiredOption('--rules <path>', 'folder, .yml file, or tar archive (.tar, .tar.gz, .tar.zst) of rules')
    .requiredOption('--events <file>', 'events, one JSON object a line (plain, gzip or zstd); - for standard input')
    .option('--any-log-source', 'try every rule on every event, whatever log source it names')
    .option('--placeholders <file>', 'YAML or JSON map from %placeholder% names to values, for the expand modifier')
    .option('--json', 'matches and summary as JSON, one object a line')
    .addHelpText('after', '\nExit codes: 0 done, whatever matched; 2 rules or events could not be used.')
    .action(async (options: HuntOptions) => {
      process.exitCode = await runHunt(options, standardOutput())
    })
}

/** Returns the exit code. */
export async function runHunt(options: HuntOptions, out: HuntOutput): Promise<number> {
  const started = performance.now()
  // Loaded here: every other command starts without the engine.
  const { parseRules } = await import('@firebreak/shared/sigma/parse.ts')
  const { compilePlan } = await import('@firebreak/shared/sigma/plan.ts')
  const placeholders = await readPlaceholders(options.placeholders)
  if (typeof placeholders === 'string') return unusable(out, placeholders)
  const files = await readRuleFiles(options.rules)
  if (!files.ok) return unusable(out, files.why)
  const parsed = parseRules(files.value)
  const plan = compilePlan(parsed.rules, {
    filters: parsed.filters,
    correlations: parsed.correlations,
    alreadyRefused: parsed.refused,
    placeholders,
    anyLogSource: options.anyLogSource ?? false,
  })
  const emit = options.json ? jsonLine(out) : plainLine(out)
  let counts: HuntCounts
  try {
    counts = await hunt(plan, eventLines(options.events), emit, () => out.drained())
  } catch (thrown) {
    return unusable(out, `${options.events}: ${reasonOf(thrown)}`)
  }
  await out.drained()
  const report: Report = {
    parsed,
    loaded: plan.rules.length,
    correlations: plan.correlations.length,
    refused: [...parsed.refused, ...plan.refused],
    seconds: (performance.now() - started) / 1_000,
  }
  out.say(options.json ? jsonSummary(counts, report) : plainSummary(counts, report))
  const nothing = nothingUsable(options, counts, report)
  return nothing === undefined ? HUNT_EXIT.done : unusable(out, nothing)
}

/** Nothing that was given could be read as what it should be. "No matches" would then say something that nobody has looked at. */
function nothingUsable({ rules, events }: HuntOptions, counts: HuntCounts, { parsed }: Report): string | undefined {
  const unread =
    parsed.rules.length + parsed.correlations.length === 0 && parsed.refused.every(({ rule }) => rule === null)
  if (unread) return `${rules} holds nothing that is a rule`
  if (counts.events === 0 && counts.badLineCount > 0)
    return `${events} holds no event, only lines that are no JSON object`
  return undefined
}

function unusable(out: HuntOutput, why: string): number {
  out.say(`firebreak hunt: ${why}`)
  return HUNT_EXIT.unusable
}

function jsonLine(out: HuntOutput): (match: HuntMatch) => void {
  return ({ event, rule, firing }) => {
    const correlation = firing === undefined ? {} : { correlation: shownFiring(firing) }
    out.write(`${JSON.stringify({ event, rule: ruleKey(rule), file: rule.file, ...correlation })}\n`)
  }
}

function shownFiring({ correlation, fromMs, toMs, events, measured, group, refs }: Firing) {
  return {
    type: correlation.type,
    group: Object.fromEntries(group.map(({ field, value }) => [field, value])),
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    events,
    measured,
    lines: refs.map(Number),
  }
}

function plainLine(out: HuntOutput): (match: HuntMatch) => void {
  return ({ event, rule, firing }) => {
    const words = firing === undefined ? '' : `: ${firingInWords(firing)}`
    out.write(
      `line ${event}  ${(rule.level ?? 'no level').padEnd(13)}  ${rule.title}${words}  (${rule.id ?? 'no id'}, ${rule.file})\n`,
    )
  }
}

interface Report {
  readonly parsed: ParsedRules
  readonly loaded: number
  readonly correlations: number
  readonly refused: readonly RuleRefusal[]
  readonly seconds: number
}

function jsonSummary(counts: HuntCounts, { parsed, loaded, correlations, refused, seconds }: Report): string {
  return JSON.stringify({
    events: counts.events,
    lines: counts.lines,
    blank_lines: counts.blankLines,
    bad_lines: counts.badLineCount,
    bad_lines_named: counts.badLines,
    matches: counts.matches,
    rules_loaded: loaded,
    filters_loaded: parsed.filters.length,
    correlations_loaded: correlations,
    events_without_time: counts.eventsWithoutTime,
    uncorrelated: counts.uncorrelated,
    rules_matched: Object.fromEntries(counts.matchesByRule),
    rules_skipped: refused.length,
    skipped: refused,
    seconds: Number(seconds.toFixed(3)),
  })
}

function plainSummary(counts: HuntCounts, { parsed, loaded, correlations, refused, seconds }: Report): string {
  const lines = [
    `${counts.events} events, ${counts.matches} matches of ${counts.matchesByRule.size} rules; ${loaded} rules, ${correlations} correlations and ${parsed.filters.length} filters loaded, ${refused.length} skipped; ${seconds.toFixed(1)} s`,
  ]
  if (counts.badLineCount > 0) lines.push(`${counts.badLineCount} lines could not be read as events:`)
  for (const { line, why } of counts.badLines) lines.push(`  line ${line}: ${why}`)
  if (counts.eventsWithoutTime > 0)
    lines.push(
      `${counts.eventsWithoutTime} events that correlations count have no time; each was taken at that of the one before`,
    )
  for (const { rule, late, evictedEvents, evictedWindows } of counts.uncorrelated)
    lines.push(
      `  ${rule} is not complete: ${late} events came more than a day late; ${evictedWindows} groups and ${evictedEvents} events were forgotten for want of room`,
    )
  for (const { file, line, rule, code, why } of refused)
    lines.push(`  skipped ${file}:${line}${rule === null ? '' : ` ${rule}`}: ${code}: ${why}`)
  return lines.join('\n')
}

/** Gathers small writes; waits when the reader is slower than we are. A reader that goes away ends the process as `head` expects. */
function standardOutput(): HuntOutput {
  let pending: string[] = []
  let size = 0
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(HUNT_EXIT.done)
    throw error
  })
  return {
    write(text) {
      pending.push(text)
      size += text.length
    },
    async drained() {
      if (size === 0) return
      const text = pending.join('')
      pending = []
      size = 0
      if (!process.stdout.write(text)) await new Promise<void>((resolve) => process.stdout.once('drain', resolve))
    },
    say(text) {
      process.stderr.write(`${text}\n`)
    },
  }
}

/**
 * Sigma rules over real Sysmon and Windows records, one core: the recordings of simulated attacks against every Windows rule of
 * SigmaHQ. The limit it is compared with is `JSON.parse` alone on the same bytes in the same run.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { readRuleFiles } from '@firebreak/controller/src/cli/hunt-rules.ts'
import { parseRules, type RuleFile } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import type { SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import type { Bench, BenchOptions, BenchResult } from './bench.ts'

const DATA = resolve(import.meta.dirname, '../../../shared/data')
const RECORDINGS = join(DATA, 'otrf-security-datasets/data')
const RULES = join(DATA, 'sigma-rules')
const RULE_COUNTS = [100, 1_000, 3_000] as const

export const sigma: Bench = {
  name: 'sigma',
  describe: 'Events a second of recorded Sysmon telemetry against all Windows rules, beside JSON.parse alone.',
  run,
}

async function run({ short, say }: BenchOptions): Promise<BenchResult> {
  if (!existsSync(RECORDINGS) || !existsSync(RULES)) {
    say('skipped: the recordings or the rules are not beside the project')
    return { metrics: {}, ratios: {} }
  }
  const lines = readRecordings(short ? 10 : 200)
  const bytes = lines.reduce((sum, line) => sum + line.length, 0)
  const { rules, parseMs } = await loadRules()
  const windows = rules.filter((rule) => rule.logSource.product === 'windows')
  say(
    `${lines.length} events, ${Math.round(bytes / 1_048_576)} MiB, ${windows.length} Windows rules of ${rules.length}`,
  )
  const compiling = performance.now()
  const plan = compilePlan(windows)
  const compileMs = performance.now() - compiling
  const rounds = short ? 3 : 5
  // Every path is warm before anything is measured; the best of the rounds is the least disturbed one.
  const parseOnly = best(rounds, () => parseAll(lines))
  const whole = best(rounds, () => matchAll(plan, lines))
  const matches = matchAll(plan, lines)
  const metrics: Record<string, number> = {
    events: lines.length,
    windows_rules: windows.length,
    rules_loaded: rules.length,
    rules_parse_ms: parseMs,
    plan_ms: compileMs,
    matches,
    json_parse_events_per_s: lines.length / (parseOnly / 1_000),
    parse_and_match_events_per_s: lines.length / (whole / 1_000),
    match_alone_us: ((whole - parseOnly) * 1_000) / lines.length,
  }
  for (const count of RULE_COUNTS) {
    const some = compilePlan(spread(rules, count))
    metrics[`with_${count}_rules_events_per_s`] = lines.length / (best(rounds, () => matchAll(some, lines)) / 1_000)
  }
  return {
    metrics,
    ratios: {
      against_json_parse: parseOnly / whole,
      throughput_3000_against_100_rules:
        (metrics.with_3000_rules_events_per_s ?? 0) / (metrics.with_100_rules_events_per_s ?? 1),
    },
  }
}

function readRecordings(files: number): string[] {
  const names = readdirSync(RECORDINGS).filter((name) => name.includes('windows') && name.endsWith('.jsonl.zst'))
  return names.slice(0, files).flatMap((name) =>
    zstdDecompressSync(readFileSync(join(RECORDINGS, name)))
      .toString('utf8')
      .split('\n')
      .filter((line) => line !== ''),
  )
}

async function loadRules(): Promise<{ rules: readonly SigmaRule[]; parseMs: number }> {
  const files: RuleFile[] = []
  for (const name of readdirSync(RULES).filter((name) => name.endsWith('.tar.gz') && !name.startsWith('logsource'))) {
    const read = await readRuleFiles(join(RULES, name))
    if (read.ok) files.push(...read.value)
  }
  const started = performance.now()
  const { rules } = parseRules(files)
  return { rules, parseMs: performance.now() - started }
}

/** Evenly spread over the whole set, so that every size has the same mixture. */
function spread(rules: readonly SigmaRule[], count: number): SigmaRule[] {
  const step = Math.max(1, rules.length / count)
  return Array.from(
    { length: Math.min(count, rules.length) },
    (_, index) => rules[Math.floor(index * step)] as SigmaRule,
  )
}

function best(rounds: number, work: () => number): number {
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const started = performance.now()
    work()
    least = Math.min(least, performance.now() - started)
  }
  return least
}

function parseAll(lines: readonly string[]): number {
  let events = 0
  for (const line of lines) if (JSON.parse(line) !== null) events++
  return events
}

function matchAll(plan: RulePlan, lines: readonly string[]): number {
  let matches = 0
  for (const line of lines) matches += plan.match(JSON.parse(line)).length
  return matches
}

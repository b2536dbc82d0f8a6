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
/** Events measured at a time. */
const BLOCK = 1_000

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
  const counted = RULE_COUNTS.map((count) => compilePlan(spread(rules, count)))
  // Everything is warm before anything is measured.
  const matches = matchAll(plan, lines)
  for (const each of counted) matchAll(each, lines)
  const [jsonMs = 0, wholeMs = 0, ...countedMs] = measure(lines, short ? 3 : 5, [
    parseAll,
    (block) => matchAll(plan, block),
    ...counted.map((each) => (block: readonly string[]) => matchAll(each, block)),
  ])
  const perSecond = (ms: number) => lines.length / (ms / 1_000)
  return {
    metrics: {
      events: lines.length,
      windows_rules: windows.length,
      rules_loaded: rules.length,
      rules_parse_ms: parseMs,
      plan_ms: compileMs,
      matches,
      json_parse_events_per_s: perSecond(jsonMs),
      parse_and_match_events_per_s: perSecond(wholeMs),
      match_alone_us: ((wholeMs - jsonMs) * 1_000) / lines.length,
      ...Object.fromEntries(
        RULE_COUNTS.map((count, index) => [`with_${count}_rules_events_per_s`, perSecond(countedMs[index] ?? 0)]),
      ),
    },
    ratios: {
      against_json_parse: jsonMs / wholeMs,
      throughput_3000_against_100_rules: (countedMs[0] ?? 0) / (countedMs[2] ?? 1),
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

/**
 * Milliseconds for each kind of work over all lines. In blocks, each kind in turn on each block, and of every block the least
 * disturbed round: what else runs on the machine then weighs on all kinds alike.
 */
function measure(
  lines: readonly string[],
  rounds: number,
  works: readonly ((block: readonly string[]) => number)[],
): number[] {
  const sums = works.map(() => 0)
  for (let from = 0; from < lines.length; from += BLOCK) {
    const block = lines.slice(from, from + BLOCK)
    const least = works.map(() => Number.POSITIVE_INFINITY)
    for (let round = 0; round < rounds; round++) {
      works.forEach((work, index) => {
        const started = performance.now()
        work(block)
        least[index] = Math.min(least[index] as number, performance.now() - started)
      })
    }
    least.forEach((ms, index) => {
      sums[index] = (sums[index] as number) + ms
    })
  }
  return sums
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

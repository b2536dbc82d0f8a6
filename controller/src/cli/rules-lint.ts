/** `firebreak rules lint`: whether Sigma files can be used, and what their authors forgot, without a controller. */
import type { ParsedRules } from '@firebreak/shared/sigma/parse.ts'
import type { RuleRefusal, SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import { Command } from 'commander'
import { readPlaceholders } from './hunt-placeholders.ts'
import { readRuleFiles } from './hunt-rules.ts'

export interface LintOptions {
  readonly json?: boolean
  readonly strict?: boolean
  readonly placeholders?: string
}

export interface LintOutput {
  /** The report. */
  write(text: string): void
  say(text: string): void
}

export const LINT_EXIT = { fine: 0, found: 1, unusable: 2 } as const

/** What a rule may lack and still run. Source: Sigma specification 2.1, rules (which entries are optional), tags appendix. */
export const LINT_CODES = [
  'id_missing',
  'id_not_uuid',
  'id_duplicate',
  'level_missing',
  'status_missing',
  'description_missing',
  'false_positives_missing',
  'log_source_missing',
  'tag_unknown',
] as const
export type LintCode = (typeof LINT_CODES)[number]

export interface LintWarning {
  readonly file: string
  readonly line: number
  readonly rule: string
  readonly code: LintCode
  readonly why: string
}

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i
/** Namespaces of the tags appendix, and one that is in wide use. */
const TAG = /^(?:attack|car|cve|d3fend|detection|stp|tlp)\./

export function rulesLintCommand(): Command {
  return new Command('lint')
    .description('say whether rule files can be used, and what they lack')
    .argument('<path...>', 'folders, .yml files, or tar archives (.tar, .tar.gz, .tar.zst)')
    .option('--placeholders <file>', 'YAML or JSON map from %placeholder% names to values, for the expand modifier')
    .option('--strict', 'warnings count as findings')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      '\nNeeds no controller. Exit codes: 0 everything can be used; 1 something is refused (with --strict: or lacks something); 2 a path could not be read.',
    )
    .action(async (paths: string[], options: LintOptions) => {
      process.exitCode = await runLint(paths, options, {
        write: (text) => void process.stdout.write(`${text}\n`),
        say: (text) => void process.stderr.write(`${text}\n`),
      })
    })
}

/** Returns the exit code. */
export async function runLint(paths: readonly string[], options: LintOptions, out: LintOutput): Promise<number> {
  // Loaded here: every other command starts without the engine.
  const { parseRules } = await import('@firebreak/shared/sigma/parse.ts')
  const { compilePlan } = await import('@firebreak/shared/sigma/plan.ts')
  const placeholders = await readPlaceholders(options.placeholders)
  if (typeof placeholders === 'string') return unusable(out, placeholders)
  const files: { file: string; text: string }[] = []
  for (const path of paths) {
    const read = await readRuleFiles(path)
    if (!read.ok) return unusable(out, read.why)
    for (const { file, text } of read.value) files.push({ file: paths.length === 1 ? file : `${path}/${file}`, text })
  }
  const parsed = parseRules(files)
  const { rules, filters, correlations } = parsed
  const plan = compilePlan(rules, { filters, correlations, alreadyRefused: parsed.refused, placeholders })
  const refused = [...parsed.refused, ...plan.refused]
  const warnings = warningsOf(parsed)
  const counts = {
    files: files.length,
    rules: rules.length,
    filters: filters.length,
    correlations: correlations.length,
  }
  out.write(options.json ? JSON.stringify({ ...counts, refused, warnings }) : plainReport(counts, refused, warnings))
  return refused.length > 0 || (options.strict === true && warnings.length > 0) ? LINT_EXIT.found : LINT_EXIT.fine
}

function unusable(out: LintOutput, why: string): number {
  out.say(`firebreak rules lint: ${why}`)
  return LINT_EXIT.unusable
}

function warningsOf({ rules, correlations }: ParsedRules): LintWarning[] {
  const warnings: LintWarning[] = []
  const firstOf = new Map<string, string>()
  for (const rule of [...rules, ...correlations]) {
    const warn = (code: LintCode, why: string) =>
      warnings.push({ file: rule.file, line: rule.line, rule: rule.id ?? rule.title, code, why })
    if (rule.id === null) warn('id_missing', 'without an id nothing can name it for good')
    else {
      if (!UUID.test(rule.id)) warn('id_not_uuid', `${rule.id} is not a UUID`)
      const first = firstOf.get(rule.id)
      if (first === undefined) firstOf.set(rule.id, `${rule.file}:${rule.line}`)
      else warn('id_duplicate', `${first} has the same id; a controller runs one of them`)
    }
    if (rule.level === null) warn('level_missing', 'without a level it counts as informational')
    if (rule.status === null) warn('status_missing', 'without a status nobody knows how far it was tried')
    if (rule.description === '') warn('description_missing', 'an analyst reads it first')
    for (const tag of rule.tags.filter((each) => !TAG.test(each)))
      warn('tag_unknown', `${tag} is in no namespace of the specification`)
    if (rule.kind === 'rule') warnOfRule(rule, warn)
  }
  return warnings
}

function warnOfRule(rule: SigmaRule, warn: (code: LintCode, why: string) => void): void {
  if (rule.falsePositives.length === 0) warn('false_positives_missing', 'say when it is wrong, or "Unlikely"')
  const { category, product, service } = rule.logSource
  if (category === null && product === null && service === null)
    warn('log_source_missing', 'it is tried on every event of every kind')
}

type Counts = Readonly<Record<'files' | 'rules' | 'filters' | 'correlations', number>>

function plainReport(counts: Counts, refused: readonly RuleRefusal[], warnings: readonly LintWarning[]): string {
  const lines: string[] = []
  for (const { file, line, rule, code, why } of refused)
    lines.push(`refused  ${file}:${line}${rule === null ? '' : ` ${rule}`}: ${code}: ${why}`)
  for (const { file, line, rule, code, why } of warnings)
    lines.push(`warning  ${file}:${line} ${rule}: ${code}: ${why}`)
  const { files, rules, filters, correlations } = counts
  lines.push(
    `${files} files: ${rules} rules, ${correlations} correlations, ${filters} filters; ${refused.length} refused, ${warnings.length} warnings`,
  )
  return lines.join('\n')
}

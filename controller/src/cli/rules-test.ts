/**
 * `firebreak rules test`: rules against the events that their authors wrote down beside them, without a controller. Beside `NAME.yml`
 * lies `NAME.cases.json`: `{"fires": [...], "silent": [...]}`, each case an event or, for a correlation, a list of events in order.
 */
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { RulePlan } from '@firebreak/shared/sigma/plan.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import { Command } from 'commander'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { readPlaceholders } from './hunt-placeholders.ts'
import { readRuleFiles } from './hunt-rules.ts'
import { hunt } from './hunt-run.ts'
import type { LintOutput } from './rules-lint.ts'

export interface RulesTestOptions {
  readonly json?: boolean
  readonly placeholders?: string
}

export const RULES_TEST_EXIT = { hold: 0, broken: 1, unusable: 2 } as const

const MAX_CASES_BYTES = 4 * MiB
const Case = Type.Union([
  Type.Record(Type.String(), Type.Unknown()),
  Type.Array(Type.Record(Type.String(), Type.Unknown()), { minItems: 1, maxItems: 10_000 }),
])
const Cases = Type.Object(
  {
    fires: Type.Array(Case, { maxItems: 1_000 }),
    silent: Type.Array(Case, { maxItems: 1_000 }),
  },
  { additionalProperties: false },
)
const casesSchema = Compile(Cases)

interface Tested {
  /** Of the rule file. */
  readonly file: string
  readonly cases: number
  /** Why it does not hold; empty when it does. */
  readonly broken: readonly string[]
}

export function rulesTestCommand(): Command {
  return new Command('test')
    .description('run the cases that lie beside rule files')
    .argument('<folder>', 'a folder of rules, NAME.cases.json beside NAME.yml')
    .option('--placeholders <file>', 'YAML or JSON map from %placeholder% names to values, for the expand modifier')
    .option('--json', 'one JSON object')
    .addHelpText(
      'after',
      `
A file of cases: {"fires": [EVENT, ...], "silent": [EVENT, ...]}. Instead of an event a case may be a list of them, in order and with
their times, for a correlation: it fires when one of them makes it hold.

Needs no controller. Exit codes: 0 every case holds; 1 one does not, or a rule is refused; 2 the folder could not be read.`,
    )
    .action(async (folder: string, options: RulesTestOptions) => {
      process.exitCode = await runRulesTest(folder, options, {
        write: (text) => void process.stdout.write(`${text}\n`),
        say: (text) => void process.stderr.write(`${text}\n`),
      })
    })
}

/** Returns the exit code. */
export async function runRulesTest(folder: string, options: RulesTestOptions, out: LintOutput): Promise<number> {
  // Loaded here: every other command starts without the engine.
  const { parseRules } = await import('@firebreak/shared/sigma/parse.ts')
  const { compilePlan } = await import('@firebreak/shared/sigma/plan.ts')
  const placeholders = await readPlaceholders(options.placeholders)
  if (typeof placeholders === 'string') return unusable(out, placeholders)
  const files = await readRuleFiles(folder)
  if (!files.ok) return unusable(out, files.why)
  let names: readonly string[]
  try {
    names = await casesIn(folder)
  } catch (thrown) {
    return unusable(out, `${folder}: ${reasonOf(thrown)}`)
  }
  const parsed = parseRules(files.value)
  const { rules, filters, correlations, refused: alreadyRefused } = parsed
  const plan = compilePlan(rules, { filters, correlations, alreadyRefused, placeholders })
  const refused = [...alreadyRefused, ...plan.refused]
  const known = new Set(files.value.map(({ file }) => file))
  const tested: Tested[] = []
  for (const name of names) tested.push(await testOne(folder, name, plan, known))
  const with_ = new Set(names.map(ruleFileOf))
  const untested = [...known].filter((file) => !with_.has(file.replace(/\.yaml$/i, '.yml'))).length
  out.write(
    options.json
      ? JSON.stringify({ files: known.size, untested, tested, refused })
      : plainReport(known.size, untested, tested, refused.length),
  )
  return refused.length > 0 || tested.some(({ broken }) => broken.length > 0)
    ? RULES_TEST_EXIT.broken
    : RULES_TEST_EXIT.hold
}

function unusable(out: LintOutput, why: string): number {
  out.say(`firebreak rules test: ${why}`)
  return RULES_TEST_EXIT.unusable
}

async function casesIn(folder: string): Promise<string[]> {
  const found = await stat(folder)
  const entries = found.isDirectory()
    ? await readdir(folder, { recursive: true })
    : [basename(folder).replace(/\.ya?ml$/i, '.cases.json')]
  return entries.filter((name) => name.endsWith('.cases.json')).toSorted()
}

function ruleFileOf(cases: string): string {
  return cases.replace(/\.cases\.json$/, '.yml')
}

async function testOne(folder: string, name: string, plan: RulePlan, known: ReadonlySet<string>): Promise<Tested> {
  const file = [ruleFileOf(name), ruleFileOf(name).replace(/\.yml$/, '.yaml')].find((each) => known.has(each))
  if (file === undefined)
    return { file: ruleFileOf(name), cases: 0, broken: [`${name} is there, and no rule beside it`] }
  const read = await readCases(join((await stat(folder)).isDirectory() ? folder : dirname(folder), name))
  if (typeof read === 'string') return { file, cases: 0, broken: [`${name}: ${read}`] }
  const broken: string[] = []
  for (const expected of ['fires', 'silent'] as const)
    for (const [index, each] of read[expected].entries()) {
      const fired = await firedBy(plan, Array.isArray(each) ? each : [each], file)
      if (fired !== (expected === 'fires'))
        broken.push(expected === 'fires' ? `fires ${index}: it does not` : `silent ${index}: it fires`)
    }
  if (read.fires.length === 0) broken.push('it has no case that it fires on')
  return { file, cases: read.fires.length + read.silent.length, broken }
}

async function readCases(path: string): Promise<Type.Static<typeof Cases> | string> {
  try {
    const { size } = await stat(path)
    if (size > MAX_CASES_BYTES) return `${size} bytes, and ${MAX_CASES_BYTES} are allowed`
    const read: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (casesSchema.Check(read)) return read
    const error = casesSchema.Errors(read)[0]
    return error ? `${error.instancePath === '' ? 'it' : error.instancePath} ${error.message}` : 'not a file of cases'
  } catch (thrown) {
    return reasonOf(thrown)
  }
}

/** Whether a rule or correlation of this file says something about one of the events. */
async function firedBy(plan: RulePlan, events: readonly unknown[], file: string): Promise<boolean> {
  // Also one that only feeds a correlation and raises nothing by itself.
  let fired = events.some((event) => plan.match(event).some(({ rule }) => rule.file === file))
  const lines = events.map((event) => ({ kind: 'text', text: JSON.stringify(event) }) as const)
  await hunt(
    plan,
    (async function* () {
      yield lines
    })(),
    ({ rule }) => {
      fired ||= rule.file === file
    },
    () => Promise.resolve(),
  )
  return fired
}

function plainReport(files: number, untested: number, tested: readonly Tested[], refused: number): string {
  const lines = tested.flatMap(({ file, broken }) => broken.map((why) => `broken  ${file}: ${why}`))
  const cases = tested.reduce((sum, each) => sum + each.cases, 0)
  const failed = tested.filter(({ broken }) => broken.length > 0).length
  lines.push(
    `${files} files: ${tested.length - failed} hold with ${cases} cases, ${failed} broken, ${untested} without cases, ${refused} refused`,
  )
  return lines.join('\n')
}

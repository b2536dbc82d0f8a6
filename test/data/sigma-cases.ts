/**
 * The engine against cases that are not ours, one answer a case: the test cases of other Sigma engines, SigmaHQ's own regression records,
 * the samples of the specification. The data lies beside the project.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { readRuleFiles } from '@firebreak/controller/src/cli/hunt-rules.ts'
import { Correlator } from '@firebreak/shared/sigma/correlate/correlator.ts'
import { createFieldReader } from '@firebreak/shared/sigma/correlate/fields.ts'
import { parseRules, type RuleFile } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan } from '@firebreak/shared/sigma/plan.ts'

export const SIGMA_DATA = resolve(import.meta.dirname, '../../../shared/data')

export interface Agreement {
  readonly case: string
  readonly agrees: boolean
  /** What the engine said instead, or why the case contradicts the specification. */
  readonly why?: string
}

/** Where a case contradicts the specification, and the specification's words. */
export const CONTRADICTIONS: Readonly<Record<string, string>> = {
  'go-sigma:parser_test.go:detection14:detection14_case':
    'expects runs of white space to be collapsed; the specification knows no such thing ("You don\'t have to escape characters"), and the same case with collapsing off expects the opposite',
  'sigma-rust:src/field.rs:test_evaluate_gte#3':
    'expects 14 >= 15 and 14 >= 10 to hold under `all`, which "changes this to AND"; case #2 is the same rule and event and expects the opposite',
}

interface MatchCase {
  readonly case: string
  readonly rules_yaml: string
  readonly event: Record<string, unknown>
  readonly expected_match: boolean
  readonly expected_matching_rules?: number
  readonly message?: string
  readonly placeholders?: Record<string, string[]>
}

export function matchAgreements(folder: string, anyLogSource: boolean): Agreement[] {
  return read<MatchCase>(folder, 'match-cases.jsonl').map((each) => {
    const { rules, filters } = parseRules([{ file: 'case.yml', text: each.rules_yaml }])
    const placeholders = new Map(Object.entries(each.placeholders ?? {}))
    const plan = compilePlan(rules, { filters, placeholders, anyLogSource })
    const event = each.message === undefined ? each.event : { ...each.event, message: each.message }
    const matches = plan.match(event).length
    const agrees = matches > 0 === each.expected_match && matches === (each.expected_matching_rules ?? matches)
    return answer(each.case, agrees, () => `${matches} rules match`)
  })
}

export function validityAgreements(folder: string): Agreement[] {
  type Validity = { readonly case: string; readonly rules_yaml: string; readonly expected: 'load' | 'error' }
  return read<Validity>(folder, 'modifier-validity-cases.jsonl').map((each) => {
    const { rules, refused } = parseRules([{ file: 'case.yml', text: each.rules_yaml }])
    const said = refused.length === 0 && rules.length === 1 ? 'load' : 'error'
    return answer(each.case, said === each.expected, () => (said === 'load' ? 'it loads' : (refused[0]?.why ?? '')))
  })
}

interface CorrelationCase {
  readonly case: string
  readonly rules_yaml: string
  readonly events: readonly {
    readonly t: number
    readonly event: Readonly<Record<string, unknown>>
    readonly expect: { readonly correlations?: number; readonly detections?: number }
  }[]
}

export function correlationAgreements(folder: string): Agreement[] {
  return read<CorrelationCase>(folder, 'correlation-cases.jsonl').map((each) => {
    const { rules, correlations, refused } = parseRules([{ file: 'case.yml', text: each.rules_yaml }])
    const plan = compilePlan(rules, { correlations })
    const unusable = [...refused, ...plan.refused]
    if (unusable.length > 0) return answer(each.case, false, () => unusable.map(({ why }) => why).join('; '))
    const wrong = disagreements(plan, each)
    return answer(each.case, wrong.length === 0, () => wrong.join('; '))
  })
}

function disagreements(plan: ReturnType<typeof compilePlan>, { events }: CorrelationCase): string[] {
  const correlator = new Correlator(plan.correlations)
  const fieldsOf = createFieldReader()
  return events.flatMap(({ t, event, expect }, index) => {
    const matched = plan.match(event)
    const fired = new Set(
      matched.flatMap(({ rule }) => {
        const fields = fieldsOf(event, correlator.fieldsOf(rule) ?? [])
        const observed = { timeMs: t * 1_000, receivedMs: 0, refs: String(index), fields }
        return correlator.take(rule, observed).map((firing) => firing.correlation)
      }),
    )
    const { correlations = fired.size, detections = matched.length } = expect
    return correlations === fired.size && detections === matched.length
      ? []
      : [`event ${index}: ${fired.size} correlations, ${matched.length} detections`]
  })
}

export function regressionAgreements(folder: string): Agreement[] {
  const text = gunzipSync(readFileSync(join(folder, 'cases.jsonl.gz'))).toString('utf8')
  return linesOf<{ case: string; rule_yaml: string; events: unknown[] }>(text).map(
    ({ case: name, rule_yaml, events }) => {
      const plan = compilePlan(parseRules([{ file: 'case.yml', text: rule_yaml }]).rules)
      return answer(
        name,
        events.some((event) => plan.match(event).length > 0),
        () => 'it matches none of its records',
      )
    },
  )
}

/** A case a document. */
export function sampleAgreements(folder: string): Agreement[] {
  const samples = join(folder, 'tests/schema')
  const files = readdirSync(samples, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.yml'))
    .map((name) => ({ file: name, text: readFileSync(join(samples, name), 'utf8') }))
  return files.map((file) => {
    const { rules, filters, correlations, refused } = parseRules([file])
    const documents = rules.length + filters.length + correlations.length
    return answer(file.file, documents > 0 && refused.length === 0, () => refused.map(({ why }) => why).join('; '))
  })
}

/** All rules of SigmaHQ, an archive a folder. */
export async function readArchives(folder: string): Promise<RuleFile[]> {
  const archives = readdirSync(folder).filter((name) => name.endsWith('.tar.gz') && !name.startsWith('logsource'))
  const files: RuleFile[] = []
  for (const archive of archives) {
    const read = await readRuleFiles(join(folder, archive))
    if (!read.ok) throw new Error(read.why)
    files.push(...read.value.map(({ file, text }) => ({ file: `${archive}/${file}`, text })))
  }
  return files
}

export function linesOf<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}

function read<T>(folder: string, file: string): T[] {
  return linesOf<T>(readFileSync(join(folder, file), 'utf8'))
}

function answer(name: string, agrees: boolean, why: () => string): Agreement {
  return agrees ? { case: name, agrees } : { case: name, agrees, why: why() }
}

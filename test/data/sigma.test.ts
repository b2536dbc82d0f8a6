/**
 * The engine against data that is not ours: the test cases of other Sigma engines, SigmaHQ's own regression records, and its
 * whole rule set. The data lies beside the project; without it these tests are skipped.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { readRuleFiles } from '@firebreak/controller/src/cli/hunt-rules.ts'
import { Correlator } from '@firebreak/shared/sigma/correlate/correlator.ts'
import { createFieldReader } from '@firebreak/shared/sigma/correlate/fields.ts'
import { parseRules, type RuleFile } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import type { SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import { describe, expect, it } from 'vitest'

const DATA = resolve(import.meta.dirname, '../../../shared/data')

/** A folder of the data, or a test that says why nothing was tested. */
function withData(name: string, tests: (folder: string) => void): void {
  const folder = join(DATA, name)
  if (existsSync(folder)) describe(name, () => tests(folder))
  else it.skip(`${name}: 1 group skipped, the data is not beside the project`, () => {})
}

function linesOf<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
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

/** Where the case contradicts the specification, and the specification's words. */
const DISAGREEMENTS: Readonly<Record<string, string>> = {
  'go-sigma:parser_test.go:detection14:detection14_case':
    'expects runs of white space to be collapsed; the specification knows no such thing ("You don\'t have to escape characters"), and the same case with collapsing off expects the opposite',
  'sigma-rust:src/field.rs:test_evaluate_gte#3':
    'expects 14 >= 15 and 14 >= 10 to hold under `all`, which "changes this to AND"; case #2 is the same rule and event and expects the opposite',
}

withData('sigma-conformance', (folder) => {
  const cases = linesOf<MatchCase>(readFileSync(join(folder, 'match-cases.jsonl'), 'utf8'))

  function agrees(each: MatchCase, anyLogSource: boolean): boolean {
    const { rules, filters } = parseRules([{ file: 'case.yml', text: each.rules_yaml }])
    const placeholders = new Map(Object.entries(each.placeholders ?? {}))
    const plan = compilePlan(rules, { filters, placeholders, anyLogSource })
    const event = each.message === undefined ? each.event : { ...each.event, message: each.message }
    const matches = plan.match(event).length
    const counted = each.expected_matching_rules ?? matches
    return matches > 0 === each.expected_match && matches === counted
  }

  it.each([true, false])(
    'agrees with every case but those that contradict the specification (any log source: %s)',
    (any) => {
      const wrong = cases.filter((each) => !agrees(each, any)).map((each) => each.case)
      expect(wrong.sort()).toEqual(Object.keys(DISAGREEMENTS).sort())
    },
  )

  it('loads and refuses combinations of modifiers as expected', () => {
    const text = readFileSync(join(folder, 'modifier-validity-cases.jsonl'), 'utf8')
    for (const each of linesOf<{ case: string; rules_yaml: string; expected: 'load' | 'error' }>(text)) {
      const { rules, refused } = parseRules([{ file: 'case.yml', text: each.rules_yaml }])
      expect(refused.length === 0 && rules.length === 1 ? 'load' : 'error', each.case).toBe(each.expected)
    }
  })

  interface CorrelationCase {
    readonly case: string
    readonly rules_yaml: string
    readonly events: readonly {
      readonly t: number
      readonly event: Readonly<Record<string, unknown>>
      readonly expect: { readonly correlations?: number; readonly detections?: number }
    }[]
  }
  const correlationCases = linesOf<CorrelationCase>(readFileSync(join(folder, 'correlation-cases.jsonl'), 'utf8'))

  it.each(correlationCases.map((each) => [each.case, each] as const))(
    'agrees with %s',
    (_name, { rules_yaml, events }) => {
      const { rules, correlations, refused } = parseRules([{ file: 'case.yml', text: rules_yaml }])
      const plan = compilePlan(rules, { correlations })
      expect([...refused, ...plan.refused]).toEqual([])
      const correlator = new Correlator(plan.correlations)
      const read = createFieldReader()
      const said = events.map(({ t, event, expect: wanted }, index) => {
        const matched = plan.match(event)
        const fired = new Set(
          matched.flatMap(({ rule }) => {
            const fields = read(event, correlator.fieldsOf(rule) ?? [])
            const observed = { timeMs: t * 1_000, receivedMs: 0, refs: String(index), fields }
            return correlator.take(rule, observed).map((firing) => firing.correlation)
          }),
        )
        return {
          ...(wanted.correlations === undefined ? {} : { correlations: fired.size }),
          ...(wanted.detections === undefined ? {} : { detections: matched.length }),
        }
      })
      expect(said).toEqual(events.map((event) => event.expect))
    },
  )

  it('has a correlation in every case that is about them', () => {
    expect(correlationCases).toHaveLength(15)
  })

  it('neither breaks nor hangs on malformed input', () => {
    for (const { inputs } of linesOf<{ inputs: string[] }>(
      readFileSync(join(folder, 'malformed-inputs.jsonl'), 'utf8'),
    )) {
      const { rules } = parseRules(inputs.map((text, index) => ({ file: `${index}.yml`, text })))
      const plan = compilePlan(rules, { anyLogSource: true })
      for (const text of inputs) {
        let event: unknown = text
        try {
          event = JSON.parse(text)
        } catch {
          // Not JSON: the text itself is the event then.
        }
        expect(Array.isArray(plan.match(event))).toBe(true)
      }
    }
  })
})

withData('sigma-regression', (folder) => {
  it('every rule matches the records that were recorded for it', () => {
    const text = gunzipSync(readFileSync(join(folder, 'cases.jsonl.gz'))).toString('utf8')
    const cases = linesOf<{ case: string; rule_yaml: string; events: unknown[] }>(text)
    const silent = cases.filter(({ rule_yaml, events }) => {
      const plan = compilePlan(parseRules([{ file: 'case.yml', text: rule_yaml }]).rules)
      return !events.some((event) => plan.match(event).length > 0)
    })
    expect(cases.length).toBeGreaterThan(0)
    expect(silent.map((each) => each.case)).toEqual([])
  })
})

async function readArchives(folder: string): Promise<RuleFile[]> {
  const archives = readdirSync(folder).filter((name) => name.endsWith('.tar.gz') && !name.startsWith('logsource'))
  const files: RuleFile[] = []
  for (const archive of archives) {
    const read = await readRuleFiles(join(folder, archive))
    if (!read.ok) throw new Error(read.why)
    files.push(...read.value.map(({ file, text }) => ({ file: `${archive}/${file}`, text })))
  }
  return files
}

withData('sigma-rules', (folder) => {
  it('loads every rule of SigmaHQ; refused are only those with features that left the specification', async () => {
    const parsed = parseRules(await readArchives(folder))
    const plan = compilePlan(parsed.rules)
    const counts = new Map<string, number>()
    for (const { code, file } of parsed.refused) {
      const key = `${file.split('/', 1)[0]} ${code}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    console.log(`${plan.rules.length} rules loaded; refused: ${JSON.stringify(Object.fromEntries(counts))}`)
    expect(parsed.refused.filter(({ file }) => !file.startsWith('unsupported.tar.gz'))).toEqual([])
    // Rules with placeholders load, and wait for their values.
    expect(plan.refused.filter(({ code }) => code !== 'placeholder_unresolved')).toEqual([])
    expect(plan.refused.length).toBeLessThan(50)
    expect(plan.rules.length).toBeGreaterThan(3_700)
  }, 120_000)
})

withData('sigma-spec', (folder) => {
  it("loads the specification's own sample rules, filters and correlations", () => {
    const samples = join(folder, 'tests/schema')
    const files = readdirSync(samples, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.yml'))
      .map((name) => ({ file: name, text: readFileSync(join(samples, name), 'utf8') }))
    const { rules, filters, correlations, refused } = parseRules(files)
    expect(refused).toEqual([])
    expect([rules.length, filters.length, correlations.length]).toEqual([2, 2, 8])
  })
})

withData('otrf-security-datasets', (folder) => {
  it('the prefilter hides no match on real recordings', async () => {
    const rulesFolder = join(DATA, 'sigma-rules')
    const rules: readonly SigmaRule[] = parseRules(await readArchives(rulesFolder)).rules.filter(
      (rule) => rule.logSource.product === 'windows',
    )
    const [fast, plain] = [compilePlan(rules), compilePlan(rules, { prefilter: false })]
    const recordings = readdirSync(join(folder, 'data')).filter((name) => name.includes('windows'))
    let compared = 0
    let matches = 0
    for (const name of recordings) {
      const events = zstdDecompressSync(readFileSync(join(folder, 'data', name)))
        .toString('utf8')
        .split('\n')
      // Every 31st event of every recording: all kinds are among them.
      for (let index = 0; index < events.length; index += 31) {
        const text = events[index]
        if (text === undefined || !text.startsWith('{')) continue
        const event = JSON.parse(text) as unknown
        expect(titles(fast, event)).toEqual(titles(plain, event))
        matches += fast.match(event).length
        compared++
      }
    }
    console.log(`${compared} events compared, ${matches} matches`)
    expect(matches).toBeGreaterThan(100)
  }, 180_000)
})

function titles(plan: RulePlan, event: unknown): string[] {
  return plan.match(event).map(({ rule }) => rule.file)
}

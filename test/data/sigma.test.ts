/**
 * The engine against data that is not ours: the test cases of other Sigma engines, SigmaHQ's own regression records, and its
 * whole rule set. The data lies beside the project; without it these tests are skipped.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import type { SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import { describe, expect, it } from 'vitest'
import {
  type Agreement,
  CONTRADICTIONS,
  correlationAgreements,
  linesOf,
  matchAgreements,
  readArchives,
  regressionAgreements,
  SIGMA_DATA as DATA,
  validityAgreements,
} from './sigma-cases.ts'

/** A folder of the data, or a test that says why nothing was tested. */
function withData(name: string, tests: (folder: string) => void): void {
  const folder = join(DATA, name)
  if (existsSync(folder)) describe(name, () => tests(folder))
  else it.skip(`${name}: 1 group skipped, the data is not beside the project`, () => {})
}

const disagreeing = (agreements: readonly Agreement[]) => agreements.filter(({ agrees }) => !agrees)

withData('sigma-conformance', (folder) => {
  it.each([true, false])(
    'agrees with every case but those that contradict the specification (any log source: %s)',
    (any) => {
      const wrong = disagreeing(matchAgreements(folder, any)).map((each) => each.case)
      expect(wrong.sort()).toEqual(Object.keys(CONTRADICTIONS).sort())
    },
  )

  it('loads and refuses combinations of modifiers as expected', () => {
    expect(disagreeing(validityAgreements(folder))).toEqual([])
  })

  it.each(correlationAgreements(folder))('agrees with $case', ({ why }) => {
    expect(why).toBeUndefined()
  })

  it('has a correlation in every case that is about them', () => {
    expect(correlationAgreements(folder)).toHaveLength(15)
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
    const agreements = regressionAgreements(folder)
    expect(agreements).toHaveLength(130)
    expect(disagreeing(agreements)).toEqual([])
  })
})

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

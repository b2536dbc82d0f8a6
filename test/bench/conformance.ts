/** The Sigma engine case by case against data that is not ours: how many cases, how many agree, and each that does not, with the reason. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { parseRules } from '@firebreak/shared/sigma/parse.ts'
import { compilePlan } from '@firebreak/shared/sigma/plan.ts'
import {
  type Agreement,
  CONTRADICTIONS,
  correlationAgreements,
  matchAgreements,
  readArchives,
  regressionAgreements,
  sampleAgreements,
  SIGMA_DATA,
  validityAgreements,
} from '../data/sigma-cases.ts'
import type { Bench } from './bench.ts'

const GROUPS: readonly (readonly [name: string, folder: string, run: (folder: string) => readonly Agreement[]])[] = [
  ['match', 'sigma-conformance', (folder) => matchAgreements(folder, false)],
  ['modifiers', 'sigma-conformance', validityAgreements],
  ['correlations', 'sigma-conformance', correlationAgreements],
  ['regression', 'sigma-regression', regressionAgreements],
  ['specification_samples', 'sigma-spec', sampleAgreements],
]

export const conformanceBench: Bench = {
  name: 'conformance',
  describe: 'the Sigma engine against the cases of other engines, of SigmaHQ and of the specification, case by case',
  async run({ say }) {
    const metrics: Record<string, number> = {}
    let cases = 0
    let agreeing = 0
    for (const [name, data, run] of GROUPS) {
      const folder = join(SIGMA_DATA, data)
      if (!existsSync(folder)) {
        say(`skipped: ${name}, ${data} is not beside the project`)
        continue
      }
      const answers = run(folder)
      const wrong = answers.filter(({ agrees }) => !agrees)
      for (const { case: id, why } of wrong) {
        const contradiction = CONTRADICTIONS[id]
        if (contradiction === undefined) say(`DISAGREES  ${name} ${id}: ${why}`)
        else say(`contradicts the specification  ${name} ${id}: ${contradiction}`)
      }
      const explained = wrong.filter((each) => Object.hasOwn(CONTRADICTIONS, each.case)).length
      metrics[`${name}_cases`] = answers.length
      metrics[`${name}_agree`] = answers.length - wrong.length
      metrics[`${name}_contradict_specification`] = explained
      metrics[`${name}_unexplained`] = wrong.length - explained
      cases += answers.length - explained
      agreeing += answers.length - wrong.length
    }
    const rules = join(SIGMA_DATA, 'sigma-rules')
    if (existsSync(rules)) Object.assign(metrics, await loadAll(rules, say))
    else say('skipped: the rules of SigmaHQ are not beside the project')
    return { metrics, ratios: cases === 0 ? {} : { agreeing_of_cases: agreeing / cases } }
  },
}

async function loadAll(folder: string, say: (line: string) => void): Promise<Record<string, number>> {
  const files = await readArchives(folder)
  const started = performance.now()
  const { rules, correlations, filters, refused } = parseRules(files)
  const plan = compilePlan(rules, { correlations, filters, alreadyRefused: refused })
  const loadMs = performance.now() - started
  const counts = new Map<string, number>()
  for (const { file, code } of [...refused, ...plan.refused]) {
    const key = `${file.split('/', 1)[0]}: ${code}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  for (const [key, count] of counts) say(`refused  ${key} ${count}`)
  return {
    sigmahq_files: files.length,
    sigmahq_loaded: plan.rules.length + plan.correlations.length,
    sigmahq_refused: refused.length + plan.refused.length,
    sigmahq_load_ms: loadMs,
  }
}

/**
 * Import rules (CONTRIBUTING.md, "Rooms"), checked with dependency-cruiser. A run that read too few modules, or that does not see a
 * planted wrong import, is a failure: under a TypeScript without an API the cruiser reads nothing and reports success.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cruise, type ICruiseResult } from 'dependency-cruiser'
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config'
import { globSync } from 'node:fs'
import { importRules } from './import-rules.ts'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
process.chdir(root)
const FOLDERS = ['agent', 'controller', 'shared', 'installers', 'test']

const sources = FOLDERS.flatMap((folder) =>
  globSync(`${folder}/**/*.ts`, { exclude: (name) => name.includes('node_modules') }),
)
const result = await cruiseTree(FOLDERS)
const read = result.modules.filter((module) => FOLDERS.some((folder) => module.source.startsWith(`${folder}/`))).length
const problems = result.summary.violations.map(
  (violation) => `${violation.rule.name}: ${violation.from} -> ${violation.to}`,
)
if (read < sources.length) problems.push(`read only ${read} of ${sources.length} modules`)

const planted = await plantWrongImport()
if (!planted) problems.push('a planted import of the controller by the agent was not found')

if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
console.log(`${read} modules read, ${result.summary.totalDependenciesCruised ?? 0} imports, none against the rules`)

async function cruiseTree(paths: readonly string[]): Promise<ICruiseResult> {
  const done = await cruise(
    [...paths],
    {
      ruleSet: { forbidden: importRules(root) },
      validate: true,
      doNotFollow: { path: 'node_modules' },
      exclude: { path: 'node_modules' },
      tsPreCompilationDeps: true,
      enhancedResolveOptions: {
        exportsFields: ['exports'],
        conditionNames: ['import', 'default'],
        extensions: ['.ts', '.js'],
      },
    },
    undefined,
    { tsConfig: extractTSConfig(join(root, 'tsconfig.json')) },
  )
  return done.output as ICruiseResult
}

async function plantWrongImport(): Promise<boolean> {
  const folder = mkdtempSync(join(root, 'agent', 'src', 'planted-'))
  try {
    const target = JSON.parse(readFileSync(join(root, 'controller', 'package.json'), 'utf8')) as { name: string }
    writeFileSync(join(folder, 'wrong.ts'), `import '../../../controller/src/store/bus/bus.ts' // ${target.name}\n`)
    const result = await cruiseTree([folder.slice(root.length + 1)])
    return result.summary.violations.some((violation) => violation.rule.name === 'agent-knows-no-controller')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

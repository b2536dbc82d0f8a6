/**
 * `npm test`: checks, then unit and integration tests, then the end-to-end tests in the lab, one after the other.
 * `npm test -- PATTERN` runs only the test files whose path has the pattern, without the checks.
 */
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const patterns = process.argv.slice(2)

const steps: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ...(patterns.length === 0 ? ([['checks', 'node', 'installers/check.ts']] as const) : []),
  ['unit and integration', 'vitest', 'run', '--project', 'unit', '--passWithNoTests', ...patterns],
  ['end to end', 'vitest', 'run', '--project', 'e2e', '--passWithNoTests', ...patterns],
]

const failed: string[] = []
for (const [name, command, ...args] of steps) {
  const started = performance.now()
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  console.log(
    `${name}: ${done.status === 0 ? 'passed' : 'FAILED'} in ${Math.round((performance.now() - started) / 1000)} s\n`,
  )
  if (done.status !== 0) failed.push(name)
}
console.log(`${steps.length - failed.length} passed, ${failed.length} failed`)
process.exit(failed.length === 0 ? 0 : 1)

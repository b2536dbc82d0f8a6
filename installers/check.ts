/** `npm run check`: format, lint, types, import rules, unused code; all of them, then one verdict. */
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const CHECKS: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['format', 'biome', 'ci', '--linter-enabled=false', '--assist-enabled=false', '.'],
  ['lint', 'oxlint', '--type-aware', '--deny-warnings', '.'],
  ['types', 'node', 'node_modules/typescript7/bin/tsc', '-p', 'tsconfig.json'],
  ['imports', 'node', 'installers/check-imports.ts'],
  ['unused', 'knip'],
]

const failed: string[] = []
for (const [name, command, ...args] of CHECKS) {
  const started = performance.now()
  const done = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    maxBuffer: 64 * 1024 * 1024,
  })
  const ok = done.status === 0
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${Math.round(performance.now() - started)} ms)`)
  if (ok) {
    if (name === 'imports') console.log(`     ${done.stdout.trim()}`)
    continue
  }
  failed.push(name)
  console.log(`${done.error?.message ?? ''}${done.stdout}${done.stderr}`)
}
console.log(`${CHECKS.length - failed.length} passed, ${failed.length} failed`)
process.exit(failed.length === 0 ? 0 : 1)

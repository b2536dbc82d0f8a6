/**
 * `npm test`: the end-to-end tests in the lab on one side, checks and then unit and integration tests on the other, both at once: the
 * former mostly wait for machines to boot and for what the promises wait for. What the end-to-end tests say is shown when they are over.
 * Then, with the machine for themselves, the tests that compare times.
 * `npm test -- PATTERN` runs only the test files whose path has the pattern, without the checks.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

type Step = readonly [name: string, command: string, ...args: string[]]

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const patterns = process.argv.slice(2)
const vitest = (project: string) => ['vitest', 'run', '--project', project, '--passWithNoTests', ...patterns] as const

const beside: Step = ['end to end', ...vitest('e2e')]
const inTurn: readonly Step[] = [
  ...(patterns.length === 0 ? ([['checks', 'node', 'installers/check.ts']] as const) : []),
  ['unit and integration', ...vitest('unit*')],
]

const alone: Step = ['with the machine alone', ...vitest('alone')]

const running = new Set<ChildProcess>()
let ended: NodeJS.Signals | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => {
    ended = signal
    // A terminal sends Ctrl-C to all of them itself.
    if (signal !== 'SIGINT' || !process.stdin.isTTY) for (const child of running) child.kill(signal)
  })

const passed: boolean[] = []
const endToEnd = run(beside, 'kept')
for (const step of inTurn) passed.push(await run(step, 'shown'))
passed.push(await endToEnd)
passed.push(await run(alone, 'shown'))
const failures = passed.filter((one) => !one).length
console.log(`${passed.length - failures} passed, ${failures} failed`)
process.exit(failures === 0 ? 0 : 1)

/** Whether it passed. `kept`: what it says is shown when it is over, in one piece. Nothing begins any more once a signal came. */
async function run([name, command, ...args]: Step, output: 'shown' | 'kept'): Promise<boolean> {
  if (ended !== undefined) return false
  const started = performance.now()
  const child = spawn(command, args, { cwd: root, stdio: output === 'shown' ? 'inherit' : ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  const said: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => said.push(chunk))
  const status = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      said.push(Buffer.from(`cannot run ${command}: ${error.message}\n`))
      resolve(127)
    })
    child.once('close', resolve)
  })
  running.delete(child)
  process.stdout.write(Buffer.concat(said))
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(`${name}: ${status === 0 ? 'passed' : 'FAILED'} in ${seconds} s\n`)
  return status === 0
}

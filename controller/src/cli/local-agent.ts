/** The agent of this very machine for `firebreak up --with-agent`: a process of its own, under a ceiling that lets it look and nothing more. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import type { Controller } from '../controller.ts'
import { isRecord } from '../api/json-column.ts'
import { CliError } from './exit-codes.ts'
import type { Io } from './io.ts'
import { safeText } from './terminal-text.ts'

const AGENT_MAIN = fileURLToPath(new URL('../../../agent/src/main.ts', import.meta.url))
const BUILD_SENSOR = fileURLToPath(new URL('../../../agent/sensor/build-sensor.ts', import.meta.url))
/** Where the package of the agent puts it, and its configuration looks when nothing else is said. */
const INSTALLED_SENSOR = '/usr/lib/firebreak-agent/firebreak-sensor'
const STOP_MS = 15_000
const JOIN_LIFE_S = 300
/** unix(7): a socket path holds 107 bytes. */
const MAX_SOCKET_PATH = 107

export interface LocalAgent {
  readonly agentId: string
  readonly ceilingPath: string
  readonly logPath: string
  /** Why it polls instead of being told by the kernel, and what to do about it. */
  readonly polls: string | undefined
  /** Ends the agent and waits for it. */
  stop(): Promise<void>
}

export interface LocalAgentOptions {
  readonly controller: Pick<Controller, 'joinTokens' | 'trust'>
  readonly gatewayPort: number
  readonly stateDir: string
  readonly io: Io
}

export async function startLocalAgent({
  controller,
  gatewayPort,
  stateDir,
  io,
}: LocalAgentOptions): Promise<LocalAgent> {
  const dir = join(stateDir, 'agent')
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const url = `https://127.0.0.1:${gatewayPort}`
  const configPath = join(dir, 'agent.yaml')
  const ceilingPath = join(dir, 'ceiling.yaml')
  const logPath = join(dir, 'agent.log')
  const pidPath = join(dir, 'agent.pid')
  writeFileSync(ceilingPath, CEILING, { mode: 0o600 })
  const sensor = await provideSensor()
  writeFileSync(configPath, agentConfig(dir, url, ceilingPath, sensor.path), { mode: 0o600 })
  await endLeftOver(pidPath, configPath)

  const known = enrolmentIn(dir)
  if (known !== undefined && known.deploymentId !== controller.trust.deploymentId)
    throw new CliError(
      'failed',
      `the agent in ${dir} belongs to another controller: remove that folder, and it joins anew`,
    )
  if (known === undefined) {
    const { joinString } = await controller.joinTokens.create(
      { group: 'default', lifeS: JOIN_LIFE_S, maxUses: 1 },
      'system',
    )
    await enrol(configPath, url, joinString)
  }
  const agentId = enrolmentIn(dir)?.agentId ?? ''
  const child = run(configPath, logPath)
  writeFileSync(pidPath, `${child.pid ?? ''}\n`)
  let stopping = false
  child.once('exit', (code, signal) => {
    if (!stopping) io.say(`The agent of this host ended by itself (${signal ?? `code ${code}`}); see ${logPath}`)
  })
  return {
    agentId,
    ceilingPath,
    logPath,
    polls: sensor.polls,
    async stop() {
      stopping = true
      await end(child)
      rmSync(pidPath, { force: true })
    },
  }
}

const CEILING = `# What any controller may do on this machine: look. A ceiling cannot be raised by a command.
observe_only: true
allowed: []
`

/** Path of the kernel sensor, built when its compilers are here, or why the agent polls. Neither: it has one of its own. */
async function provideSensor(): Promise<{ readonly path?: string; readonly polls?: string }> {
  if (process.platform !== 'linux') return { polls: `the kernel sensor is for Linux, not for ${process.platform}` }
  if (process.getuid?.() !== 0) return { polls: 'the kernel sensor needs root; start it as root' }
  const build = spawn(process.execPath, [BUILD_SENSOR], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [path, why] = ['', '']
  build.stdout.on('data', (chunk: Buffer) => (path += chunk.toString('utf8')))
  build.stderr.on('data', (chunk: Buffer) => (why += chunk.toString('utf8')))
  const [code] = (await once(build, 'close')) as [number | null]
  if (code === 0) return { path: path.trim() }
  if (existsSync(INSTALLED_SENSOR)) return {}
  return { polls: safeText(why.trim().split('\n')[0] ?? '').slice(0, 300) || 'the kernel sensor cannot be built' }
}

function agentConfig(dir: string, url: string, ceilingPath: string, sensor: string | undefined): string {
  const near = join(dir, 'agent.sock')
  const far = join(tmpdir(), `firebreak-${createHash('sha256').update(dir).digest('hex').slice(0, 16)}.sock`)
  return stringify({
    controllers: [url],
    state_dir: dir,
    ceiling: ceilingPath,
    run_socket: Buffer.byteLength(near) <= MAX_SOCKET_PATH ? near : far,
    ...(sensor === undefined ? {} : { collectors: { kernel: { sensor } } }),
  })
}

function enrolmentIn(dir: string): { readonly agentId: string; readonly deploymentId: string } | undefined {
  const path = join(dir, 'enrolment.json')
  if (!existsSync(path)) return undefined
  const found: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (!isRecord(found)) throw new CliError('failed', `${path} is damaged: remove the folder, and the agent joins anew`)
  return { agentId: String(found['agent_id']), deploymentId: String(found['deployment_id']) }
}

/** The join string goes over standard input: arguments can be seen by everybody on the machine. */
async function enrol(configPath: string, url: string, joinString: string): Promise<void> {
  const child = spawn(
    process.execPath,
    [AGENT_MAIN, '--config', configPath, 'enroll', '--controller', url, '--join', '-'],
    { env: agentEnvironment(), stdio: ['pipe', 'ignore', 'pipe'] },
  )
  let talk = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    talk = `${talk}${chunk.toString('utf8')}`.slice(-2_000)
  })
  child.stdin?.on('error', () => {}) // it ended before it read: its exit code says why
  child.stdin?.end(joinString)
  const code = await exitOf(child)
  if (code !== 0) throw new CliError('failed', `the agent of this host could not join: ${safeText(talk.trim())}`)
}

function run(configPath: string, logPath: string): ChildProcess {
  const log = openSync(logPath, 'a', 0o600)
  try {
    // A process group of its own: Ctrl-C comes to us first, and we end the agent in order.
    return spawn(process.execPath, [AGENT_MAIN, '--config', configPath, 'run'], {
      env: agentEnvironment(),
      stdio: ['ignore', log, log],
      detached: true,
    })
  } finally {
    closeSync(log)
  }
}

/** What configures the controller by environment must not configure the agent. */
function agentEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FIREBREAK_')))
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = exitOf(child)
  child.kill('SIGTERM')
  const late = new AbortController()
  await Promise.race([
    ended,
    sleep(STOP_MS, undefined, { signal: late.signal }).then(
      () => child.kill('SIGKILL'),
      () => {},
    ),
  ])
  await ended
  late.abort()
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    if (child.exitCode !== null) resolve(child.exitCode)
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

/** A controller that was killed leaves its agent running; it is known by its own configuration file on its command line. */
async function endLeftOver(pidPath: string, configPath: string): Promise<void> {
  const pid = existsSync(pidPath) ? Number(readFileSync(pidPath, 'utf8')) : Number.NaN
  if (!Number.isSafeInteger(pid) || pid < 2) return
  for (let waited = 0; waited < STOP_MS && isOurs(pid, configPath); waited += 100) {
    process.kill(pid, waited > STOP_MS / 2 ? 'SIGKILL' : 'SIGTERM')
    await sleep(100)
  }
  rmSync(pidPath, { force: true })
}

function isOurs(pid: number, configPath: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(configPath)
  } catch {
    return false // ended, or a system without /proc, where the agent's own lock tells
  }
}

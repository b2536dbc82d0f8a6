import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatJoinString, newJoinToken } from '@firebreak/shared/trust/join-string.ts'
import { rootHashOf } from '@firebreak/shared/trust/trust-file.ts'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { temporaryFolder } from './disk/temporary-folder.fake.ts'
import type { AgentStatus } from './agent.ts'
import { FakeController } from './link/controller.fake.ts'

// Each call is a process of its own, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })
const dir = temporaryFolder()
const config = join(dir, 'agent.yaml')
const there = new FakeController()
let agent: ChildProcess | undefined
let output = ''

interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function cli(...args: readonly string[]): Promise<Run> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(import.meta.dirname, 'main.ts'), '--config', config, ...args],
      { timeout: 30_000 },
      (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr }),
    )
  })
}

function run(): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), '--config', config, 'run'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')))
  return child
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', (code) => resolve(code)))
}

async function status(): Promise<AgentStatus | undefined> {
  const answer = await cli('status', '--json')
  return answer.code === 0 ? (JSON.parse(answer.stdout) as AgentStatus) : undefined
}

beforeAll(async () => {
  await there.start()
  mkdirSync(join(dir, 'watched'))
  // Observed only, and with a source that harms nobody: this is the machine the tests run on.
  writeFileSync(join(dir, 'ceiling.yaml'), 'observe_only: true\n', { mode: 0o600 })
  writeFileSync(
    config,
    [
      `state_dir: ${join(dir, 'state')}`,
      `run_socket: ${join(dir, 'agent.sock')}`,
      `ceiling: ${join(dir, 'ceiling.yaml')}`,
      'link: { reconnect_min_ms: 50, reconnect_max_ms: 1000, status_interval_ms: 500 }',
      'collectors:',
      `  file: { paths: [${join(dir, 'watched')}] }`,
      '  process: { enabled: false }',
      '  network: { enabled: false }',
      '  logins: { enabled: false }',
      '  inventory: { enabled: false }',
    ].join('\n'),
  )
})

afterAll(async () => {
  if (agent?.exitCode === null) {
    const gone = ended(agent)
    agent.kill('SIGKILL')
    await gone
  }
  await there.stop()
})

it('says before it has joined what is to be done, and does not run', async () => {
  expect(await cli('run')).toMatchObject({ code: 2, stderr: expect.stringContaining('not_enrolled') as string })
  expect(await cli('status')).toMatchObject({ code: 6 })
})

it('names why it cannot join, with an exit code of its own for each kind of reason', async () => {
  const wrongToken = formatJoinString({ token: newJoinToken(), rootHash: rootHashOf(there.trustFile.root) })
  expect(await cli('enroll', '--controller', there.url, '--join', 'nonsense')).toMatchObject({ code: 2 })
  expect(await cli('enroll', '--controller', 'https://127.0.0.1:1', '--join', there.joinString)).toMatchObject({
    code: 6,
  })
  expect(await cli('enroll', '--controller', there.url, '--join', wrongToken)).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('bad_token') as string,
  })
})

it('joins, runs, tells what happens, and shows how it is doing', async () => {
  const joinFile = join(dir, 'join')
  writeFileSync(joinFile, `${there.joinString}\n`)
  expect(await cli('enroll', '--controller', there.url, '--join-file', joinFile)).toMatchObject({ code: 0 })
  agent = run()
  await there.until(() => there.sessions.length === 1, 'the connection', 20_000)
  await expect.poll(async () => (await status())?.link.connected, { timeout: 20_000, interval: 500 }).toBe(true)
  writeFileSync(join(dir, 'watched', 'new-file'), 'content')
  await there.until(() => [...there.stored.keys()].some((key) => key.startsWith('file|')), 'the file event', 20_000)
  const shown = await status()
  expect(shown).toMatchObject({ ceiling: { observeOnly: true }, containment: { phase: 'none' } })
  expect(shown?.collectors.find(({ name }) => name === 'file')).toMatchObject({ state: 'running' })
  expect((await cli('status')).stdout).toMatch(/controller\s+127\.0\.0\.1:\d+, connected for/)
  expect(statSync(join(dir, 'agent.sock')).mode & 0o777).toBe(0o600)
})

it('refuses to contain a host that is observed only, in a signed receipt', async () => {
  there.sendCommand(there.command('isolate-host', { hold_s: 60, on_controller_loss: 'release' }))
  await there.until(() => there.receipts.length === 1, 'the receipt')
  expect(there.receipts[0]).toMatchObject({ state: 'refused', code: 'above_ceiling' })
})

it('does not let a second agent onto the same state, and knows no release code', async () => {
  expect(await cli('run')).toMatchObject({ code: 4, stderr: expect.stringContaining('in_use') as string })
  expect(await cli('release', '--code', 'guess')).toMatchObject({
    code: 5,
    stderr: expect.stringContaining('wrong_code') as string,
  })
})

it('writes diagnostics that hold no key', async () => {
  const out = join(dir, 'diagnostics.json')
  expect(await cli('diagnostics', '--out', out)).toMatchObject({ code: 0 })
  const text = readFileSync(out, 'utf8')
  expect(text).toContain('"running_agent"')
  expect(text).not.toContain(readFileSync(join(dir, 'state', 'agent.key'), 'utf8').trim())
})

it('stops cleanly on SIGTERM and comes back with the same numbers', async () => {
  const child = agent
  if (!child) throw new Error('no agent runs')
  const before = await status()
  const gone = ended(child)
  child.kill('SIGTERM')
  expect(await gone).toBe(0)
  expect(output).not.toContain('"level":"error"')
  agent = run()
  await there.until(() => there.sessions.length === 1, 'the second connection', 20_000)
  const after = await status()
  const made = (shown: AgentStatus | undefined) => shown?.streams.find((stream) => stream.class === 'file')?.produced
  expect(made(after)).toBeGreaterThanOrEqual(made(before) ?? 1)
  expect(after?.streams[0]?.epoch).toBe(before?.streams[0]?.epoch)
})

it('checks a configuration and points at the line', async () => {
  expect(await cli('check-config')).toMatchObject({ code: 0 })
  writeFileSync(join(dir, 'ceiling.yaml'), 'observe_only: true\nallow: []\n')
  expect(await cli('check-config')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('ceiling.yaml:2: there is no setting allow; did you mean allowed?') as string,
  })
})

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Host } from '../api/hosts.ts'
import { runWith } from './cli.fixture.ts'

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url))
let cwd: string
const children: ChildProcess[] = []
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'fb-up-'))
})
afterAll(() => {
  // Only after a failure is there anything left: a controller of ours, or the agent that it started.
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  if (existsSync(join(cwd, '.firebreak/agent/agent.pid')) && isAlive(agentPid())) process.kill(agentPid(), 'SIGKILL')
  rmSync(cwd, { recursive: true, force: true })
})

interface Up {
  readonly child: ChildProcess
  readonly text: () => string
  readonly ended: Promise<number | null>
}

function up(changes: Readonly<Record<string, string>> = {}): Up {
  const own = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(?:FIREBREAK_|FORCE_COLOR)/.test(name)),
  )
  const env = { ...own, NO_COLOR: '1', ...changes }
  const child = spawn(process.execPath, [MAIN, 'up', '--with-agent'], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const ended = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  return { child, text: () => text, ended }
}

async function firebreak(...argv: string[]) {
  return await runWith(argv, {}, cwd, { onSleep: async () => await sleep(100) })
}

async function until<T>(
  what: string,
  { child, text }: Up,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  for (let i = 0; i < 600; i++) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (child.exitCode !== null) break
    await sleep(150)
  }
  throw new Error(`in vain: ${what}\n${text()}`)
}

const agentPid = () => Number(readFileSync(join(cwd, '.firebreak/agent/agent.pid'), 'utf8'))
const isAlive = (pid: number) => existsSync(`/proc/${pid}/exe`)

describe.skipIf(process.platform !== 'linux')('firebreak up --with-agent', () => {
  it('shows this machine as a host that is only observed, stops on Ctrl-C, and goes on as the same host', {
    timeout: 240_000,
  }, async () => {
    const first = up()
    await until('the banner', first, () => (first.text().includes('Firebreak is up.') ? true : undefined))
    expect(first.text()).toContain(join(cwd, '.firebreak'))
    expect(first.text()).toMatch(/documentation http:\/\/127\.0\.0\.1:\d+\/docs/)
    const secret = readFileSync(join(cwd, '.firebreak/admin.token'), 'utf8').trim()
    expect(first.text()).not.toContain(secret)
    const host = await until('the host is connected', first, async () => {
      const [one] = (await firebreak('hosts', 'list', '--json')).json() as Host[]
      return one?.connected ? one : undefined
    })
    await until('events arrive', first, async () => {
      const found = (await firebreak('events', 'search', '--json', '--limit', '5')).json() as unknown[]
      return found.length > 0 ? true : undefined
    })
    await until('the live view tells of them', first, () =>
      /\d+ events stored {2}/.test(first.text()) ? true : undefined,
    )

    const taught = [...first.text().matchAll(/^ {2}\S.*firebreak(?: --)? ((?:hosts|events|incidents) .+)$/gm)].map(
      ([, argv]) => argv ?? '',
    )
    expect(taught).toHaveLength(3)
    for (const argv of taught) expect([argv, (await firebreak(...argv.split(' '))).code]).toEqual([argv, 0])

    const refused = await firebreak('isolate', host.hostname, '--yes', '--hold', '60s')
    expect([refused.code, refused.out], refused.err).toEqual([4, expect.stringContaining('above_ceiling')])

    const pid = agentPid()
    first.child.kill('SIGINT')
    expect(await first.ended).toBe(0)
    expect(isAlive(pid)).toBe(false)
    for (const log of ['controller.log', 'agent/agent.log'])
      expect(readFileSync(join(cwd, '.firebreak', log), 'utf8'), log).not.toContain(secret)

    const second = up()
    const again = await until('the same host is connected', second, async () => {
      const listed = await firebreak('hosts', 'list', '--json')
      const hosts = listed.code === 0 ? (listed.json() as Host[]) : []
      return hosts[0]?.connected ? hosts : undefined
    })
    expect(again.map((one) => one.agent_id)).toEqual([host.agent_id])

    // Killed without a chance to stop its agent, the next start ends the one that was left and takes its place.
    const left = agentPid()
    second.child.kill('SIGKILL')
    await second.ended
    expect(isAlive(left)).toBe(true)
    // A machine without the compilers of the kernel sensor: what is missed for it, and what to install.
    const third = up({ PATH: join(cwd, 'nowhere') })
    await until('the banner', third, () => (third.text().includes('Firebreak is up.') ? true : undefined))
    expect(third.text()).toMatch(
      process.getuid?.() === 0
        ? /^ {2}polling {4}short-lived processes .* cannot be built without .*; on Debian: apt-get install clang-14 bpftool gcc/m
        : /^ {2}polling {4}short-lived processes .* needs root/m,
    )
    expect(isAlive(left)).toBe(false)
    expect(agentPid()).not.toBe(left)
    third.child.kill('SIGTERM')
    expect(await third.ended).toBe(0)
  })
})

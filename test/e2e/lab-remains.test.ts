import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLab, labSupport, skipWithout } from '../lab/lab.ts'
import { readRecord } from '../lab/ownership.ts'
import { isAlive, killIfSame } from '../lab/process-table.ts'
import { run } from '../lab/program.ts'
import { cgroupsOf } from '../lab/remains.ts'

const support = await labSupport()

/** What of a lab could be left on the machine: links, mounts, named network namespaces, firewall rules, addresses and routes. */
async function machineState(): Promise<Record<string, string>> {
  const ask = async (...argv: string[]): Promise<string> => (await run({ argv, wrapped: false }, argv.join(' '))).stdout
  return {
    links: await ask('ip', '-o', 'link'),
    addresses: await ask('ip', '-o', 'address'),
    routes: await ask('ip', 'route', 'show', 'table', 'all'),
    namespaces: await ask('ip', 'netns', 'list'),
    rules: await ask('nft', 'list', 'ruleset'),
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
  }
}

/** Every process whose command line names the lab, whatever namespace it is in. */
function processesOf(id: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
        const cgroup = readFileSync(`/proc/${pid}/cgroup`, 'utf8')
        return line.includes(id) || cgroup.includes(id) ? [`${pid} ${line}`] : []
      } catch {
        return [] // ended in between
      }
    })
}

async function abandon(ending?: 'return') {
  const fixture = fileURLToPath(new URL('../lab/abandoned.fixture.ts', import.meta.url))
  const owner = spawn(process.execPath, [fixture, ...(ending === undefined ? [] : [ending])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(owner, 'exit')
  const said = await Promise.race([once(owner.stdout, 'data').then(String), exited.then(() => undefined)])
  if (said === undefined) throw new Error('the lab did not come up')
  const { id, directory } = JSON.parse(said) as { id: string; directory: string }
  return { owner, exited, id, directory }
}

async function untilGone(id: string, directory: string): Promise<void> {
  await expect
    .poll(() => [existsSync(directory), cgroupsOf(id), processesOf(id)], { timeout: 30_000, interval: 100 })
    .toEqual([false, [], []])
}

describe.skipIf(skipWithout(support, 4, 'what a lab leaves behind'))('after a lab', () => {
  let before: Record<string, string>
  beforeEach(async () => {
    before = await machineState()
  })
  afterEach(async () => {
    expect(await machineState()).toEqual(before)
  })

  it('nothing is left when it is disposed of', async () => {
    const lab = await createLab({ name: 'tidy' })
    const node = await lab.node('attacker')
    node.spawn(['sleep', '600'])
    expect(await machineState()).toEqual(before)
    expect(processesOf(lab.id)).not.toEqual([])
    await lab[Symbol.asyncDispose]()
    expect([existsSync(lab.directory), cgroupsOf(lab.id), processesOf(lab.id)]).toEqual([false, [], []])
  })

  it('nothing is left when its owner is killed with -9', async () => {
    const { owner, exited, id, directory } = await abandon()
    expect(cgroupsOf(id)).not.toEqual([])
    owner.kill('SIGKILL')
    await exited
    await untilGone(id, directory)
  })

  it('nothing is left when its owner ends without disposing of it', async () => {
    const { exited, id, directory } = await abandon('return')
    await exited
    await untilGone(id, directory)
  })

  it('everything ends at once when owner and warden are both killed with -9, and the next lab removes the files', async () => {
    const { owner, exited, id, directory } = await abandon()
    const record = await readRecord(directory)
    if (record?.warden === undefined || record.init === undefined) throw new Error('no warden on record')
    killIfSame(record.warden)
    owner.kill('SIGKILL')
    await exited
    const { init } = record
    await expect.poll(() => [isAlive(init), processesOf(id)], { timeout: 10_000, interval: 50 }).toEqual([false, []])
    await using next = await createLab()
    expect(existsSync(next.directory)).toBe(true)
    expect([existsSync(directory), cgroupsOf(id)]).toEqual([false, []])
  })
})

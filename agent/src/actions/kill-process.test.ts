import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { systemClock } from '@firebreak/shared/clock.ts'
import type { KillProcess } from '@firebreak/shared/commands/kill-process.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPlatform } from '../platform/create-platform.ts'
import { entityIdOf, readBootId, readProcessIdentity } from '../platform/linux/process-identity.ts'
import type { Order } from './action.ts'
import { createKillProcess } from './kill-process.ts'

const missing = process.platform === 'linux' ? undefined : 'needs Linux'
if (missing !== undefined) console.warn(`skipped: 10 tests of ending processes, ${missing}`)

describe.skipIf(missing !== undefined)('ending a process', () => {
  let stateDir: string
  const started: ChildProcess[] = []
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'fbt-kill-'))
  })
  afterEach(() => {
    for (const child of started.splice(0)) child.kill('SIGKILL')
    rmSync(stateDir, { recursive: true, force: true })
  })

  const start = (file: string, ...args: string[]) => {
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'] })
    started.push(child)
    return { pid: child.pid ?? 0, child }
  }
  const sleeper = () => start('/bin/sleep', '60').pid
  const entityOf = (pid: number) => entityIdOf(readBootId(), pid, readProcessIdentity(pid)?.startTicks ?? 0)
  const stateOf = (pid: number) => readProcessIdentity(pid)?.state ?? 'gone'
  const isGone = (pid: number) => ['gone', 'Z', 'X'].includes(stateOf(pid))
  const isRunning = (pid: number) => ['S', 'R', 'D'].includes(stateOf(pid))
  const action = (protects: (pid: number, executable: string | undefined) => boolean = () => false) =>
    createKillProcess({ platform: createPlatform(), stateDir, clock: systemClock, protects })
  const order = (args: KillProcess, step: (name: string) => void = () => undefined): Order<'kill-process'> => ({
    cmdId: 'c1',
    type: 'kill-process',
    args,
    step,
  })
  const report = () => Promise.resolve()
  const childrenOf = (pid: number) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)

  it('ends it and says whom', async () => {
    const pid = sleeper()
    const entity_id = entityOf(pid)
    const kill = order({ pid, entity_id, tree: false })
    expect(await action().check(kill)).toEqual({ ok: true })
    expect(await action().apply(kill, report)).toMatchObject({
      state: 'verified',
      evidence: { killed: [{ pid, entity_id }], surviving: [], respawned: [] },
    })
    expect(isGone(pid)).toBe(true)
    expect(await action().verify(kill)).toMatchObject({ state: 'verified' })
  })

  it('ends the whole tree when asked, also one that forks as fast as it can, and only the root when not', async () => {
    const root = start('/bin/sh', '-c', 'sleep 60 & (sleep 60 & wait) & while :; do sleep 60 & sleep 0.01; done')
    await delay(300)
    const lone = start('/bin/sh', '-c', 'sleep 60 & echo $!; wait')
    const orphan = Number(
      await new Promise((resolve) => lone.child.stdout?.once('data', (data) => resolve(String(data)))),
    )
    const effect = await action().apply(order({ pid: root.pid, tree: true }), report)
    expect(effect).toMatchObject({ state: 'verified', evidence: { surviving: [] } })
    const killed = effect.evidence?.killed ?? []
    expect(killed.length).toBeGreaterThan(4)
    expect(killed.at(-1)?.pid).toBe(root.pid)
    expect(killed.every(({ pid }) => isGone(pid))).toBe(true)

    await action().apply(order({ pid: lone.pid, tree: false }), report)
    expect(isGone(lone.pid)).toBe(true)
    expect(isGone(orphan)).toBe(false)
    process.kill(orphan, 'SIGKILL')
  })

  it('refuses a process that is not the one that was meant, and does not touch it', async () => {
    const pid = sleeper()
    const other = order({ pid, entity_id: entityIdOf(readBootId(), pid, 1), tree: true })
    expect(await action().check(other)).toMatchObject({ ok: false, code: 'precondition_failed' })
    expect(await action().apply(other, report)).toMatchObject({ state: 'failed' })
    expect(isRunning(pid)).toBe(true)
  })

  it('refuses a pid that nobody has, a kernel thread, the agent, its ancestors and init', async () => {
    const kernelThread = readProcessIdentity(2)?.exe === undefined && readProcessIdentity(2) ? [2] : []
    for (const pid of [4_194_303, ...kernelThread, process.pid, process.ppid, 1]) {
      expect(await action().check(order({ pid, tree: false }))).toMatchObject({
        ok: false,
        code: 'precondition_failed',
      })
    }
  })

  it('spares what the owner of the host protects, also below the process to end and also since the command came', async () => {
    const { pid } = start('/bin/sh', '-c', 'sleep 60 & wait')
    for (const end = Date.now() + 5_000; childrenOf(pid).length < 1 && Date.now() < end; ) await delay(10)
    const [sleeping = 0] = childrenOf(pid)
    const protecting = action((_, executable) => executable?.endsWith('/sleep') === true)
    expect(await protecting.apply(order({ pid, tree: true }), report)).toMatchObject({ state: 'verified' })
    expect(isGone(pid)).toBe(true)
    expect(isRunning(sleeping)).toBe(true)
    process.kill(sleeping, 'SIGKILL')
    const other = sleeper()
    expect(await protecting.check(order({ pid: other, tree: false }))).toMatchObject({
      code: 'precondition_failed',
      why: `pid ${other} is protected on this host`,
    })
    expect(await protecting.apply(order({ pid: other, tree: false }), report)).toMatchObject({ state: 'failed' })
    expect(isRunning(other)).toBe(true)
  })

  it('spares the agent when it is a descendant of the process to end', async () => {
    const script = fileURLToPath(new URL('rig/kill-parent.child.ts', import.meta.url))
    const shell = start('/bin/sh', '-c', `"${process.execPath}" "${script}" "${stateDir}" & wait`)
    const said = await new Promise((resolve) =>
      shell.child.stdout?.once('data', (data) => resolve(String(data).trim())),
    )
    expect(said).toBe('precondition_failed')
    expect(isGone(shell.pid)).toBe(false)
  })

  it('leaves alone and running a process that has become another program since the check', async () => {
    const turncoat = start('/bin/sh', '-c', 'read line; exec sleep 60')
    const kill = order({ pid: turncoat.pid, tree: false }, (name) => {
      if (name !== 'kill.target-recorded') return
      turncoat.child.stdin?.end('now\n')
      spawnSync('/bin/sleep', ['0.3'])
    })
    expect(await action().apply(kill, report)).toMatchObject({ state: 'failed', code: 'action_failed' })
    expect(isRunning(turncoat.pid)).toBe(true)
  })

  it('tells that a supervisor brings it back', async () => {
    const program = join(stateDir, 'sleeper')
    copyFileSync('/bin/sleep', program)
    const supervisor = start('/bin/sh', '-c', `while :; do "${program}" 60; done`)
    await delay(100)
    const [pid = 0] = childrenOf(supervisor.pid)
    const effect = await action().apply(order({ pid, tree: false }), report)
    expect(effect).toMatchObject({ state: 'verified', evidence: { killed: [{ pid, executable: program }] } })
    expect(effect.evidence?.respawned).toEqual(childrenOf(supervisor.pid))
    process.kill(supervisor.pid, 'SIGSTOP')
    for (const child of childrenOf(supervisor.pid)) process.kill(child, 'SIGKILL')
  })

  it('finishes off, after a crash in the middle, whom it had begun to end, and nobody else', async () => {
    const root = start('/bin/sh', '-c', 'sleep 60 & sleep 60 & wait')
    await delay(100)
    const children = childrenOf(root.pid)
    const crash = order({ pid: root.pid, tree: true }, (name) => {
      if (name === 'kill.killed-one') throw new Error('power cut')
    })
    await expect(action().apply(crash, report)).rejects.toThrow('power cut')
    expect(stateOf(root.pid)).toBe('T')
    expect(await action().reconcile(order({ pid: root.pid, tree: true }))).toMatchObject({
      found: 'done',
      effect: { state: 'verified', evidence: { surviving: [] } },
    })
    expect([root.pid, ...children].every(isGone)).toBe(true)
    const bystander = sleeper()
    expect(
      await action().reconcile(order({ pid: bystander, entity_id: entityOf(bystander), tree: true })),
    ).toMatchObject({
      found: 'not_done',
    })
    expect(isRunning(bystander)).toBe(true)
  })

  it.skipIf(process.geteuid?.() !== 0)('never ends or stops an innocent that was given the pid', async () => {
    const script = fileURLToPath(new URL('rig/pid-reuse.child.ts', import.meta.url))
    // The shell is the init of the namespace and takes the dead away.
    const inside = ['sh', '-c', '"$0" "$@"; exit $?', process.execPath, script, stateDir]
    const args = ['-pf', '--mount-proc', '--kill-child', ...inside]
    const unshare = spawnSync('unshare', args, { encoding: 'utf8', timeout: 30_000 })
    if (unshare.stdout.startsWith('skipped')) console.warn(`${unshare.stdout.trim()}: 1 test of pid reuse`)
    else expect(unshare.stdout.trim(), unshare.stderr).toBe('checked: refused; raced: innocent alive')
  })
})

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { entityIdOf, readBootId, readProcessIdentity } from '../../platform/linux/process-identity.ts'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { buildStorm } from '../../../sensor/testing/build-storm.ts'
import { noSensor } from './sensor.fixture.ts'
import { WatchedHost } from './watched-host.fixture.ts'

vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 })
const why = noSensor()
let host: WatchedHost

/** Runs a program to its end. */
async function ran(file: string, args: readonly (string | Buffer)[] = []): Promise<number> {
  const child = spawn(file, args as string[], { cwd: host.folder, stdio: 'ignore' })
  await once(child, 'exit')
  return child.pid ?? 0
}

describe.skipIf(why)(`processes over the sensor${why ? ` (skipped: ${why})` : ''}`, () => {
  beforeAll(async () => {
    host = await new WatchedHost().start()
  })
  afterAll(() => host?.[Symbol.asyncDispose]())

  it('tells a process that is gone before anybody could look, from start to end', async () => {
    const pid = await ran('/bin/sh', ['-c', 'exit 3'])
    const ended = await host.action(pid, 'process-ended')
    const started = await host.action(pid, 'process-started')
    expect(host.of(pid).map(({ event }) => event.action)).toEqual(['process-started', 'process-ended'])
    expect(started).toMatchObject({
      event: { type: ['start'], provider: 'kernel' },
      process: {
        name: 'dash',
        executable: realpathSync('/bin/sh'),
        command_line: '/bin/sh -c exit 3',
        args_count: 3,
        working_directory: realpathSync(host.folder),
        parent: { pid: process.pid, executable: process.execPath },
      },
      user: { id: '0', name: 'root' },
    })
    expect(started.process?.ancestors?.[0]?.pid).toBe(process.ppid)
    expect(ended.process).toMatchObject({ entity_id: started.process?.entity_id, exit_code: 3 })
    expect(ended.event.duration_ms).toBeGreaterThan(0)
  })

  it('gives a process the identity that a look at /proc gives it', async () => {
    const child = spawn('sleep', ['20'], { stdio: 'ignore' })
    try {
      const started = await host.action(child.pid ?? 0, 'process-started')
      const seen = readProcessIdentity(child.pid ?? 0)
      expect(started.process?.entity_id).toBe(entityIdOf(readBootId(), child.pid ?? 0, seen?.startTicks ?? -1))
    } finally {
      child.kill()
    }
  })

  it('tells one start for fork and exec, each further program under the same identity, and a fork that stays one', async () => {
    const pid = await ran('/bin/bash', ['-c', '(sleep 0.3; :) & exec env true'])
    await host.action(pid, 'process-ended')
    const actions = host.of(pid).map(({ event, process }) => `${event.action} ${process?.name}`)
    expect(actions.slice(0, 3)).toEqual(['process-started bash', 'exec env', 'exec true'])
    expect(new Set(host.of(pid).map((event) => event.process?.entity_id)).size).toBe(1)
    const fork = await host.find(
      'the subshell',
      ({ event, process }) => event.action === 'fork' && process?.parent?.pid === pid,
    )
    expect(fork.process?.command_line).toContain('(sleep 0.3; :)')
    expect(host.of(fork.process?.pid ?? 0, 'process-started')).toEqual([])
  })

  it('keeps the true parent of a child whose parent ended at once, and that of its children', async () => {
    const pid = await ran('/bin/sh', ['-c', 'sh -c "sleep 0.2; true" & exit 0'])
    const child = await host.find('the orphan', (event) => event.process?.parent?.pid === pid)
    const grandchild = await host.find(
      'its child',
      ({ event, process }) => event.action === 'process-started' && process?.parent?.pid === child.process?.pid,
    )
    expect(grandchild.process?.name).toBe('sleep')
    expect(grandchild.process?.ancestors?.map((one) => one.pid).slice(0, 2)).toEqual([pid, process.pid])
  })

  it('tells the digest and the package of a program, with its start or right after it', async () => {
    const program = join(host.folder, 'tool')
    copyFileSync('/bin/true', program)
    const sha256 = createHash('sha256').update(readFileSync(program)).digest('hex')
    const pid = await ran(program)
    const identified = await host.action(pid, 'executable-identified')
    expect(identified.process).toMatchObject({ executable: realpathSync(program), hash: { sha256 } })
    expect(identified.firebreak?.executable).toMatchObject({ package: { status: 'unowned' }, mode: '0755' })
    const again = await host.action(await ran(program), 'process-started')
    expect(again.process?.hash?.sha256).toBe(sha256)
    await ran('/bin/true')
    const shipped = await host.find(
      'the package of true',
      ({ process, firebreak }) =>
        process?.executable === realpathSync('/bin/true') && firebreak?.executable?.package !== undefined,
    )
    expect(shipped.firebreak?.executable?.package).toMatchObject({ name: 'coreutils', type: 'deb', status: 'intact' })
  })

  it('tells a program that lies in memory only', async () => {
    const pid = Number(execFileSync(buildStorm(), ['memory'], { encoding: 'utf8' }).trim().split('\n').at(-1))
    await host.action(pid, 'process-ended')
    const run = host.of(pid).find(({ firebreak }) => firebreak?.executable?.memfd)
    expect(run?.process?.executable).toBe('/memfd:innocent')
    expect(run?.event.reason).toBe('the executable lies in memory only')
    await host.find(
      'the memfd',
      ({ event, firebreak }) => event.action === 'memory-file-created' && firebreak?.kernel?.name === 'innocent',
    )
  })

  it('tells a change of account, in whose name it was and who it became', async () => {
    const run = spawnSync('perl', ['-e', '$<=65534;$>=65534;exec "/bin/true"'])
    expect(run.status).toBe(0)
    const changed = await host.find(
      'the change',
      ({ event, user }) => event.action === 'credentials-changed' && user?.changes?.id === '65534',
    )
    expect(changed.user).toMatchObject({ id: expect.any(String), changes: { id: '65534', name: 'nobody' } })
    const exec = await host.action(run.pid, 'exec')
    expect(exec.user).toMatchObject({ id: '65534', name: 'nobody' })
  })

  it('tells what is done to the system: mounts and namespaces, with who did it', async () => {
    const run = spawnSync('unshare', [
      '-m',
      'sh',
      '-c',
      `mount -t tmpfs scratch ${host.folder} && umount ${host.folder}`,
    ])
    expect(run.stderr.toString()).toBe('')
    const mounted = await host.find(
      'the mount',
      ({ event, file }) => event.action === 'mounted' && file?.path === realpathSync(host.folder),
    )
    expect(mounted).toMatchObject({
      event: { outcome: 'success', category: ['process'] },
      process: { name: 'mount' },
      firebreak: { kernel: { kind: 'tmpfs', name: 'scratch' } },
    })
    const unshared = await host.find(
      'the namespace',
      ({ event, process }) => event.action === 'namespaces-unshared' && process?.pid === run.pid,
    )
    expect(unshared.firebreak?.kernel?.kind).toContain('mnt')
    const inside = await host.find(
      'a start in it',
      ({ event, process }) => event.action === 'process-started' && process?.parent?.pid === run.pid,
    )
    expect(inside.firebreak?.namespaces?.mnt).toMatch(/^\d+$/)
  })
})

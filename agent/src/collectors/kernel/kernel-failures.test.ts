import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildSensor } from '../../../sensor/build-sensor.ts'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { waitFor } from '../collector.fake.ts'
import { noSensor } from './sensor.fixture.ts'
import { WatchedHost } from './watched-host.fixture.ts'

vi.setConfig({ testTimeout: 60_000 })
const why = noSensor()
const built = buildSensor()
const sensor = built.ok ? built.value : ''
const folder = mkdtempSync(join(tmpdir(), 'kernel-failures-'))
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A sensor that runs under other circumstances. */
function wrapped(name: string, script: string): string {
  const path = join(folder, name)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

function sleeper(): number {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  children.push(child)
  return child.pid ?? 0
}

/** The sensor that belongs to this test: a child of this process that runs the built file. */
function sensorPid(): number | undefined {
  for (const pid of readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1').trim().split(' ')) {
    try {
      if (readFileSync(`/proc/${pid}/comm`, 'latin1').startsWith('firebreak-senso')) return Number(pid)
    } catch {
      // It ended since.
    }
  }
  return undefined
}

describe.skipIf(why)(`a host whose sensor fails${why ? ` (skipped: ${why})` : ''}`, () => {
  it.each([
    ['nobody may load programs', () => wrapped('no-permission', `exec setpriv --reuid=65534 --clear-groups ${sensor}`)],
    [
      'the kernel tells nothing of its types (no BTF)',
      () => wrapped('no-btf', `exec unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec ${sensor}'`),
    ],
    ['the sensor dies at once', () => wrapped('dies', 'echo out of luck >&2; exit 7')],
    ['the sensor says nothing', () => wrapped('silent', 'exec sleep 60')],
    ['the sensor is not there', () => join(folder, 'nowhere')],
  ])('falls back to polling and says so when %s', async (_, make) => {
    await using host = await new WatchedHost({ sensor: make(), timing: { helloMs: 1_000, firstWaitMs: 100 } }).start()
    for (const name of ['process', 'network', 'file'] as const)
      expect(host.source(name)).toMatchObject({ source: 'polling', quality: 'partial', reason: 'degraded_to_polling' })
    expect(host.source('process')?.why).toMatch(/^sensor: \S/)
    expect(host.health('kernel')?.state).not.toBe('running')
    expect(host.health('kernel')?.why).toMatch(/\w/)
    const started = await host.action(sleeper(), 'process-started')
    expect(started.event.provider).toBe('procfs')
    writeFileSync(join(host.folder, 'seen'), 'x')
    const created = await host.find('the file', ({ file }) => file?.path === join(host.folder, 'seen'))
    expect(created.event.provider).toBe('chokidar')
  })

  it.each([
    ['killed', 'SIGKILL'],
    ['stuck', 'SIGSTOP'],
  ] as const)(
    'starts a sensor again that is %s, counts the gap with its time, and finds what it missed',
    async (_, signal) => {
      await using host = await new WatchedHost({ timing: { silentMs: 3_000, firstWaitMs: 1_500 } }).start()
      const before = sleeper()
      await host.action(before, 'process-started')
      const first = sensorPid()
      expect(first).toBeDefined()
      const hitAt = Date.now()
      process.kill(first ?? 0, signal)
      await waitFor('the sensor to be gone', () => (sensorPid() !== first ? true : undefined))
      await waitFor('the fall to polling', () => (host.source('process')?.source === 'polling' ? true : undefined))
      expect(host.source('process')).toMatchObject({ quality: 'partial', reason: 'sensor_restarted' })
      const during = sleeper()
      const missed = await host.action(during, 'process-started')
      process.kill(before, 'SIGKILL')
      await host.action(before, 'process-ended')
      await waitFor('the sensor to be back', () => (host.source('process')?.source === 'sensor' ? true : undefined))
      expect(host.source('process')).not.toHaveProperty('reason')
      for (const name of ['process', 'network', 'file'] as const) {
        const gap = host.losses.find(({ eventClass, window }) => eventClass === name && window !== undefined)
        expect(gap, name).toMatchObject({ reason: 'kernel_overflow' })
        expect(gap?.count).toBeGreaterThanOrEqual(1)
        expect(gap?.window?.firstAt).toBeLessThanOrEqual(hitAt + 50)
        expect(gap?.window?.firstAt).toBeGreaterThan(hitAt - 5_000)
        expect(gap?.window?.lastAt).toBeGreaterThan(hitAt)
      }
      const after = await host.action(sleeper(), 'process-started')
      expect(after.event.provider).toBe('kernel')
      // Longer than records may be on their way: the comparison that follows a restart must tell nothing twice.
      await new Promise((resolve) => setTimeout(resolve, 4_000))
      for (const pid of [before, during, after.process?.pid ?? 0])
        expect(host.of(pid, 'process-started')).toHaveLength(1)
      expect(host.of(before, 'process-ended')).toHaveLength(1)
      const whole = await host.find('its end', ({ process: one }) => one?.pid === during)
      expect(whole.process?.entity_id).toBe(missed.process?.entity_id)
    },
  )

  it('tells the same processes under the same identity when the agent is started again, none of them twice', async () => {
    const old = sleeper()
    let known: string | undefined
    {
      await using host = await new WatchedHost().start()
      const existing = await host.find('the old one', ({ process: one }) => one?.pid === old)
      known = existing.process?.entity_id
    }
    const between = sleeper()
    await using host = await new WatchedHost().start()
    const at = sleeper()
    await host.action(at, 'process-started')
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    const told = (pid: number) => host.of(pid).filter(({ event }) => event.action !== 'executable-identified')
    expect(told(old).map(({ event, process: one }) => [event.action, one?.entity_id])).toEqual([
      ['process-existing', known],
    ])
    expect(told(between)).toHaveLength(1)
    expect(host.of(at, 'process-started')).toHaveLength(1)
    process.kill(old, 'SIGKILL')
    const ended = await host.action(old, 'process-ended')
    expect(ended.process?.entity_id).toBe(known)
  })

  it('leaves no sensor behind when it stops', async () => {
    const host = await new WatchedHost().start()
    const pid = sensorPid()
    expect(pid).toBeDefined()
    await host[Symbol.asyncDispose]()
    expect(readdirSync('/proc')).not.toContain(String(pid))
  })

  it('leaves no sensor behind when the agent is killed', async () => {
    const play = join(folder, 'agent.ts')
    writeFileSync(
      play,
      `import { WatchedHost } from '${join(import.meta.dirname, 'watched-host.fixture.ts')}'
await new WatchedHost().start()
console.log('up')
setInterval(() => undefined, 1_000)`,
    )
    const child = spawn(process.execPath, [play], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    await once(child.stdout ?? child, 'data')
    const below = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'latin1').trim().split(' ')
    expect(below[0]).not.toBe('')
    child.kill('SIGKILL')
    await waitFor('the end of the sensor', () =>
      below.every((pid) => !readdirSync('/proc').includes(pid)) ? true : undefined,
    )
  })
})

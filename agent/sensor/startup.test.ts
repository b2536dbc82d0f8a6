import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { noSensor, RunningSensor, startSensor } from '../src/collectors/kernel/sensor.fixture.ts'
import { BUILT_SENSOR } from './build-sensor.ts'

const why = noSensor()

describe.skipIf(why)(`starting and ending the kernel sensor${why ? ` (skipped: ${why})` : ''}`, () => {
  it('says which sources it has, and its version', async () => {
    await using sensor = new RunningSensor()
    const hello = await sensor.next('hello', () => true, 0, 15_000)
    expect(hello.sources.filter(({ attached }) => !attached)).toEqual([])
    expect(hello.sources.length).toBe(11)
    expect(hello.pid).toBe(sensor.pid)
  })

  it('says that it may not, in every source, and ends with 77', async () => {
    await using sensor = new RunningSensor([], ['setpriv', '--reuid', '65534', '--clear-groups'])
    const ended = once(sensor.child, 'exit')
    const hello = await sensor.next('hello', () => true, 0, 15_000)
    expect(
      hello.sources.every(({ attached, error, why: reason }) => !attached && error === 1 && reason.includes('CAP_BPF')),
    ).toBe(true)
    expect(await ended).toEqual([77, null])
    expect(sensor.stderr).toContain('no permission')
  })

  it('says that the kernel tells no types, and ends with 69', async () => {
    await using sensor = new RunningSensor(
      [],
      ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /sys/kernel/btf && exec "$0" "$@"'],
    )
    const ended = once(sensor.child, 'exit')
    const hello = await sensor.next('hello', () => true, 0, 15_000)
    expect(
      hello.sources.every(({ attached, why: reason }) => !attached && reason.includes('CONFIG_DEBUG_INFO_BTF')),
    ).toBe(true)
    expect(await ended).toEqual([69, null])
  })

  it('ends when its configuration ends, and takes its programs out of the kernel', async () => {
    const sensor = await startSensor()
    const ended = once(sensor.child, 'exit')
    sensor.child.stdin?.end()
    expect(await ended).toEqual([0, null])
    expect(sensor.stderr).toBe('')
  })

  it('ends with the agent, also when the agent is killed', async () => {
    // Of a process group of its own: what outlives the parent is ended with it, and keeps nothing of this test open.
    const parent = spawn('sh', ['-c', `sleep 100 | ${BUILT_SENSOR} | cat >/dev/null & echo; wait`], {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    })
    try {
      await once(parent.stdout, 'data')
      const find = () =>
        spawnSync('pgrep', ['-P', String(parent.pid), '-f', BUILT_SENSOR], { encoding: 'utf8' }).stdout.trim()
      for (let n = 0; n < 200 && find() === ''; n++) await sleep(20)
      const pid = find()
      expect(pid).not.toBe('')
      await sleep(300)
      parent.kill('SIGKILL')
      for (let n = 0; n < 200 && existsSync(`/proc/${pid}`); n++) await sleep(20)
      expect(existsSync(`/proc/${pid}`)).toBe(false)
    } finally {
      if (parent.pid !== undefined) process.kill(-parent.pid, 'SIGKILL')
    }
  })

  it('keeps no privilege but those for its maps and for looking at watched paths', async () => {
    await using sensor = await startSensor()
    const status = readFileSync(`/proc/${sensor.pid}/status`, 'utf8')
    const caps = BigInt(`0x${/CapEff:\s+(\w+)/.exec(status)?.[1]}`)
    // CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_BPF.
    expect(caps).toBe((1n << 2n) | (1n << 38n) | (1n << 39n))
    expect(status).toContain('NoNewPrivs:\t1')
  })

  it.each([
    ['a frame that is too long', Buffer.from([0xff, 0xff, 0xff, 0x7f])],
    ['an unknown version', frame([9, 0, 0, 0, 1_000, 0])],
    ['an unknown switch', frame([1, 0x100, 0, 0, 1_000, 0])],
    ['more paths than there are', frame([1, 0, 0, 0, 1_000, 3])],
    ['bytes after the paths', frame([1, 0, 0, 0, 1_000, 0, 0])],
  ])('ends with 65 on %s', async (_what, bytes) => {
    await using sensor = new RunningSensor()
    await sensor.next('hello', () => true, 0, 15_000)
    const ended = once(sensor.child, 'exit')
    sensor.child.stdin?.write(bytes)
    expect(await ended).toEqual([65, null])
    expect(sensor.stderr).toContain('wrong configuration')
  })

  it('tells nothing before it is configured, and nothing that is switched off', async () => {
    await using sensor = new RunningSensor()
    await sensor.next('hello', () => true, 0, 15_000)
    spawnSync('/bin/true')
    await sleep(100)
    expect(sensor.records.map(({ kind }) => kind)).toEqual(['hello'])
    await sensor.configure({
      switches: { process: false, network: false, dns: false, file: false, kernelCalls: false },
    })
    spawnSync('/bin/true')
    await sensor.settled()
    expect(sensor.records.filter(({ kind }) => kind !== 'hello' && kind !== 'configured' && kind !== 'stats')).toEqual(
      [],
    )
  })
})

function frame(numbers: readonly number[]): Buffer {
  const body = Buffer.concat(
    numbers.map((number) => {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(number)
      return bytes
    }),
  )
  const length = Buffer.alloc(4)
  length.writeUInt32LE(body.length)
  return Buffer.concat([length, body])
}

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EVERYTHING, noSensor, type RunningSensor, startSensor } from '../src/collectors/kernel/sensor.fixture.ts'
import type { SensorText } from '../src/collectors/kernel/record-reader.ts'
import { buildStorm } from './testing/build-storm.ts'

const text = ({ bytes }: SensorText) => Buffer.from(bytes).toString('latin1')
const why = noSensor()

describe.skipIf(why)(`the kernel sensor on calls into the kernel${why ? ` (skipped: ${why})` : ''}`, () => {
  let sensor: RunningSensor
  beforeAll(async () => {
    sensor = await startSensor({ switches: { ...EVERYTHING.switches, network: false, dns: false, file: false } })
  }, 30_000)
  afterAll(async () => await sensor?.[Symbol.asyncDispose]())

  it('tells a file that lives in memory', async () => {
    spawnSync(buildStorm(), ['memory'])
    const told = await sensor.next('memfd-create', ({ name }) => text(name) === 'innocent')
    expect(Buffer.from(told.actor?.comm ?? []).toString()).toBe('storm')
  })

  it('tells mounts and unmounts, new namespaces and joining one', async () => {
    const from = sensor.records.length
    const other = spawn('unshare', [
      '--mount',
      '--net',
      'sh',
      '-c',
      'mount -t tmpfs firebreak-test /mnt && umount /mnt && echo ready && sleep 30',
    ])
    await once(other.stdout, 'data')
    const joined = spawnSync('nsenter', ['-t', String(other.pid), '-n', 'true'])
    expect(joined.status).toBe(0)
    const unshared = await sensor.next('unshare', ({ actor }) => actor?.pid === other.pid, from)
    // CLONE_NEWNS and CLONE_NEWNET.
    expect(unshared.args[0]).toBe(0x4002_0000n)
    const mounted = await sensor.next('mount', ({ detail }) => text(detail) === 'firebreak-test', from)
    expect([text(mounted.name), text(mounted.path)]).toEqual(['tmpfs', '/mnt'])
    await sensor.next(
      'unmount',
      ({ actor, path }) => actor?.ppid === mounted.actor?.ppid && text(path) === '/mnt',
      from,
    )
    const setns = await sensor.next(
      'setns',
      ({ actor }) => actor?.namespaces.net === unshared.actor?.namespaces.net,
      from,
    )
    expect(setns.actor?.ppid).toBe(process.pid)
    other.kill('SIGKILL')
  })

  it('tells a change of account, before and after', async () => {
    const done = spawnSync('perl', ['-e', 'print $$; $) = "65534 65534"; $( = 65534; $< = $> = 65534'])
    const pid = Number(String(done.stdout))
    const told = await sensor.next('credentials', ({ actor }) => actor?.pid === pid && actor.euid === 65_534)
    expect(told.old.euid).toBe(0)
    expect(told.old.capEffective).toBeGreaterThan(0n)
    expect(told.actor?.capEffective).toBe(0n)
  })

  it('tells who attaches to another process', async () => {
    const target = spawn('sleep', ['30'])
    await sensor.next('exec', ({ actor }) => actor?.pid === target.pid)
    // ptrace(PTRACE_SEIZE, target) and its end with the caller.
    const number = process.arch === 'arm64' ? 117 : 101
    spawnSync('perl', ['-e', `syscall(${number}, 0x4206, ${target.pid}, 0, 0)`])
    const told = await sensor.next('ptrace', ({ target: whom }) => whom?.pid === target.pid)
    expect(told).toMatchObject({ result: 0n })
    expect(told.args[0]).toBe(0x4206n)
    target.kill('SIGKILL')
  })

  it('tells programs loaded into the kernel by others, not its own', async () => {
    const from = sensor.records.length
    await using other = await startSensor()
    const loaded = await sensor.next('bpf-load', ({ name }) => text(name) === 'on_exec', from)
    expect(loaded.actor?.pid).toBe(other.pid)
    // BPF_PROG_TYPE_TRACING.
    expect(loaded.args[0]).toBe(26n)
    expect(sensor.of('bpf-load').filter(({ actor }) => actor?.pid === sensor.pid)).toEqual([])
  }, 30_000)

  it('tells an attempt to load a module that fails', async () => {
    const number = process.arch === 'arm64' ? 273 : 313
    const done = spawnSync('perl', [
      '-e',
      `open F, '<', '/bin/true'; syscall(${number}, fileno F, my $p = 'evil=1', 0); print $$`,
    ])
    const told = await sensor.next('module-load', ({ actor }) => actor?.pid === Number(String(done.stdout)))
    expect(told.result).toBeLessThan(0n)
    expect([text(told.path), text(told.detail)]).toEqual(['/usr/bin/true', 'evil=1'])
  })
})

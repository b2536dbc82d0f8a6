import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { EVERYTHING, noSensor, RunningSensor } from '../src/collectors/kernel/sensor.fixture.ts'
import { buildStorm } from './testing/build-storm.ts'

const why = noSensor()
const PROCESSES = 1_500

/** A sensor that is alone in a pid namespace of its own, so that nobody else's processes are in its counts. */
async function aloneSensor(args: readonly string[]): Promise<{ sensor: RunningSensor; inside: string }> {
  const sensor = new RunningSensor(args, ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'])
  await sensor.next('hello', () => true, 0, 15_000)
  await sensor.configure({
    switches: { ...EVERYTHING.switches, file: false, network: false, dns: false, kernelCalls: false },
  })
  const inside = execFileSync('pgrep', ['-P', String(sensor.pid)], { encoding: 'utf8' }).trim()
  return { sensor, inside }
}

describe.skipIf(why)(`a kernel sensor whose reader is stuck${why ? ` (skipped: ${why})` : ''}`, () => {
  it('counts exactly what did not fit, keeps its memory, and goes on when the reader does', async () => {
    const { sensor, inside } = await aloneSensor(['--ring-process-kib', '64'])
    await using _ = sensor
    const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${inside}/status`, 'utf8'))?.[1])
    const storm = async (count: number) => {
      const child = spawn('nsenter', ['-t', inside, '-p', '-m', buildStorm(), 'processes', String(count), '0'], {
        stdio: 'ignore',
      })
      await once(child, 'exit')
    }
    await storm(1)
    const before = memory()
    sensor.pause()
    await storm(PROCESSES)
    expect(memory()).toBeLessThan(before + 1_024)
    sensor.resume()
    await sleep(300)
    const stats = await sensor.settled()
    const { submitted, dropped, forwarded } = stats.classes.process
    expect(dropped).toBeGreaterThan(0)
    // Two storms and what they started: a start, a program and an end each.
    expect(submitted + dropped).toBe(3 * (PROCESSES + 1 + 2))
    expect(forwarded).toBe(submitted)
    const told = sensor.records.filter(({ kind }) => kind === 'exec' || kind === 'fork' || kind === 'exit')
    expect(told.length).toBe(submitted)
    await storm(100)
    const after = await sensor.settled()
    expect(after.classes.process).toMatchObject({ dropped, submitted: submitted + 3 * 101 })
  }, 90_000)

  it('numbers records so that a hole shows where some are missing', async () => {
    const { sensor, inside } = await aloneSensor(['--ring-process-kib', '64'])
    await using _ = sensor
    sensor.pause()
    await once(
      spawn('nsenter', ['-t', inside, '-p', '-m', buildStorm(), 'processes', '1000', '0'], { stdio: 'ignore' }),
      'exit',
    )
    sensor.resume()
    await sleep(300)
    await once(
      spawn('nsenter', ['-t', inside, '-p', '-m', 'taskset', '-c', '0,1', buildStorm(), 'processes', '50', '0'], {
        stdio: 'ignore',
      }),
      'exit',
    )
    const { dropped } = (await sensor.settled()).classes.process
    const last = new Map<number, bigint>()
    let missing = 0n
    for (const record of sensor.records) {
      if (record.kind !== 'exec' && record.kind !== 'fork' && record.kind !== 'exit') continue
      missing += record.seq - (last.get(record.cpu) ?? 0n) - 1n
      last.set(record.cpu, record.seq)
    }
    expect(dropped).toBeGreaterThan(0)
    expect(Number(missing)).toBe(dropped)
  }, 90_000)
})

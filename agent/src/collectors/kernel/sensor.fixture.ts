/** A real sensor under test: built, started, configured, its records decoded as they come. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildSensor } from '../../../sensor/build-sensor.ts'
import { decodeSensorRecord } from './decode-record.ts'
import { encodeSensorConfiguration, type SensorConfiguration } from './sensor-configure.ts'
import { SensorFrames } from './sensor-frames.ts'
import { SENSOR_CLASSES, type SensorRecord, type SensorStats } from './sensor-records.ts'

export type RecordOf<K extends SensorRecord['kind']> = SensorRecord extends infer R
  ? R extends SensorRecord
    ? K extends R['kind']
      ? R
      : never
    : never
  : never

export const EVERYTHING: SensorConfiguration = {
  switches: { process: true, network: true, dns: true, file: true, kernelCalls: true },
  excludedPid: 0,
  coalesceUs: 1_000,
  statsIntervalMs: 100,
  paths: [],
}

/** Why there can be no sensor here; undefined when there can. */
export function noSensor(): string | undefined {
  if (process.getuid?.() !== 0) return 'loading programs into the kernel needs root'
  const built = buildSensor()
  return built.ok ? undefined : built.why
}

export class RunningSensor implements AsyncDisposable {
  readonly records: SensorRecord[] = []
  readonly child: ChildProcess
  stderr = ''
  readonly #frames = new SensorFrames()

  constructor(args: readonly string[] = [], command: readonly string[] = []) {
    const built = buildSensor()
    if (!built.ok) throw new Error(built.why)
    const [program, ...rest] = [...command, built.value, ...args] as [string, ...string[]]
    this.child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.child.stdin?.on('error', () => undefined)
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString()
    })
    this.child.stdout?.on('data', (chunk: Buffer) => {
      const pushed = this.#frames.push(chunk, (frame) => {
        const record = decodeSensorRecord(frame)
        if (!record.ok) throw new Error(`${record.code}: ${record.why}`)
        this.records.push(record.value)
      })
      if (!pushed.ok) throw new Error(`${pushed.code}: ${pushed.why}`)
    })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  /** Not reading: what the agent does when it is stuck. */
  pause(): void {
    this.child.stdout?.pause()
  }

  resume(): void {
    this.child.stdout?.resume()
  }

  async configure(configuration: Partial<SensorConfiguration> = {}): Promise<RecordOf<'configured'>> {
    const encoded = encodeSensorConfiguration({ ...EVERYTHING, ...configuration })
    if (!encoded.ok) throw new Error(encoded.why)
    const from = this.records.length
    this.child.stdin?.write(encoded.value)
    return await this.next('configured', () => true, from)
  }

  of<K extends SensorRecord['kind']>(kind: K): readonly RecordOf<K>[] {
    return this.records.filter((record): record is RecordOf<K> & SensorRecord => record.kind === kind)
  }

  async next<K extends SensorRecord['kind']>(
    kind: K,
    matches: (record: RecordOf<K>) => boolean = () => true,
    from = 0,
    withinMs = 5_000,
  ): Promise<RecordOf<K>> {
    const end = Date.now() + withinMs
    for (;;) {
      const found = this.records
        .slice(from)
        .find((one): one is RecordOf<K> & SensorRecord => one.kind === kind && matches(one as RecordOf<K>))
      if (found) return found
      if (Date.now() > end)
        throw new Error(
          `no such ${kind} record within ${withinMs} ms; ${this.records.length} others; stderr: ${this.stderr}`,
        )
      await sleep(5)
    }
  }

  /** Stats after everything that the kernel had told until now was forwarded. */
  async settled(): Promise<SensorStats> {
    // Older ones may still wait to be read: the clock of both is CLOCK_MONOTONIC.
    const now = process.hrtime.bigint()
    const until = await this.next('stats', ({ monotonicNs }) => monotonicNs > now, this.records.length)
    const isDone = ({ classes }: SensorStats) =>
      SENSOR_CLASSES.every((one) => classes[one].forwarded >= until.classes[one].submitted)
    return isDone(until) ? until : await this.next('stats', isDone, this.records.indexOf(until), 10_000)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = once(this.child, 'exit')
    this.resume()
    this.child.stdin?.end()
    await ended
  }
}

export async function startSensor(
  configuration: Partial<SensorConfiguration> = {},
  args: readonly string[] = [],
): Promise<RunningSensor> {
  const sensor = new RunningSensor(args)
  await sensor.next('hello', () => true, 0, 15_000)
  await sensor.configure(configuration)
  return sensor
}

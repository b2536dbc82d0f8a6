/** What the agent tells the sensor on its standard input (`struct fb_configure` of agent/sensor/src/records.h). */
import { ok, refuse, type Result } from '@firebreak/shared/result.ts'
import { SENSOR_PROTOCOL_VERSION } from './sensor-records.ts'

export const SENSOR_PATHS_MAX = 64
const PATH_MAX_BYTES = 4_096

const SWITCHES = { process: 0x1, network: 0x2, dns: 0x4, file: 0x8, kernelCalls: 0x10 } as const
export type SensorSwitch = keyof typeof SWITCHES

export interface SensorConfiguration {
  readonly switches: Readonly<Record<SensorSwitch, boolean>>
  /** Whose file and DNS events are not told: the agent's own pid. 0: nobody's. */
  readonly excludedPid: number
  /** How long the sensor gathers records after it wrote some, 0..100000. */
  readonly coalesceUs: number
  /** 100..600000. */
  readonly statsIntervalMs: number
  /** Absolute folders or files; what happens to them and below them is told. */
  readonly paths: readonly Uint8Array[]
}

export type ConfigureRefusal = 'too_many_paths' | 'bad_path' | 'bad_number'

/** One frame for the sensor's standard input. The whole configuration each time. */
export function encodeSensorConfiguration(configuration: SensorConfiguration): Result<Uint8Array, ConfigureRefusal> {
  const { switches, excludedPid, coalesceUs, statsIntervalMs, paths } = configuration
  if (paths.length > SENSOR_PATHS_MAX)
    return refuse('too_many_paths', `${paths.length} paths; the sensor watches at most ${SENSOR_PATHS_MAX}`)
  for (const path of paths)
    if (path[0] !== 0x2f || path.length > PATH_MAX_BYTES || path.includes(0))
      return refuse('bad_path', `${Buffer.from(path).toString('latin1').slice(0, 200)} is no absolute path`)
  if (!isWithin(excludedPid, 0, 0xffff_ffff)) return refuse('bad_number', `excludedPid ${excludedPid}`)
  if (!isWithin(coalesceUs, 0, 100_000)) return refuse('bad_number', `coalesceUs ${coalesceUs}`)
  if (!isWithin(statsIntervalMs, 100, 600_000)) return refuse('bad_number', `statsIntervalMs ${statsIntervalMs}`)
  let bits = 0
  for (const [name, bit] of Object.entries(SWITCHES)) if (switches[name as SensorSwitch]) bits |= bit
  const numbers = [SENSOR_PROTOCOL_VERSION, bits, excludedPid, coalesceUs, statsIntervalMs, paths.length]
  const body = Buffer.concat([...numbers.map(u32), ...paths.flatMap((path) => [u32(path.length), path])])
  return ok(Buffer.concat([u32(body.length), body]))
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

/** The engine that the configuration asks for. */
import { readFileSync } from 'node:fs'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import { openTelemetryStore } from './chdb-store.ts'
import { openClickhouseEngine } from './clickhouse-engine.ts'
import { openStore } from './clickhouse-store.ts'
import type { TelemetryConfig } from './telemetry-config.ts'
import type { TelemetryStore } from './telemetry-store.ts'

/** Faults: those of the engines; `bad_config` when the password cannot be read. */
export async function openTelemetry(
  config: Pick<TelemetryConfig, 'clickhouse_url' | 'clickhouse_user' | 'clickhouse_password_file'>,
  dir: string,
): Promise<TelemetryStore> {
  if (config.clickhouse_url === undefined) return await openTelemetryStore(dir)
  return await openStore(
    await openClickhouseEngine({
      url: config.clickhouse_url,
      username: config.clickhouse_user,
      password: passwordOf(config.clickhouse_password_file),
    }),
  )
}

function passwordOf(file: string | undefined): string {
  if (file === undefined) return ''
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new Fault('bad_config', `telemetry.clickhouse_password_file cannot be read: ${reasonOf(cause)}`, { cause })
  }
}

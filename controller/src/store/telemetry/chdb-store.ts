import { openChdbEngine } from './chdb-engine.ts'
import { openStore } from './clickhouse-store.ts'
import type { TelemetryStore } from './telemetry-store.ts'

/** Events in this process, in one directory. Faults: `telemetry_unsupported`, `telemetry_unreadable`. */
export async function openTelemetryStore(dir: string): Promise<TelemetryStore> {
  return await openStore(await openChdbEngine(dir))
}

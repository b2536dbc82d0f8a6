import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterTables, beforeTables } from './chdb-damage.ts'
import { openChdbEngine } from './chdb-engine.ts'
import { openStore } from './clickhouse-store.ts'
import { writeLedger } from './part-ledger.ts'
import type { TelemetryStore } from './telemetry-store.ts'

/** Events in this process, in one directory. Faults: `telemetry_unsupported`, `telemetry_unreadable`, `telemetry_damaged`. */
export async function openTelemetryStore(dir: string, lookFirstAt?: number): Promise<TelemetryStore> {
  // What a backup that was cut off froze; hard links only.
  rmSync(join(dir, 'shadow'), { recursive: true, force: true })
  const engine = await openChdbEngine(dir)
  let ledger: Awaited<ReturnType<typeof beforeTables>>
  try {
    ledger = await beforeTables(engine, dir)
  } catch (thrown) {
    await engine.close()
    throw thrown
  }
  const store = await openStore(engine, { dir, remember: (days) => writeLedger(dir, days) }, lookFirstAt)
  try {
    await afterTables(engine, store, dir, ledger)
  } catch (thrown) {
    await engine.close()
    throw thrown
  }
  return store
}

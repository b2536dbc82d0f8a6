/** Parts of a backup into a new store: the engine takes each in by itself and checks it, so that the files of one version fit the next. */
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Fault } from '@firebreak/shared/result.ts'
import { openChdbEngine } from '../telemetry/chdb-engine.ts'
import { openTelemetryStore } from '../telemetry/chdb-store.ts'
import { DATABASE } from '../telemetry/event-table.ts'
import { FROZEN_TABLES } from '../telemetry/telemetry-store.ts'
import { copyFile, filesUnder } from './backup-files.ts'
import type { Manifest } from './manifest.ts'

type Days = NonNullable<Manifest['telemetry']>['days']

/** Fault `backup_invalid` when what was taken in is not what the backup says it holds. */
export async function attachParts(from: string, dir: string, days: Days): Promise<void> {
  // Makes the tables.
  await (await openTelemetryStore(dir)).close()
  const engine = await openChdbEngine(dir)
  try {
    for (const table of FROZEN_TABLES) {
      const parts = existsSync(join(from, table)) ? await readdir(join(from, table)) : []
      const text = await engine.read({
        sql: 'select data_paths[1] as path from system.tables where database = {database:String} and name = {table:String}',
        params: { database: DATABASE, table },
        settings: {},
      })
      const { path } = JSON.parse(text) as { path: string }
      for (const part of parts) {
        if (!/^\w+$/.test(part)) throw new Fault('backup_invalid', `${part} is no name of a part`)
        for (const file of await filesUnder(join(from, table, part)))
          await copyFile(join(from, table, part, file), join(path, 'detached', basename(part), file))
        await engine.command(`alter table ${DATABASE}.${table} attach part '${part}'`)
      }
    }
  } finally {
    await engine.close()
  }
  const store = await openTelemetryStore(dir)
  try {
    const held = new Map((await store.stats()).days.map((part) => [`${part.day} ${part.class}`, part.events]))
    for (const { day, class: name, events } of days)
      if (held.get(`${day} ${name}`) !== events)
        throw new Fault(
          'backup_invalid',
          `${day} ${name}: ${held.get(`${day} ${name}`) ?? 0} of ${events} events came back`,
        )
  } finally {
    await store.close()
  }
}

/** What the store holds, a day of arrival and a class at a time; from the engine's own list of parts, so it costs no reading of events. */
import { DATABASE } from './event-table.ts'
import type { ClassStats, TelemetryStats, TelemetryStore } from './telemetry-store.ts'
import { Fault } from '@firebreak/shared/result.ts'

const LIMITS = { rows: 200_000 } as const

interface Row {
  readonly partition: string
  readonly events: number
  readonly bytes: number
  readonly parts: number
}

export async function readStats(store: Pick<TelemetryStore, 'select'>): Promise<TelemetryStats> {
  const rows = await store.select<Row & { readonly table: string }>(
    {
      sql: `select table, partition, toFloat64(sum(rows)) as events, toFloat64(sum(bytes_on_disk)) as bytes, toFloat64(count()) as parts
        from system.parts where active and database = {database:String} group by table, partition order by table, partition`,
      params: { database: DATABASE },
    },
    LIMITS,
  )
  if (!rows.ok) throw new Fault('telemetry_timeout', rows.why)
  const days: ClassStats[] = []
  for (const { table, partition, events, bytes, parts } of rows.value) {
    // (20260301,'process'): how the engine writes the values of the partition key.
    const [, day, name] = /^\((\d{8}),'([^']*)'\)$/.exec(partition) ?? []
    if (table === 'events' && day !== undefined && name !== undefined)
      days.push({ day: `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`, class: name, events, bytes, parts })
  }
  const retainedSince: Record<string, string> = {}
  for (const { day, class: name } of days)
    if (!(name in retainedSince) || day < (retainedSince[name] ?? '')) retainedSince[name] = day
  return {
    events: days.reduce((sum, { events }) => sum + events, 0),
    bytes: rows.value.reduce((sum, { bytes }) => sum + bytes, 0),
    parts: rows.value.reduce((sum, { parts }) => sum + parts, 0),
    days,
    retainedSince,
  }
}

/** A telemetry store with many events in it before anything is measured: filled inside the engine, past its interface. */
import { drainPending, Session } from 'chdb'
import { openTelemetryStore } from './chdb-store.ts'
import { DATABASE, EVENTS } from './event-table.ts'

/** As many rows are written; more are the same parts attached again, which takes no time and no disk. */
const MAX_WRITTEN = 1_000_000
const FILLING = `${DATABASE}.filling`

/** `event`: one event as JSON in which `@N@` stands for its number. They are of the class process, came yesterday and belong to 100 hosts. */
export async function fillStore(dir: string, events: number, event: string): Promise<void> {
  const store = await openTelemetryStore(dir)
  await store.close()
  const session = new Session(dir)
  try {
    const written = Math.min(events, MAX_WRITTEN)
    await session.queryAsync(`create table ${FILLING} as ${EVENTS}`)
    await session.queryBindAsync(
      `insert into ${FILLING} (agent_id, epoch, class, seq, ingested, raw)
      select concat('filledfilledfilledfilled', leftPad(toString(number % 100), 2, '0')), toUUID('0190a000-0000-7000-8000-000000000000'),
        'process', number + 1, now64(3) - interval 1 day, replaceAll({event:String}, '@N@', toString(number))
      from numbers(${written})`,
      { event },
    )
    const found = await session.queryAsync(
      `select distinct partition_id from system.parts where active and database = '${DATABASE}' and table = 'filling'`,
      { format: 'JSONEachRow' },
    )
    const partitions = found
      .text()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { partition_id: string }).partition_id)
    // As after weeks: the parts of then are as large as they become. Merged meanwhile, they would be measured and not what comes in.
    for (const partition of partitions)
      await session.queryAsync(`optimize table ${FILLING} partition id '${partition}' final`)
    const size = await session.queryAsync(
      `select toFloat64(min(bytes_on_disk)) as bytes from system.parts where active and database = '${DATABASE}' and table = 'filling'`,
      { format: 'JSONEachRow' },
    )
    const { bytes } = JSON.parse(size.text()) as { bytes: number }
    await session.queryAsync(
      `alter table ${EVENTS} modify setting max_bytes_to_merge_at_max_space_in_pool = ${bytes}, max_bytes_to_merge_at_min_space_in_pool = ${Math.min(bytes, 1_048_576)}`,
    )
    for (let done = 0; done < events; done += written)
      for (const partition of partitions)
        await session.queryAsync(`alter table ${EVENTS} attach partition id '${partition}' from ${FILLING}`)
    await session.queryAsync(`drop table ${FILLING} sync`)
  } finally {
    session.close()
    await drainPending()
  }
}

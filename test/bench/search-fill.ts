/** Fills a store with days of events, a part a day and class as merges leave it, which is what all days but the last look like. */
import { openChdbEngine } from '@firebreak/controller/src/store/telemetry/chdb-engine.ts'
import { DATABASE, EVENTS, eventsTable, SEEN, seenIn } from '@firebreak/controller/src/store/telemetry/event-table.ts'
import { dropStatement } from '@firebreak/controller/src/store/telemetry/retention.ts'
import { CLASSES, DAYS, dayText, insertStatement } from './search-events.ts'

/** Merges make granules of so many events; a block that is inserted as it is would have eight times as many. */
const GRANULE = ', index_granularity = 1024'
const FILLING = `${DATABASE}.filling`

/** Days that are there already stay. Returns the events made in a second; 0 when there was nothing to do. */
export async function fillDays(dir: string, total: number, say: (line: string) => void): Promise<number> {
  const engine = await openChdbEngine(dir)
  const perDay = Math.floor(total / DAYS)
  const started = performance.now()
  let made = 0
  const partitions = async (table: string) =>
    (
      await engine.read({
        sql: `select distinct partition_id as id from system.parts
          where active and database = '${DATABASE}' and table = '${table}' order by id`,
        params: {},
        settings: {},
      })
    )
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { id: string }).id)
  try {
    await engine.command(`drop table if exists ${FILLING} sync`)
    await engine.command(eventsTable(FILLING, GRANULE))
    const there = (await partitions('events')).length / Object.keys(CLASSES).length
    for (let day = Math.floor(there); day < DAYS; day++) {
      // What a fill that was cut off left of it.
      for (const eventClass of Object.keys(CLASSES)) await engine.command(dropStatement(dayText(day), eventClass))
      for (const eventClass of Object.keys(CLASSES) as (keyof typeof CLASSES)[])
        await engine.command(insertStatement(FILLING, eventClass, day * perDay, perDay, day))
      await engine.command(`insert into ${SEEN} ${seenIn(FILLING)}`)
      for (const id of await partitions('filling'))
        await engine.command(`alter table ${EVENTS} attach partition id '${id}' from ${FILLING}`)
      await engine.command(`truncate table ${FILLING} sync`)
      made += perDay
      if (day % 7 === 6) say(`${(day + 1) * perDay} events made`)
    }
    await engine.command(`drop table ${FILLING} sync`)
  } finally {
    await engine.close()
  }
  return made / ((performance.now() - started) / 1_000)
}

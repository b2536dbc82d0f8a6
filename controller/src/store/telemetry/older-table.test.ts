import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drainPending, Session } from 'chdb'
import { expect, it } from 'vitest'
import { openTelemetryStore } from './chdb-store.ts'
import { definitions, EVENTS } from './event-table.ts'

const EPOCH = '01a20d6d-5b90-7c9b-8378-2e328fd2af15'

it('opens a store that an older version made, keeps its events, and merges from then on into small granules', async () => {
  const oldDir = mkdtempSync(join(tmpdir(), 'fb-older-'))
  const older = new Session(oldDir)
  for (const statement of definitions().filter((text) => !text.startsWith('alter')))
    await older.queryAsync(statement.replace(/min_bytes_for_wide_part = [^]*$/, 'min_bytes_for_wide_part = 268435456'))
  const settings = async (of: Session) =>
    (
      await of.queryAsync("select engine_full from system.tables where database = 'firebreak' and name = 'events'", {
        format: 'TSVRaw',
      })
    ).text()
  expect(await settings(older)).not.toContain('merge_max_block_size')
  const fill = (from: number) => `insert into ${EVENTS} (agent_id, epoch, class, seq, ingested, raw)
    select leftPad(toString(number % 200), 26, 'a'), '${EPOCH}', 'process', ${from} + number, toDateTime64('2026-03-01 10:00:00', 3, 'UTC'),
      concat('{"@timestamp":"2026-03-01T10:00:00Z","message":"older ', repeat(toString(sipHash64(number)), 40), '"}') from numbers(60000)`
  await older.queryAsync(fill(0))
  older.close()
  await drainPending()
  const again = await openTelemetryStore(oldDir)
  const now = new Session(oldDir)
  try {
    expect(await settings(now)).toContain('merge_max_block_size = 1024')
    expect(await again.count()).toBe(60_000)
    await now.queryAsync(fill(60_000))
    await now.queryAsync(fill(120_000))
    await now.queryAsync(`optimize table ${EVENTS} final`)
    const [part] = await again
      .select<{ rows: number; marks: number }>({
        sql: "select toFloat64(rows) as rows, toFloat64(marks) as marks from system.parts where active and table = 'events'",
        params: {},
      })
      .then((answer) => (answer.ok ? answer.value : []))
    expect(part).toMatchObject({ rows: 180_000 })
    expect(180_000 / (part?.marks ?? 1)).toBeLessThan(1_100)
    expect(await again.search({ text: 'older', limit: 3 })).toHaveLength(3)
  } finally {
    now.close()
    await again.close()
    await drainPending()
    rmSync(oldDir, { recursive: true, force: true })
  }
}, 120_000)

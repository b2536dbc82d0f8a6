/** Looks into a telemetry store that nobody has open, past its interface, for tests that must not believe it. */
import { drainPending, Session } from 'chdb'

export async function countStored(dir: string): Promise<{ readonly events: number; readonly distinct: number }> {
  const session = new Session(dir)
  try {
    const answer = await session.queryAsync(
      'select toFloat64(count()) as events, toFloat64(uniqExact(agent_id, epoch, class, seq)) as distinct from firebreak.events',
      { format: 'JSONEachRow' },
    )
    return JSON.parse(answer.text()) as { events: number; distinct: number }
  } finally {
    session.close()
    await drainPending()
  }
}

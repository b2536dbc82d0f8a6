/**
 * Shows events as they come in, by asking again. Told apart by when the controller took them in, not by the clocks of their hosts: what
 * an offline host sends late is shown too.
 */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { ApiClient, Query } from './api-client.ts'
import type { Cli } from './session.ts'

const INTERVAL_MS = 2_000
/** An event is taken in before it can be found: so far back each question reaches. */
const OVERLAP_MS = 60_000
const MOST = 1_000

/** Until the program is ended. `show` gets them oldest first. */
export async function followEvents(
  cli: Cli,
  api: ApiClient,
  scope: Query,
  show: (events: readonly Event[]) => void,
): Promise<never> {
  const query = String(scope['query'] ?? '')
  let shown = new Set<string>()
  let first = true
  for (;;) {
    const since = new Date(cli.now() - OVERLAP_MS).toISOString()
    const recent = `event.ingested >= "${since}"`
    const events = await api.list<Event>(
      '/api/v1/events',
      { ...scope, query: query === '' ? recent : `(${query}) and ${recent}` },
      MOST,
    )
    const fresh = events.filter(({ event }) => !shown.has(event.id ?? ''))
    // What is forgotten is older than the next question reaches.
    shown = new Set(events.map(({ event }) => event.id ?? ''))
    if (!first && fresh.length > 0) show(fresh.toReversed())
    if (events.length === MOST)
      cli.io.say(`more than ${MOST} events in ${OVERLAP_MS / 1000} s match: some are not shown; narrow the query`)
    first = false
    await cli.sleep(INTERVAL_MS)
  }
}

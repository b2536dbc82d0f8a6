/** Telemetry as it arrives: one line that renews itself on a terminal, a line every few seconds elsewhere. */
import type { Event } from '@firebreak/shared/events/event.ts'
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Controller } from '../controller.ts'
import { severityOf } from '../api/alerts.ts'
import { whatOf } from './event-what.ts'
import { confidenceText, paintSeverity } from './severity.ts'
import type { Cli } from './session.ts'
import { fitText } from './terminal-text.ts'

const TERMINAL_MS = 1_000
const PIPE_MS = 5_000
/** Incidents that were told already; more than that in one run of a trial is not expected. */
const MAX_TOLD = 10_000

type Watched = Pick<Controller, 'state' | 'telemetry' | 'bus'>

export function showLive(cli: Cli, controller: Watched): { stop(): Promise<void> } {
  const { io } = cli
  const onTerminal = io.outIsTerminal
  const periodMs = onTerminal ? TERMINAL_MS : PIPE_MS
  const told = new Set<string>()
  const ending = new AbortController()
  let shown = false
  let before = new Map<string, number>()
  let last: string | undefined

  const tell = (text: string) => {
    if (onTerminal && shown) io.out('\r\u001B[2K')
    shown = false
    io.out(`${text}\n`)
  }
  const unsubscribe = controller.bus.subscribe('incident.changed', async ({ incidentId }) => {
    if (told.has(incidentId) || told.size >= MAX_TOLD) return
    told.add(incidentId)
    const row = await controller.state.db
      .selectFrom('incidents')
      .select(['title', 'severity', 'confidence', 'route'])
      .where('id', '=', incidentId)
      .executeTakeFirst()
    if (!row) return
    const severity = severityOf(row.severity)
    const badge = paintSeverity(io.colors, `incident ${severity}`, severity)
    tell(
      `${badge} ${confidenceText(row.confidence)}  ${fitText(row.title, 80)}\n  firebreak incidents show ${incidentId}`,
    )
  })

  let looking: Promise<void> = Promise.resolve()
  const look = async () => {
    try {
      const now = await countsOf(controller)
      last = (await lastStart(controller)) ?? last
      const line = lineOf(now, before, periodMs / 1000, last, io.columns)
      before = now
      shown = onTerminal
      io.out(onTerminal ? `\r\u001B[2K${line}` : `${line}\n`)
    } catch (thrown) {
      tell(`the live view failed: ${reasonOf(thrown)}`)
    }
  }
  void (async () => {
    while (!ending.signal.aborted) {
      await cli.sleep(periodMs)
      if (!ending.signal.aborted) await (looking = look())
    }
  })()

  return {
    async stop() {
      ending.abort()
      unsubscribe()
      // The stores are closed after this, so a look that is under way has to come back first.
      await looking
      if (shown) io.out('\n')
    },
  }
}

async function countsOf({ state }: Watched): Promise<Map<string, number>> {
  const rows = await state.db
    .selectFrom('streams')
    .select((eb) => ['class', eb.fn.sum<number>('stored').as('stored')])
    .groupBy('class')
    .execute()
  return new Map(rows.map((row) => [row.class, row.stored]))
}

async function lastStart({ telemetry }: Watched): Promise<string | undefined> {
  const [event]: readonly Event[] = await telemetry.search({
    class: 'process',
    fields: { 'event.type': 'start' },
    limit: 1,
  })
  return event === undefined ? undefined : whatOf(event)
}

function lineOf(
  now: ReadonlyMap<string, number>,
  before: ReadonlyMap<string, number>,
  seconds: number,
  last: string | undefined,
  columns: number,
): string {
  const total = [...now.values()].reduce((sum, count) => sum + count, 0)
  const rates = EVENT_CLASSES.filter((name) => now.has(name)).map((name) => {
    const rate = before.size === 0 ? 0 : ((now.get(name) ?? 0) - (before.get(name) ?? 0)) / seconds
    return `${name} ${rate >= 10 || rate === 0 ? Math.round(rate) : rate.toFixed(1)}/s`
  })
  const head = total === 0 ? 'waiting for the first events ...' : `${total} events stored  ${rates.join('  ')}`
  const room = columns - head.length - 10
  return last === undefined || room < 16 ? fitText(head, columns - 1) : `${head}  last: ${fitText(last, room)}`
}

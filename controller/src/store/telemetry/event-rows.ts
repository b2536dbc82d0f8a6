/** Events as rows: written for the engine on the way in, read from its answers on the way out. */
import type { Event } from '@firebreak/shared/events/event.ts'
import type { EventLine, FoundEvent } from './telemetry-store.ts'

export const INSERT_COLUMNS = ['agent_id', 'epoch', 'class', 'seq', 'ingested', 'raw'] as const

/** What `eventOf` needs, as the engine should select it. */
export const ROW_COLUMNS = `agent_id, toString(epoch) as epoch_text, class, toFloat64(seq) as seq_number,
  toFloat64(toUnixTimestamp64Milli(ingested)) as ingested_ms, toFloat64(toUnixTimestamp64Milli(time)) as time_ms, raw`

export interface EventRow {
  readonly agent_id: string
  readonly epoch_text: string
  readonly class: string
  readonly seq_number: number
  readonly ingested_ms: number
  readonly time_ms: number
  readonly raw: string
}

/**
 * Rows of JSONCompactEachRow, written into one buffer: joining three small ones an event costs more than all the rest.
 * Ids, numbers and times are ASCII.
 */
export function blockOf(events: readonly EventLine[]): Uint8Array {
  const leads: string[] = []
  let bytes = 0
  let of: EventLine | undefined
  let owner = ''
  for (const event of events) {
    if (of?.agentId !== event.agentId || of.epoch !== event.epoch || of.class !== event.class) {
      owner = JSON.stringify([event.agentId, event.epoch, event.class]).slice(0, -1)
      of = event
    }
    const lead = `${owner},${event.seq},"${event.ingestedAt.slice(0, 10)} ${event.ingestedAt.slice(11, 23)}",`
    leads.push(lead)
    bytes += lead.length + event.json.length + 2
  }
  const block = Buffer.allocUnsafe(bytes)
  let at = 0
  for (const [i, { json }] of events.entries()) {
    at += block.write(leads[i] ?? '', at, 'latin1')
    block.set(json, at)
    at += json.length
    block[at++] = 0x5d
    block[at++] = 0x0a
  }
  return block
}

export function eventOf(row: EventRow): FoundEvent {
  const event = JSON.parse(row.raw) as Event
  return {
    key: { timeMs: row.time_ms, agentId: row.agent_id, epoch: row.epoch_text, class: row.class, seq: row.seq_number },
    event: {
      ...event,
      event: {
        ...event.event,
        id: `${row.agent_id}:${row.epoch_text}:${row.class}:${row.seq_number}`,
        ingested: new Date(row.ingested_ms).toISOString(),
      },
      // Who it was is what the connection said, whatever the text says.
      host: { ...event.host, id: row.agent_id },
    },
  }
}

/** The rows of an answer in pieces as lines of events. */
export async function* eventLines(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (lines.length > 0) yield Buffer.from(lines.map(eventLine).join(''))
  }
  if (rest !== '') yield Buffer.from(eventLine(rest))
}

function eventLine(row: string): string {
  return `${JSON.stringify(eventOf(JSON.parse(row) as EventRow).event)}\n`
}

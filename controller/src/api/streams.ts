/** Whether every event is accounted for. */
import { EVENT_CLASSES } from '@firebreak/shared/events/classes.ts'
import type { Selectable } from 'kysely'
import { Type } from 'typebox'
import type { Tables } from '../store/state/tables.ts'
import { AgentIdText, closed, Count } from './schemas.ts'

export const Stream = closed(
  {
    agent_id: AgentIdText('Host.'),
    hostname: Type.String(),
    epoch: Type.String({ description: 'One run of numbers; a new spool begins a new one.' }),
    class: Type.Enum([...EVENT_CLASSES]),
    produced: Count('By the agent: as it said last, or more where more has come since.'),
    stored: Count('Durable here.'),
    spooled: Count('Waiting on the host: as it said last, less what has come since.'),
    dropped: Count('Told to be lost, and `invalid`.'),
    moved: Count('Of an epoch that has ended: events that went on in a later one.'),
    invalid: Count('Came and did not fit the schema.'),
    reported_dropped: Count('Lost on the host, as it said last.'),
    unaccounted: Count(
      'produced - stored - spooled - dropped - moved: anything above zero is an event that nobody can account for.',
    ),
    acked_seq: Count('Everything up to here is durable or known to be lost.'),
    updated_at: Type.String(),
  },
  'A stream of events.',
)

export type Stream = Type.Static<typeof Stream>

export function streamView(row: Selectable<Tables['streams']> & { readonly hostname: string }): Stream {
  // What the agent said is older than what came: the sum must hold on the page without its waiting for the next word.
  const moved = row.moved ?? 0
  const dropped = row.moved === null ? row.dropped : Math.max(row.dropped, row.reported_dropped)
  const known = row.stored + dropped + moved
  const produced = Math.max(row.produced, known)
  const spooled = Math.min(row.spooled, produced - known)
  return {
    agent_id: row.agent_id,
    hostname: row.hostname,
    epoch: row.epoch,
    class: EVENT_CLASSES.find((known) => known === row.class) ?? 'inventory',
    produced,
    stored: row.stored,
    spooled,
    dropped,
    moved,
    invalid: row.invalid,
    reported_dropped: row.reported_dropped,
    unaccounted: produced - known - spooled,
    acked_seq: row.acked_seq,
    updated_at: row.updated_at,
  }
}

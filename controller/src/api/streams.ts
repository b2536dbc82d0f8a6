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
    produced: Count('By the agent, as it said last.'),
    stored: Count('Durable here.'),
    spooled: Count('Waiting on the host, as it said last.'),
    dropped: Count('Told to be lost, and `invalid`.'),
    invalid: Count('Came and did not fit the schema.'),
    reported_dropped: Count('Lost on the host, as it said last.'),
    unaccounted: Count(
      'produced - stored - spooled - dropped: anything above zero is an event that nobody can account for.',
    ),
    acked_seq: Count('Everything up to here is durable or known to be lost.'),
    updated_at: Type.String(),
  },
  'A stream of events.',
)

export type Stream = Type.Static<typeof Stream>

export function streamView(row: Selectable<Tables['streams']> & { readonly hostname: string }): Stream {
  return {
    agent_id: row.agent_id,
    hostname: row.hostname,
    epoch: row.epoch,
    class: EVENT_CLASSES.find((known) => known === row.class) ?? 'inventory',
    produced: row.produced,
    stored: row.stored,
    spooled: row.spooled,
    dropped: row.dropped,
    invalid: row.invalid,
    reported_dropped: row.reported_dropped,
    unaccounted: Math.max(0, row.produced - row.stored - row.spooled - row.dropped),
    acked_seq: row.acked_seq,
    updated_at: row.updated_at,
  }
}

/** The body of a batch as it was kept: only lines that fitted, in the order of their numbers. */
import type { AgentId } from '@firebreak/shared/ids.ts'
import { batchSequence, type Gap } from '@firebreak/shared/wire/frame.ts'
import type { EventLine } from '../store/telemetry/telemetry-store.ts'
import type { BatchToRead } from './reader/read-batch.ts'

/** A row of `ingest_batches`, without its body. */
export interface KeptBatch {
  readonly id: number
  readonly agent_id: string
  readonly epoch: string
  readonly class: string
  readonly first_seq: number
  readonly last_seq: number
  readonly count: number
  readonly gaps: string
  readonly body_bytes: number
  readonly received_at: string
}

/** To be read again, after a restart or when it did not fit into memory. Throws when the row is damaged. */
export function toReadAgain(row: KeptBatch, body: Uint8Array): BatchToRead {
  return {
    origin: { agentId: row.agent_id as AgentId, epoch: row.epoch, class: row.class, receivedAt: row.received_at },
    header: {
      first_seq: row.first_seq,
      last_seq: row.last_seq,
      count: row.count,
      body_bytes: row.body_bytes,
      gaps: JSON.parse(row.gaps) as Gap[],
    },
    body,
  }
}

/** The text of a batch, whose every line has its end, as the telemetry store takes it. */
export function linesOf(row: KeptBatch, text: Uint8Array): EventLine {
  const { agent_id: agentId, epoch, class: name, received_at: ingestedAt, first_seq, last_seq } = row
  const seqs = [...batchSequence({ first_seq, last_seq, gaps: JSON.parse(row.gaps) as Gap[] })]
  return { agentId, epoch, class: name, seq: seqs[0] ?? first_seq, seqs, ingestedAt, json: text.subarray(0, -1) }
}

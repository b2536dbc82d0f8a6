import type { AgentId } from '@firebreak/shared/ids.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { SealedBatch } from '@firebreak/shared/wire/frame.ts'
import type { Tx } from '../store/state/state-store.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'

/** Everything of the stream up to `seq` is durable or known to be lost: the agent may forget it. */
export interface Cursor {
  readonly epoch: string
  readonly class: EventClass
  readonly seq: number
  /** Checksum of the stream up to `seq`, as its agent said; a copy of that agent has another one. */
  readonly chain?: number
  /** Of the numbers up to `seq`, those that came as events. */
  readonly events?: number
}

/** A batch that is durable and that detection has not seen yet. */
export interface CommittedBatch {
  readonly batchId: number
  readonly agentId: AgentId
  /** Those that a rule says something about, in the order of their numbers, with host.id, event.id and event.ingested set. */
  readonly events: readonly StoredEvent[]
}

export interface Ingest {
  /**
   * Takes a batch whose signature held. Resolves after the commit, in the order of the calls for one agent. A batch that was taken
   * before is answered with the cursor and stored no second time. Throws a Fault when the state cannot be written: no ack then.
   */
  accept(agentId: AgentId, batch: SealedBatch): Promise<Result<Cursor, 'malformed' | 'too_large'>>
  /**
   * Takes batches that this controller made itself of a recording, all of them and what the caller writes around them in one
   * transaction: either everything is durable or nothing. Returns the batches that wait for detection or the telemetry store.
   * Throws a Fault `bad_import` when one of them cannot be taken, and whatever the caller throws.
   */
  acceptTogether(
    parts: readonly { readonly agentId: AgentId; readonly batch: Pick<SealedBatch, 'header' | 'body'> }[],
    alongside: { before(tx: Tx): Promise<void>; after(tx: Tx): Promise<void> },
  ): Promise<readonly number[]>
  /** Where the streams of an agent stand, latest first, as many as a welcome may carry. */
  cursors(agentId: AgentId): Promise<readonly Cursor[]>
  /** How much of what may wait to be detected upon and moved does: from 1 on agents should keep what they have. 1 also while the state cannot be written. */
  fullness(): number
}

export interface IngestFeed {
  /** The oldest batches that nobody marked, behind the batch `after`, in the order of their commit, at most `limit`. Asking again gives the same. */
  takeUndetected(limit: number, after?: number): Promise<readonly CommittedBatch[]>
  /** In the transaction that stores what was found. */
  markDetected(tx: Tx, batchId: number): Promise<void>
}

import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Tx } from '../store/state/state-store.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'
import type { Signal } from '../triage/index.ts'

/** A batch that is durable and that no detector has seen yet. */
export interface UndetectedBatch {
  readonly batchId: number
  readonly agentId: AgentId
  /** In the order of their sequence numbers. */
  readonly events: readonly StoredEvent[]
}

/** What detection needs of ingest. The rows are the queue: a crash between ack and detection leaves them there to be taken again. */
export interface Feed {
  /** The oldest batches behind `after` with `detected = 0`, in the order of their commit, at most `limit`. Takes nothing away: asking again gives the same. */
  takeUndetected(limit: number, after: number): Promise<readonly UndetectedBatch[]>
  /** In the transaction that stores what was found. A batch that is already marked stays marked. */
  markDetected(tx: Tx, batchId: number): Promise<void>
}

/** What looks at events beside the rules. */
export interface FurtherDetector {
  signalsOf(events: readonly StoredEvent[]): Promise<readonly Signal[]>
  /** In the transaction that stores the signals. */
  stored(tx: Tx, signals: readonly Signal[]): Promise<void>
}

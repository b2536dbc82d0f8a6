/** What is known of batches that are durable, kept in memory so that nobody has to read them again; bounded. The rows are the truth. */
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'

export interface HeldLimits {
  /** Bytes of text that waits for the telemetry store. */
  readonly held_bytes: number
  /** Events that wait for detection. */
  readonly parsed_events: number
}

/** Past its limits it takes nothing more: the oldest are asked for first. */
export class HeldBatches {
  readonly #limits: HeldLimits
  readonly #texts = new Map<number, Uint8Array>()
  readonly #noticed = new Map<number, readonly StoredEvent[]>()
  #bytes = 0
  #events = 0

  constructor(limits: HeldLimits) {
    this.#limits = limits
  }

  put(batchId: number, text: Uint8Array, noticed: readonly StoredEvent[]): void {
    if (this.#bytes + text.length <= this.#limits.held_bytes) {
      this.#texts.set(batchId, text)
      this.#bytes += text.length
    }
    if (noticed.length > 0 && this.#events + noticed.length <= this.#limits.parsed_events) {
      this.#noticed.set(batchId, noticed)
      this.#events += noticed.length
    }
  }

  text(batchId: number): Uint8Array | undefined {
    return this.#texts.get(batchId)
  }

  noticed(batchId: number): readonly StoredEvent[] | undefined {
    return this.#noticed.get(batchId)
  }

  /** It is in the telemetry store. */
  dropText(batchId: number): void {
    const text = this.#texts.get(batchId)
    if (text && this.#texts.delete(batchId)) this.#bytes -= text.length
  }

  /** Detection is through with it. */
  dropNoticed(batchId: number): void {
    const events = this.#noticed.get(batchId)
    if (events && this.#noticed.delete(batchId)) this.#events -= events.length
  }
}

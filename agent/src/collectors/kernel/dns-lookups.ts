/** A question for a name and its answer brought together: one event a lookup, told with its answer or after two seconds without one. */
import type { Doer } from './process-records.ts'
import { type DnsFields, parseDnsMessage } from './dns-message.ts'
import type { SensorSocket } from './sensor-records.ts'

const ANSWER_MS = 2_000
const MAX_ASKED = 4_096

interface Asked {
  readonly record: SensorSocket
  readonly doer: Doer
  readonly dns: DnsFields
  readonly dueMs: number
}

export class DnsLookups {
  readonly #asked = new Map<string, Asked>()
  readonly #tell: {
    lookup(record: SensorSocket, doer: Doer, dns: DnsFields, durationMs: number | undefined): void
    /** A datagram to port 53 that is no question. */
    other(record: SensorSocket, doer: Doer): void
  }

  constructor(tell: {
    lookup(record: SensorSocket, doer: Doer, dns: DnsFields, durationMs: number | undefined): void
    other(record: SensorSocket, doer: Doer): void
  }) {
    this.#tell = tell
  }

  get nextDueMs(): number | undefined {
    const [oldest] = this.#asked.values()
    return oldest?.dueMs
  }

  sent(record: SensorSocket, doer: Doer, nowMs: number): void {
    const dns = parseDnsMessage(record.payload.bytes)
    if (!dns) {
      this.#tell.other(record, doer)
      return
    }
    // A server of names answers from port 53 too; its own questions are told.
    if (dns.type === 'answer') return
    const key = keyOf(record, dns)
    // Asked again because nobody answered: told once.
    if (this.#asked.has(key)) return
    this.#asked.set(key, { record, doer, dns, dueMs: nowMs + ANSWER_MS })
    if (this.#asked.size <= MAX_ASKED) return
    const [oldest] = this.#asked.values()
    if (oldest) this.#giveUp(keyOf(oldest.record, oldest.dns), oldest)
  }

  received(record: SensorSocket, doer: Doer): void {
    const dns = parseDnsMessage(record.payload.bytes)
    if (dns?.type !== 'answer') return
    const key = keyOf(record, dns)
    const asked = this.#asked.get(key)
    this.#asked.delete(key)
    const durationMs = asked && Number(record.monotonicNs - asked.record.monotonicNs) / 1e6
    this.#tell.lookup(asked?.record ?? record, asked?.doer ?? doer, dns, durationMs)
  }

  flush(nowMs: number): void {
    for (const [key, asked] of this.#asked) {
      if (asked.dueMs > nowMs) return
      this.#giveUp(key, asked)
    }
  }

  #giveUp(key: string, { record, doer, dns }: Asked): void {
    this.#asked.delete(key)
    this.#tell.lookup(record, doer, dns, undefined)
  }
}

/** Resolvers ask for A and AAAA at once over one socket; names compare without case (RFC 4343). */
function keyOf({ socketId }: SensorSocket, { id, question }: DnsFields): string {
  return `${socketId} ${id} ${question?.type} ${question?.name?.toLowerCase()}`
}

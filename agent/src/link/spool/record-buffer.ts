/** Event records one behind the other in a buffer, as they go to the disk: none has memory of its own, and many are one write. */
import { encodeHeader, RECORD_HEADER_BYTES } from '../../disk/records.ts'
import { EVENT_RECORD } from './gaps.ts'

const BUFFER_BYTES = 64 * 1024
/** A UTF-16 unit takes three bytes of UTF-8 at most. */
const BYTES_PER_UNIT = 3

export interface BufferedRecord {
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
  readonly payload: Uint8Array
  readonly crc: number
}

export class RecordBuffer {
  #buffer = Buffer.alloc(0)
  #at = 0

  /** What was put before is never overwritten: a full buffer is left to those who still hold it. */
  put(line: string | Uint8Array, number: number): BufferedRecord {
    const isText = typeof line === 'string'
    const most = RECORD_HEADER_BYTES + (isText ? line.length * BYTES_PER_UNIT : line.length)
    if (this.#buffer.length - this.#at < most) {
      this.#buffer = Buffer.allocUnsafeSlow(Math.max(BUFFER_BYTES, most))
      this.#at = 0
    }
    const buffer = this.#buffer
    const start = this.#at
    const payloadAt = start + RECORD_HEADER_BYTES
    let length = line.length
    if (isText) length = buffer.write(line, payloadAt)
    else buffer.set(line, payloadAt)
    const end = payloadAt + length
    const payload = buffer.subarray(payloadAt, end)
    const crc = encodeHeader(buffer, start, { kind: EVENT_RECORD, number, payload })
    this.#at = end
    return { buffer, start, end, payload, crc }
  }
}

/** The bytes of records in order; those that lie behind each other in one buffer are taken as they lie. */
export function bytesOf(records: readonly Pick<BufferedRecord, 'buffer' | 'start' | 'end'>[]): Buffer[] {
  const parts: Buffer[] = []
  let from = 0
  for (let at = 1; at <= records.length; at++) {
    const first = records[from]
    const last = records[at - 1]
    const next = records[at]
    if (!first || !last || (next && next.buffer === last.buffer && next.start === last.end)) continue
    parts.push(first.buffer.subarray(first.start, last.end))
    from = at
  }
  return parts
}

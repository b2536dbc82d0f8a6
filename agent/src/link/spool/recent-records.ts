/** The newest records of a stream, as they were written: what is sent soon after is not read back from the disk. */
import type { Gap } from '@firebreak/shared/wire/frame.ts'

export interface RecentRecord {
  readonly first: number
  readonly last: number
  readonly gap: Gap | undefined
  readonly payload: Uint8Array
  readonly crc: number
  readonly bytes: number
}

/** What a connected agent has between two flushes, many times over. */
const MAX_BYTES = 1024 * 1024
const TIDY_FROM = 4_096

export class RecentRecords {
  #records: RecentRecord[] = []
  #at = 0
  #bytes = 0

  push(record: RecentRecord): void {
    this.#records.push(record)
    this.#bytes += record.bytes
    // Nobody takes them: the disk has them, and what is kept must go on without a hole.
    if (this.#bytes > MAX_BYTES) this.clear()
  }

  /** The record that begins with this number, if it is kept; those before it are forgotten. */
  find(first: number): RecentRecord | undefined {
    for (;;) {
      const record = this.#records[this.#at]
      if (record === undefined || record.first >= first) return record?.first === first ? record : undefined
      this.#at++
      this.#bytes -= record.bytes
      if (this.#at < TIDY_FROM && this.#at < this.#records.length) continue
      this.#records = this.#records.slice(this.#at)
      this.#at = 0
    }
  }

  clear(): void {
    this.#records = []
    this.#at = 0
    this.#bytes = 0
  }
}

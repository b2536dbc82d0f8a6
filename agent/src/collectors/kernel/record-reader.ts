/** Bytes as the kernel had them. `total`: their length before the sensor cut them; undefined when it is longer than it could measure. */
export interface SensorText {
  readonly bytes: Uint8Array
  readonly total: number | undefined
}

/** Reads one record from the front to the back. Reading past its end or a string that is longer than the rest throws `ShortRecord`. */
export class RecordReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get rest(): number {
    return this.#bytes.length - this.#at
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true)
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true)
  }

  /** A u64 that counts bytes or nanoseconds of a duration: never near 2^53 in life, so a larger one is a damaged record. */
  count(): number {
    const value = this.u64()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ShortRecord(`a count of ${value} is not possible`)
    return Number(value)
  }

  /** A copy: frames are views of a buffer that is used again, and `slice` of a Buffer would be a view too. */
  bytes(length: number): Uint8Array {
    const from = this.#take(length)
    return new Uint8Array(this.#bytes.subarray(from, from + length))
  }

  text(): SensorText {
    const stored = this.u32()
    const total = this.u32()
    if (total < stored) throw new ShortRecord(`a string of ${total} bytes cannot have ${stored} stored`)
    return { bytes: this.bytes(stored), total: total === TOTAL_UNKNOWN ? undefined : total }
  }

  #take(length: number): number {
    const from = this.#at
    if (length > this.#bytes.length - from)
      throw new ShortRecord(`${length} bytes wanted at ${from} of ${this.#bytes.length}`)
    this.#at = from + length
    return from
  }
}

/** The bytes do not hold what the layout says. Caught by the decoder. */
export class ShortRecord extends Error {}

const TOTAL_UNKNOWN = 0xffff_ffff

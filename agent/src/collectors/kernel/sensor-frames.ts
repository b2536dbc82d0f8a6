/** The byte stream of the sensor cut into frames: u32 little endian length, then so many bytes. */
import { refuse, type Result } from '@firebreak/shared/result.ts'
import { SENSOR_RECORD_MAX_BYTES } from './sensor-records.ts'

export type FrameRefusal = 'frame_too_long' | 'frame_empty'

/**
 * `push` calls `take` with each whole frame; the bytes are valid only during the call. After a refusal the stream has no known place
 * to go on from: the sensor has to be started again.
 */
export class SensorFrames {
  #rest: Buffer = Buffer.alloc(0)
  #broken: Result<number, FrameRefusal> | undefined

  /** Frames handed over. */
  push(chunk: Uint8Array, take: (frame: Uint8Array) => void): Result<number, FrameRefusal> {
    if (this.#broken) return this.#broken
    const bytes =
      this.#rest.length > 0
        ? Buffer.concat([this.#rest, chunk])
        : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    let at = 0
    let frames = 0
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32LE(at)
      if (length === 0 || length > SENSOR_RECORD_MAX_BYTES) {
        this.#rest = Buffer.alloc(0)
        this.#broken =
          length === 0
            ? refuse('frame_empty', 'a frame without a byte')
            : refuse('frame_too_long', `a frame of ${length} bytes; ${SENSOR_RECORD_MAX_BYTES} are allowed`)
        return this.#broken
      }
      if (bytes.length - at - 4 < length) break
      take(bytes.subarray(at + 4, at + 4 + length))
      at += 4 + length
      frames += 1
    }
    // A copy: the chunk may be the pool of a stream, and holding a few bytes of it would hold all of it.
    this.#rest = Buffer.from(bytes.subarray(at))
    return { ok: true, value: frames }
  }

  /** Bytes of a frame that has not arrived whole. */
  get pending(): number {
    return this.#rest.length
  }
}

/**
 * A checksum over every record of a stream so far. Two machines that go on from one copied spool give the same numbers to different
 * events; the controller hands back the checksum that it was told last, and whoever has another one is not the one who told it.
 */
import type { GapReason } from '@firebreak/shared/wire/frame.ts'

/** Of a stream with no records. */
export const NO_RECORDS = 0

/** One to one in `chain`: streams that once differed never agree again by the same records. `crc`: that of the record. */
export function chained(chain: number, crc: number): number {
  const mixed = Math.imul(chain ^ crc, 0x9e37_79b1)
  return ((mixed << 13) | (mixed >>> 19)) >>> 0
}

/** Whether a gap stands in the place of records that may have been sent before as something else: then the checksum says nothing. */
export function replacesRecords(reason: GapReason): boolean {
  switch (reason) {
    case 'spool_full':
    case 'spool_damaged':
    case 'spool_aged':
    case 'disk_low':
    case 'epoch_lost':
      return true
    case 'collector_overflow':
    case 'kernel_overflow':
    case 'too_large':
    case 'invalid':
    case 'disk_failed':
    case 'controller_damaged':
    case 'controller_restored':
      return false
    default:
      throw new TypeError(`unhandled reason ${JSON.stringify(reason satisfies never)}`)
  }
}

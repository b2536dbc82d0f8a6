/** Ranges of numbers that will never come, and how they lie on disk. */
import { GAP_REASONS, type Gap, type GapReason } from '@firebreak/shared/wire/frame.ts'
import { type DiskRecord, encodeRecord } from '../../disk/records.ts'

export const EVENT_RECORD = 1
export const GAP_RECORD = 2

export function encodeGap({ from, to, reason }: Gap): Buffer {
  const payload = Buffer.alloc(9)
  payload.writeBigUInt64BE(BigInt(to), 0)
  payload[8] = GAP_REASONS.indexOf(reason)
  return encodeRecord({ kind: GAP_RECORD, number: from, payload })
}

/** The last number of a record: its own for an event, the end of the range for a gap; `undefined` for what is neither. */
export function lastNumberOf(record: DiskRecord): number | undefined {
  if (record.kind === EVENT_RECORD) return record.number
  return gapOf(record)?.to
}

export function gapOf(record: DiskRecord): Gap | undefined {
  if (record.kind !== GAP_RECORD || record.payload.length !== 9) return undefined
  const view = Buffer.from(record.payload.buffer, record.payload.byteOffset, 9)
  const to = Number(view.readBigUInt64BE(0))
  const reason = GAP_REASONS[view[8] ?? -1]
  return reason === undefined || to < record.number ? undefined : { from: record.number, to, reason }
}

/** Adds a range that lies behind all others; one that goes on where the last ends, for the same reason, is joined to it. */
export function pushGap(gaps: Gap[], gap: Gap): void {
  const last = gaps.at(-1)
  if (last && last.reason === gap.reason && last.to + 1 === gap.from) gaps[gaps.length - 1] = { ...last, to: gap.to }
  else gaps.push(gap)
}

/** How many numbers of `from` to `to`, both included, lie in gaps. */
export function numbersInGaps(gaps: readonly Gap[], from: number, to: number): number {
  let sum = 0
  for (const gap of gaps) sum += Math.max(0, Math.min(gap.to, to) - Math.max(gap.from, from) + 1)
  return sum
}

/** Makes one run of gaps out of `from` to `to`: what was a gap keeps its reason, the rest gets `reason`. Past `maxGaps` all get it. */
export function fillWithGaps(
  gaps: readonly Gap[],
  range: { readonly from: number; readonly to: number },
  reason: GapReason,
  maxGaps = 200,
): Gap[] {
  const filled: Gap[] = []
  let next = range.from
  for (const gap of gaps) {
    const from = Math.max(gap.from, range.from)
    const to = Math.min(gap.to, range.to)
    if (to < from) continue
    if (from > next) pushGap(filled, { from: next, to: from - 1, reason })
    pushGap(filled, { from, to, reason: gap.reason })
    next = to + 1
  }
  if (next <= range.to) pushGap(filled, { from: next, to: range.to, reason })
  return filled.length > maxGaps ? [{ ...range, reason }] : filled
}

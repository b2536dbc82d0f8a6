/** Ranges of numbers that will never come, and how they lie on disk. */
import { GAP_REASONS, type Gap, type GapReason } from '@firebreak/shared/wire/frame.ts'
import { type DiskRecord, encodeRecord } from '../../disk/records.ts'

export const EVENT_RECORD = 1
export const GAP_RECORD = 2
/** u64 last number, u8 reason, then u64 first and last time in ms, 0 when not known. */
const GAP_BYTES = 25
/** As written before gaps had times. */
const SHORT_GAP_BYTES = 9

/** When the events of a gap happened, ms since 1970. */
export interface GapTimes {
  readonly first_at?: number
  readonly last_at?: number
}

export function encodeGap({ from, to, reason, first_at: firstAt = 0, last_at: lastAt = 0 }: Gap): Buffer {
  const payload = Buffer.alloc(GAP_BYTES)
  payload.writeBigUInt64BE(BigInt(to), 0)
  payload[8] = GAP_REASONS.indexOf(reason)
  payload.writeBigUInt64BE(BigInt(firstAt), 9)
  payload.writeBigUInt64BE(BigInt(lastAt), 17)
  return encodeRecord({ kind: GAP_RECORD, number: from, payload })
}

/** The last number of a record: its own for an event, the end of the range for a gap; `undefined` for what is neither. */
export function lastNumberOf(record: DiskRecord): number | undefined {
  if (record.kind === EVENT_RECORD) return record.number
  return gapOf(record)?.to
}

export function gapOf(record: DiskRecord): Gap | undefined {
  const { length } = record.payload
  if (record.kind !== GAP_RECORD || (length !== GAP_BYTES && length !== SHORT_GAP_BYTES)) return undefined
  const view = Buffer.from(record.payload.buffer, record.payload.byteOffset, length)
  const to = Number(view.readBigUInt64BE(0))
  const reason = GAP_REASONS[view[8] ?? -1]
  if (reason === undefined || to < record.number) return undefined
  const times = length === GAP_BYTES ? timesOf(Number(view.readBigUInt64BE(9)), Number(view.readBigUInt64BE(17))) : {}
  return { from: record.number, to, reason, ...times }
}

export function timesOf(firstAt: number, lastAt: number): GapTimes {
  return {
    ...(firstAt > 0 && Number.isSafeInteger(firstAt) ? { first_at: firstAt } : {}),
    ...(lastAt > 0 && Number.isSafeInteger(lastAt) ? { last_at: lastAt } : {}),
  }
}

/** Adds a range that lies behind all others; one that goes on where the last ends, for the same reason, is joined to it. */
export function pushGap(gaps: Gap[], gap: Gap): void {
  const last = gaps.at(-1)
  if (last && last.reason === gap.reason && last.to + 1 === gap.from) {
    const lastAt = gap.last_at ?? last.last_at
    gaps[gaps.length - 1] = {
      ...last,
      to: gap.to,
      ...timesOf(last.first_at ?? gap.first_at ?? 0, lastAt ?? 0),
    }
  } else gaps.push(gap)
}

/** How many numbers of `from` to `to`, both included, lie in gaps. */
export function numbersInGaps(gaps: readonly Gap[], from: number, to: number): number {
  let sum = 0
  for (const gap of gaps) sum += Math.max(0, Math.min(gap.to, to) - Math.max(gap.from, from) + 1)
  return sum
}

/**
 * Makes one run of gaps out of `from` to `to`: what was a gap keeps its reason and times, the rest gets those of `rest`. Past
 * `maxGaps` all get them.
 */
export function fillWithGaps(
  gaps: readonly Gap[],
  range: { readonly from: number; readonly to: number },
  rest: { readonly reason: GapReason } & GapTimes,
  maxGaps = 200,
): Gap[] {
  const filled: Gap[] = []
  let next = range.from
  for (const gap of gaps) {
    const from = Math.max(gap.from, range.from)
    const to = Math.min(gap.to, range.to)
    if (to < from) continue
    if (from > next) pushGap(filled, { ...rest, from: next, to: from - 1 })
    pushGap(filled, { ...gap, from, to })
    next = to + 1
  }
  if (next <= range.to) pushGap(filled, { ...rest, from: next, to: range.to })
  if (filled.length <= maxGaps) return filled
  const times = filled.flatMap(({ first_at: first, last_at: last }) => [first, last]).filter((at) => at !== undefined)
  return [{ ...range, reason: rest.reason, ...timesOf(Math.min(...times), Math.max(...times)) }]
}

/** One file of a stream: records of consecutive numbers, named by its first. */
import { readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Gap } from '@firebreak/shared/wire/frame.ts'
import { writeAtomic } from '../../disk/atomic-file.ts'
import { readRecords } from '../../disk/records.ts'
import { encodeGap, gapOf, lastNumberOf, pushGap } from './gaps.ts'

export interface Segment {
  readonly path: string
  readonly first: number
  last: number
  bytes: number
  /** Merged, in order. */
  readonly gaps: Gap[]
}

const NAME = /^\d{16}\.seg$/

export function segmentPath(folder: string, first: number): string {
  return join(folder, `${String(first).padStart(16, '0')}.seg`)
}

export function isSegmentName(name: string): boolean {
  return NAME.test(name)
}

/** A segment that holds nothing but gaps, written whole. */
export function writeGapSegment(folder: string, gaps: readonly Gap[]): Segment {
  const first = gaps[0]?.from ?? 0
  const content = Buffer.concat(gaps.map(encodeGap))
  const path = segmentPath(folder, first)
  writeAtomic(path, content)
  return { path, first, last: gaps.at(-1)?.to ?? first, bytes: content.length, gaps: [...gaps] }
}

/**
 * Reads a segment after a restart or a read error. `expected`: the number that must come first, if known. Numbers that are missing
 * become gaps, and the file is rewritten without what is damaged. `isLast`: a torn end stands for one number at least.
 * `undefined` when nothing of the file counts; it is removed then.
 */
export function recoverSegment(
  path: string,
  expected: number | undefined,
  isLast: boolean,
): { readonly segment: Segment; readonly damaged: boolean } | undefined {
  const file = readFileSync(path)
  const { records, damage } = readRecords(file)
  const kept: Buffer[] = []
  const gaps: Gap[] = []
  let damaged = damage.length > 0
  let next = expected
  let first: number | undefined
  const missing = (from: number, to: number) => {
    const gap: Gap = { from, to, reason: 'spool_damaged' }
    kept.push(encodeGap(gap))
    pushGap(gaps, gap)
    first ??= from
    damaged = true
  }
  for (const record of records) {
    const last = lastNumberOf(record)
    if (last === undefined || (next !== undefined && record.number < next)) {
      damaged = true
      continue
    }
    if (next !== undefined && record.number > next) missing(next, record.number - 1)
    kept.push(file.subarray(record.start, record.end))
    const gap = gapOf(record)
    if (gap) pushGap(gaps, gap)
    first ??= record.number
    next = last + 1
  }
  if (isLast && damage.some((stretch) => stretch.torn)) {
    next ??= Number.parseInt(path.slice(-20, -4), 10)
    missing(next, next)
    next++
  }
  if (first === undefined || next === undefined) {
    unlinkSync(path)
    return undefined
  }
  const content = damaged ? Buffer.concat(kept) : file
  if (damaged) writeAtomic(path, content)
  return { segment: { path, first, last: next - 1, bytes: content.length, gaps }, damaged }
}

/** One file of a stream: records of consecutive numbers, named by its first. */
import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Gap } from '@firebreak/shared/wire/frame.ts'
import { type PlacedRecord, readRecords } from '../../disk/records.ts'
import type { WriteFile } from './ballast.ts'
import { EVENT_RECORD, encodeGap, gapOf, lastNumberOf, pushGap, timesOf } from './gaps.ts'

export interface Segment {
  readonly path: string
  readonly first: number
  last: number
  bytes: number
  /** Merged, in order. */
  readonly gaps: Gap[]
  /** When its first and last number were given out, ms since 1970; 0: not known. */
  firstAt: number
  lastAt: number
  /** Time of the spool's life at which it was written last, ms; below zero for what an earlier life wrote. */
  age: number
}

/** The numbers of a stream cannot be told any more: it must not go on under its epoch. */
export class NumbersUnknown extends Error {}

const NAME = /^\d{16}\.seg$/

export function segmentPath(folder: string, first: number): string {
  return join(folder, `${String(first).padStart(16, '0')}.seg`)
}

export function isSegmentName(name: string): boolean {
  return NAME.test(name)
}

/** A segment that holds nothing but gaps, written whole. */
export function writeGapSegment(folder: string, gaps: readonly Gap[], age: number, write: WriteFile): Segment {
  const first = gaps[0]?.from ?? 0
  const content = Buffer.concat(gaps.map(encodeGap))
  const path = segmentPath(folder, first)
  write(path, content)
  return {
    path,
    first,
    last: gaps.at(-1)?.to ?? first,
    bytes: content.length,
    gaps: [...gaps],
    firstAt: gaps[0]?.first_at ?? 0,
    lastAt: gaps.at(-1)?.last_at ?? 0,
    age,
  }
}

export interface Recovery {
  /** The number that must come first; that of its name when it is the first file. */
  readonly expected: number | undefined
  /** The number with which the next segment begins; `undefined` for the last, whose torn end stands for one number at least. */
  readonly following: number | undefined
  /** When the life before gave its last sign, ms since 1970. */
  readonly lastAlive: number
  readonly write: WriteFile
  /** A last segment that cannot be read is left out instead. */
  readonly salvage?: boolean
}

/**
 * Reads a segment after a restart or a read error. Numbers that are missing become gaps, and the file is rewritten without what is
 * damaged. `undefined` when nothing of the file counts; it is removed then. Throws NumbersUnknown when the last cannot be read at all.
 */
export function recoverSegment(
  path: string,
  { expected, following, lastAlive, write, salvage = false }: Recovery,
): { readonly segment: Segment; readonly damaged: boolean } | undefined {
  const isLast = following === undefined
  const named = Number.parseInt(path.slice(-20, -4), 10)
  const { mtimeMs } = statSync(path)
  const file = readWhole(path, isLast && !salvage)
  const { records, damage } = readRecords(file)
  const kept: Buffer[] = []
  const gaps: Gap[] = []
  let damaged = damage.length > 0 || file.length === 0
  let next = expected ?? named
  let first: number | undefined
  const missing = (from: number, to: number) => {
    const gap: Gap = { from, to, reason: 'spool_damaged', ...timesOf(timeOf(records[0]), Math.round(mtimeMs)) }
    kept.push(encodeGap(gap))
    pushGap(gaps, gap)
    first ??= from
    damaged = true
  }
  for (const record of records) {
    const last = lastNumberOf(record)
    if (last === undefined || record.number < next) {
      damaged = true
      continue
    }
    if (record.number > next) missing(next, record.number - 1)
    kept.push(file.subarray(record.start, record.end))
    const gap = gapOf(record)
    if (gap) pushGap(gaps, gap)
    first ??= record.number
    next = last + 1
  }
  if (isLast && damage.some((stretch) => stretch.torn)) {
    missing(next, next)
    next++
  }
  if (following !== undefined && next < following) {
    missing(next, following - 1)
    next = following
  }
  if (first === undefined) {
    rmSync(path, { recursive: true, force: true })
    return undefined
  }
  const content = damaged ? Buffer.concat(kept) : file
  if (damaged) write(path, content)
  const segment = {
    path,
    first,
    last: next - 1,
    bytes: content.length,
    gaps,
    firstAt: timeOf(records[0]),
    lastAt: Math.round(mtimeMs),
    age: Math.min(0, mtimeMs - lastAlive),
  }
  return { segment, damaged }
}

/** A file that the disk does not give back is as good as empty, as long as the next one tells how many numbers it held. */
function readWhole(path: string, needed: boolean): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    if (needed) throw new NumbersUnknown(`${path} cannot be read, and no one knows how far it went`, { cause })
    rmSync(path, { recursive: true, force: true }) // its gap is written under its name
    return Buffer.alloc(0)
  }
}

/** When the event of a record happened, ms since 1970; 0 when that is not told. */
function timeOf(record: PlacedRecord | undefined): number {
  if (!record) return 0
  if (record.kind !== EVENT_RECORD) return gapOf(record)?.first_at ?? 0
  const found = /"@timestamp":"([^"]{1,40})"/.exec(Buffer.from(record.payload.subarray(0, 256)).toString('latin1'))
  const at = Date.parse(found?.[1] ?? '')
  return Number.isFinite(at) && at > 0 ? at : 0
}

/** What a stream finds in its folder after a restart: how far it was acked, and its segments without a hole between them. */
import { readdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere } from '../../disk/atomic-file.ts'
import type { WriteFile } from './ballast.ts'
import { isSegmentName, NumbersUnknown, recoverSegment, type Segment, writeGapSegment } from './segment.ts'

export interface StreamState {
  readonly acked: number
  /** Numbers below the ack that lay in gaps. */
  readonly droppedAcked: number
  /** Checksum of the stream up to the ack; `undefined` when it is not known. */
  readonly chain: number | undefined
}

/**
 * Throws NumbersUnknown when the file is there and makes no sense: then nobody knows which numbers were given out. `salvage`: says
 * nothing was acked instead.
 */
export function readStreamState(folder: string, salvage: boolean): StreamState {
  const path = join(folder, 'state.json')
  const text = readIfThere(path)
  if (!text) return { acked: 0, droppedAcked: 0, chain: 0 }
  const parsed = parse(text.toString('utf8'))
  if (!isCount(parsed?.acked) || !isCount(parsed.dropped_acked)) {
    if (!salvage) throw new NumbersUnknown(`${path} holds no counts`)
    return { acked: 0, droppedAcked: 0, chain: undefined }
  }
  return {
    acked: parsed.acked,
    droppedAcked: parsed.dropped_acked,
    chain: isCount(parsed.chain) ? parsed.chain : undefined,
  }
}

export function writeStreamState(folder: string, { acked, droppedAcked, chain }: StreamState, write: WriteFile): void {
  write(join(folder, 'state.json'), JSON.stringify({ acked, dropped_acked: droppedAcked, chain }))
}

export interface FoundSegments {
  readonly folder: string
  readonly acked: number
  readonly lastAlive: number
  readonly write: WriteFile
  /** Told of what was missing or damaged and is a gap now. */
  readonly damaged: (path: string) => void
  readonly salvage: boolean
}

/** In order, without a hole from the ack on. */
export function recoverSegments({ folder, acked, lastAlive, write, damaged, salvage }: FoundSegments): Segment[] {
  for (const name of readdirSync(folder).filter(isSegmentName))
    if (statSync(join(folder, name)).size === 0) unlinkSync(join(folder, name)) // killed before the first write
  const names = readdirSync(folder).filter(isSegmentName).sort()
  const segments: Segment[] = []
  let expected: number | undefined
  for (const [i, name] of names.entries()) {
    const path = join(folder, name)
    const after = names[i + 1]
    const following = after === undefined ? undefined : Number.parseInt(after, 10)
    const recovered = recoverSegment(path, { expected, following, lastAlive, write, salvage })
    if (!recovered) continue
    if (recovered.damaged) damaged(path)
    expected = recovered.segment.last + 1
    segments.push(recovered.segment)
  }
  const first = segments[0]
  if (first && first.first > acked + 1 && !salvage) {
    const gap = { from: acked + 1, to: first.first - 1, reason: 'spool_damaged' } as const
    const missing = writeGapSegment(folder, [gap], first.age, write)
    damaged(missing.path)
    segments.unshift(missing)
  }
  return segments
}

function parse(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined // told by the caller: it holds no counts
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** What a stream finds in its folder after a restart: how far it was acked, and its segments without a hole between them. */
import { readdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { readIfThere, writeAtomic } from '../../disk/atomic-file.ts'
import { isSegmentName, recoverSegment, type Segment, writeGapSegment } from './segment.ts'

export interface StreamState {
  readonly acked: number
  /** Numbers below the ack that lay in gaps. */
  readonly droppedAcked: number
}

/** Throws a SyntaxError when the file is there and makes no sense: then nobody knows which numbers were given out. */
export function readStreamState(folder: string): StreamState {
  const path = join(folder, 'state.json')
  const text = readIfThere(path)
  if (!text) return { acked: 0, droppedAcked: 0 }
  const parsed = JSON.parse(text.toString('utf8')) as { acked?: unknown; dropped_acked?: unknown }
  const { acked, dropped_acked: droppedAcked } = parsed
  if (!Number.isSafeInteger(acked) || !Number.isSafeInteger(droppedAcked))
    throw new SyntaxError(`${path} holds no counts`)
  return { acked: acked as number, droppedAcked: droppedAcked as number }
}

export function writeStreamState(folder: string, { acked, droppedAcked }: StreamState): void {
  writeAtomic(join(folder, 'state.json'), JSON.stringify({ acked, dropped_acked: droppedAcked }))
}

/** In order; what is missing or damaged was replaced by gaps, and `damaged` was told of it. */
export function recoverSegments(folder: string, acked: number, damaged: (path: string) => void): Segment[] {
  for (const name of readdirSync(folder).filter(isSegmentName))
    if (statSync(join(folder, name)).size === 0) unlinkSync(join(folder, name)) // killed before the first write
  const names = readdirSync(folder).filter(isSegmentName).sort()
  const segments: Segment[] = []
  let next: number | undefined
  for (const [i, name] of names.entries()) {
    const path = join(folder, name)
    const recovered = recoverSegment(path, next, i === names.length - 1)
    if (!recovered) continue
    if (recovered.damaged) damaged(path)
    next = recovered.segment.last + 1
    segments.push(recovered.segment)
  }
  const first = segments[0]
  if (first && first.first > acked + 1) {
    const missing = writeGapSegment(folder, [{ from: acked + 1, to: first.first - 1, reason: 'spool_damaged' }])
    damaged(missing.path)
    segments.unshift(missing)
  }
  return segments
}

/** The body of a batch as it was kept: only lines that fitted, in the order of their numbers. */
import { zstdDecompressSync } from 'node:zlib'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { Gap } from '@firebreak/shared/wire/frame.ts'

export interface KeptBatch {
  readonly id: number
  readonly first_seq: number
  readonly last_seq: number
  readonly count: number
  readonly gaps: string
  readonly body: Uint8Array
  readonly body_bytes: number
}

/** Each line with its number. Throws when the row is damaged: it was checked before it was kept. */
export function linesOf(batch: KeptBatch): { readonly seq: number; readonly line: Uint8Array }[] {
  let text: Buffer
  try {
    text = zstdDecompressSync(batch.body, {
      maxOutputLength: Math.max(1, batch.body_bytes),
      // One piece of the right size: otherwise it comes in pieces of 16 KiB that have to be put together.
      chunkSize: Math.max(64, batch.body_bytes),
    })
  } catch (cause) {
    throw new Fault('state_damaged', `batch ${batch.id} cannot be read again: ${reasonOf(cause)}`, { cause })
  }
  const lines: { seq: number; line: Uint8Array }[] = []
  const gaps = JSON.parse(batch.gaps) as Gap[]
  let start = 0
  let gapAt = 0
  for (let seq = batch.first_seq; seq <= batch.last_seq; seq++) {
    const gap = gaps[gapAt]
    if (gap && seq >= gap.from) {
      seq = gap.to
      gapAt++
      continue
    }
    const end = text.indexOf(0x0a, start)
    if (end === -1) break
    lines.push({ seq, line: text.subarray(start, end) })
    start = end + 1
  }
  if (lines.length !== batch.count || start !== text.length)
    throw new Fault('state_damaged', `batch ${batch.id} holds ${lines.length} events and not ${batch.count}`)
  return lines
}

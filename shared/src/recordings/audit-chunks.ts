/** Where a list of lines may be cut so that no event of the audit system is cut with it. */
import type { RecordingLine } from './recording.ts'

const KEY = /^(?:node=\S{1,255} )?(?:audit: )?type=\S{1,64} (?:msg=)?audit\(([^)]{1,80})\)/

function keyOf(line: RecordingLine): string | undefined {
  return typeof line === 'string' ? KEY.exec(line)?.[1] : undefined
}

/**
 * How many of the lines to take now, at least one. The last event may go on in lines that are not here, so it is left for later
 * together with all that is written into it; where nothing would remain all of them are taken.
 */
export function wholeEvents(lines: readonly RecordingLine[]): number {
  const last = lines.length === 0 ? undefined : keyOf(lines.at(-1) as RecordingLine)
  if (last === undefined) return lines.length
  const lastAt = new Map<string, number>()
  for (const [at, line] of lines.entries()) {
    const key = keyOf(line)
    if (key !== undefined) lastAt.set(key, at)
  }
  let cut = 0
  let open = -1
  for (const [at, line] of lines.entries()) {
    if (at > open) cut = at
    const key = keyOf(line)
    if (key !== undefined) open = Math.max(open, lastAt.get(key) ?? at)
  }
  return cut === 0 ? lines.length : cut
}

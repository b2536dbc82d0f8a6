import { decodeFrame } from '@firebreak/shared/wire/frame.ts'

/** In the command line of the processes that are followed. */
export const MARK = 'fb-latency-'

/** The last number of a batch of process events; `undefined` for every other frame. */
export function lastProcessOf(frame: unknown): number | undefined {
  const decoded = frame instanceof Uint8Array ? decodeFrame(frame) : undefined
  if (!decoded?.ok || decoded.value.kind !== 'batch') return undefined
  const { header } = decoded.value.batch
  return header.class === 'process' ? header.last_seq : undefined
}

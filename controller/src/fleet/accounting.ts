/**
 * produced = stored + spooled + dropped, per stream (design 6). The agent's numbers are a little older than the controller's: what is
 * acked while the status travels is `stored` here and still `spooled` there. An agent says up to which number it was acked when it
 * counted: between that number and the one that is acked here now lie at most as many events as numbers, whatever is on its way. So
 * nothing in flight is ever taken for missing, and a stream that stands still is held to the last event.
 */
import type { StreamCount } from '@firebreak/shared/wire/messages.ts'

export interface StreamRow {
  readonly acked_seq: number
  readonly stored: number
  readonly invalid: number
  /** Stored once, and lost here. */
  readonly damaged?: number
}

export const FINDINGS = ['missing', 'surplus', 'rolled_back'] as const
export type FindingKind = (typeof FINDINGS)[number]
export interface Finding {
  readonly kind: FindingKind
  readonly events: number
  readonly why: string
}

export function examine(said: StreamCount, here: StreamRow | undefined): Finding | undefined {
  const taken = (here?.stored ?? 0) + (here?.invalid ?? 0) + (here?.damaged ?? 0)
  const ackedSeq = here?.acked_seq ?? 0
  if (said.produced < ackedSeq)
    return {
      kind: 'rolled_back',
      events: ackedSeq - said.produced,
      why: `the agent has numbered ${said.produced} events, and ${ackedSeq} were taken in before`,
    }
  const waiting = said.spooled + (said.moved ?? 0)
  const believed = said.produced - waiting - said.dropped
  const sum = `produced ${said.produced} = stored ${taken} + ${said.moved === undefined ? 'spooled' : 'moved'} ${waiting} + dropped ${said.dropped}`
  if (believed > taken)
    return { kind: 'missing', events: believed - taken, why: `${sum} leaves out ${believed - taken}` }
  // Without its word on what it was acked, anything up to all of it may be on its way.
  const onTheWay = said.acked === undefined ? Number.POSITIVE_INFINITY : Math.max(0, ackedSeq - said.acked)
  const twice = taken - believed - onTheWay
  return twice > 0 ? { kind: 'surplus', events: twice, why: `${sum} counts ${twice} twice` } : undefined
}

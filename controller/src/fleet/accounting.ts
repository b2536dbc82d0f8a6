/**
 * produced = stored + spooled + dropped, per stream (design 6). The agent's numbers are a little older than the controller's: what is
 * acked while the status travels is `stored` here and still `spooled` there. So what the agent holds to be acked must lie between
 * what was acked when it spoke last and what is acked now; anything else is an event that nobody can account for.
 */
import type { StreamCount } from '@firebreak/shared/wire/messages.ts'

export interface StreamRow {
  readonly acked_seq: number
  readonly stored: number
  readonly invalid: number
}

export type Finding =
  | { readonly kind: 'missing'; readonly events: number; readonly why: string }
  | { readonly kind: 'surplus'; readonly events: number; readonly why: string }
  | { readonly kind: 'rolled_back'; readonly events: number; readonly why: string }

/** `ackedBefore`: events of the stream that had been acked a while before the agent spoke; `undefined` when that is not known. */
export function examine(
  said: StreamCount,
  here: StreamRow | undefined,
  ackedBefore: number | undefined,
): Finding | undefined {
  const taken = (here?.stored ?? 0) + (here?.invalid ?? 0)
  const ackedSeq = here?.acked_seq ?? 0
  if (said.produced < ackedSeq)
    return {
      kind: 'rolled_back',
      events: ackedSeq - said.produced,
      why: `the agent has numbered ${said.produced} events, and ${ackedSeq} were taken in before`,
    }
  const believed = said.produced - said.spooled - said.dropped
  if (believed > taken)
    return {
      kind: 'missing',
      events: believed - taken,
      why: `produced ${said.produced} = stored ${taken} + spooled ${said.spooled} + dropped ${said.dropped} leaves out ${believed - taken}`,
    }
  if (ackedBefore !== undefined && believed < ackedBefore)
    return {
      kind: 'surplus',
      events: ackedBefore - believed,
      why: `produced ${said.produced} = stored ${taken} + spooled ${said.spooled} + dropped ${said.dropped} counts ${ackedBefore - believed} twice`,
    }
  return undefined
}

/** A command's life (design 5): which state may follow which. What is not here cannot happen. */
import type { CommandState } from '@firebreak/shared/commands/command.ts'

const ENDS = ['verified', 'refuted', 'failed', 'refused', 'reverted'] as const

/**
 * `delivered` may follow itself: the connection died before an answer, and the same command goes out again for the new one.
 * `unknown` is no dead end: a receipt that comes late still tells the truth. `verified` is what was seen then; the host may see later
 * that it does not hold (`refuted`) or has ended (`reverted`).
 */
const NEXT: Readonly<Record<CommandState, readonly CommandState[]>> = {
  proposed: ['approved', 'cancelled', 'expired'],
  approved: ['queued', 'cancelled', 'expired'],
  queued: ['delivered', 'cancelled', 'expired'],
  delivered: ['delivered', 'accepted', 'applied', ...ENDS, 'unknown'],
  accepted: ['applied', ...ENDS, 'unknown'],
  applied: [...ENDS, 'unknown'],
  verified: ['refuted', 'reverted'],
  refuted: ['verified', 'failed', 'reverted'],
  failed: [],
  refused: [],
  expired: [],
  cancelled: [],
  reverted: [],
  unknown: ['accepted', 'applied', ...ENDS],
}

export function mayFollow(from: CommandState, to: CommandState): boolean {
  return NEXT[from].includes(to)
}

/** No host has it yet. */
export const CANCELLABLE: ReadonlySet<CommandState> = new Set(['proposed', 'approved', 'queued'])
/** A host has it and owes an answer. */
export const OWED: readonly CommandState[] = ['delivered', 'accepted', 'applied']

/** An action that hangs must not keep the commands behind it waiting, a release least of all. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { COMMAND_CARDS, type CommandType } from '@firebreak/shared/commands/catalogue.ts'

/** Twice the time in which the controller expects the final receipt; by then it calls the outcome unknown. */
export function patienceMs(type: CommandType): number {
  return 2 * COMMAND_CARDS[type].deadline_s * 1000
}

/** The work when it ends in time, otherwise `undefined`; `onLate` hears what became of it after all. */
export async function endsWithin<T>(
  work: Promise<T>,
  ms: number,
  clock: Clock,
  onLate: (outcome: PromiseSettledResult<T>) => void,
): Promise<{ readonly value: T } | undefined> {
  const enough = new AbortController()
  const late = clock.sleep(ms, enough.signal).then(
    () => undefined,
    () => undefined, // called off: the work has ended
  )
  try {
    const first = await Promise.race([work.then((value) => ({ value })), late])
    if (first === undefined) void Promise.allSettled([work]).then(([outcome]) => onLate(outcome))
    return first
  } finally {
    enough.abort()
  }
}

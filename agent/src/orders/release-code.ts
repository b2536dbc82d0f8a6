/** Break-glass: somebody at the host frees it with the one-time code of the isolation, controller or not. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { ActionTable } from '../actions/index.ts'
import type { Log } from '../log.ts'
import { ORDERS_LOG } from './log-names.ts'

export type ReleaseCodeRefusal = 'wrong_code' | 'too_many_tries' | 'release_failed'

const TRIES = 5
const WINDOW_MS = 60_000

/** The receipt of the isolation (`reverted`, `overridden`) is made by the action when the host is free. */
export function createReleaseCodeDoor(
  table: Pick<ActionTable, 'isReleaseCode' | 'releaseLocally'>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): (code: string) => Promise<Result<void, ReleaseCodeRefusal>> {
  let tries: readonly number[] = []
  return async (code) => {
    const now = clock.monotonic()
    tries = tries.filter((at) => now - at < WINDOW_MS)
    if (tries.length >= TRIES) {
      log.warn(ORDERS_LOG.releaseCodeWrong, { code: 'too_many_tries' })
      return refuse('too_many_tries', `${TRIES} tries in a minute are enough; wait a little`)
    }
    tries = [...tries, now]
    // As the controller shows it: lower case, with its hyphens. White space around it comes from copying.
    if (!table.isReleaseCode(code.trim())) {
      log.warn(ORDERS_LOG.releaseCodeWrong, { code: 'wrong_code' })
      return refuse('wrong_code', 'that is not the release code of an isolation that is in force here')
    }
    log.warn(ORDERS_LOG.released)
    const effect = await table.releaseLocally('with its release code')
    return 'why' in effect ? refuse('release_failed', effect.why) : ok()
  }
}

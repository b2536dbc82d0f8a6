/** Cut a host off from everything but its controllers (D3-NI). */
import { isolateHostCard } from '@firebreak/shared/commands/isolate-host.ts'
import type { Action } from './action.ts'
import type { Isolation } from './isolation/isolation.ts'

export function createIsolateHost(isolation: Isolation): Action<'isolate-host'> {
  return {
    type: isolateHostCard.type,
    check: () => isolation.check(),
    apply: (order, report) => isolation.isolate(order, report),
    verify: (order) => isolation.verify(order.cmdId),
    async reconcile(order) {
      const outcome = await isolation.outcomeOf(order.cmdId)
      if (!outcome) return { found: 'not_done', why: 'no rule of it was ever in force' }
      if ('state' in outcome) return { found: 'done', effect: outcome }
      const { cause, why, evidence } = outcome
      if (cause === 'rolled_back') return { found: 'not_done', why: `${why}; rolled back and verified` }
      const code = cause === 'lapsed' ? 'lapsed' : 'overridden'
      return { found: 'done', effect: { state: 'reverted', code, why, evidence } }
    },
    resume: () => isolation.resume(),
    stop: () => isolation.stop(),
  }
}

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
      if (await isolation.isIsolatedBy(order.cmdId)) {
        return { found: 'done', effect: await isolation.verify(order.cmdId) }
      }
      const ended = await isolation.endOf((one) => one.cmd_id === order.cmdId)
      if (!ended) return { found: 'not_done', why: 'no rule of it was ever in force' }
      if (ended.cause === 'rolled_back') return { found: 'not_done', why: `${ended.why}; rolled back and verified` }
      const code = ended.cause === 'lapsed' ? 'lapsed' : 'overridden'
      return { found: 'done', effect: { state: 'reverted', code, why: ended.why, evidence: ended.evidence } }
    },
    resume: () => isolation.resume(),
    stop: () => isolation.stop(),
  }
}

/** End the isolation of a host and restore its firewall exactly (D3-RNA). */
import { releaseHostCard } from '@firebreak/shared/commands/release-host.ts'
import { ok } from '@firebreak/shared/result.ts'
import type { Action } from './action.ts'
import type { Isolation } from './isolation/isolation.ts'

export function createReleaseHost(isolation: Isolation): Action<'release-host'> {
  return {
    type: releaseHostCard.type,
    // A way out is never refused: what cannot be done shows in the effect.
    check: () => Promise.resolve(ok()),
    apply: ({ cmdId, step }) =>
      isolation.release({ cause: 'ordered', why: `released by ${cmdId}`, release_cmd_id: cmdId }, step),
    verify: () => isolation.verifyFree(),
    async reconcile({ cmdId }) {
      const ended = await isolation.endOf((one) => one.release_cmd_id === cmdId)
      const now = await isolation.verifyFree(true)
      const free = now.state === 'verified' || now.state === 'refuted'
      if (!ended && !free) return { found: 'not_done', why: 'the host is still isolated' }
      if (!ended) return { found: 'done', effect: now }
      // It was done by this order; how it was is in what was noted then, how it is in the probes of now.
      const evidence = { ...now.evidence, ...ended.evidence }
      return { found: 'done', effect: free ? { ...now, evidence } : { state: 'applied', evidence } }
    },
    // The isolation is resumed and stopped by `isolate-host`.
    resume: () => Promise.resolve(),
    stop: () => Promise.resolve(),
  }
}

/** An expired trust file stops new containments on this host: that is an alert, not a line in a log that nobody reads. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { TrustStore } from './identity/trust-store.ts'
import type { Log } from './log.ts'
import { AGENT_LOG } from './log-names.ts'

const LOOK_MS = 60_000
const TELL_AGAIN_MS = 86_400_000

export interface TrustExpiry {
  /** Looks now. */
  look(): void
  stop(): void
}

export function watchTrustExpiry(deps: {
  readonly trust: TrustStore
  readonly clock: Clock
  readonly log: Log
  readonly emit: (event: Event) => void
}): TrustExpiry {
  const { trust, clock, log, emit } = deps
  const stop = new AbortController()
  let toldAt = Number.NEGATIVE_INFINITY
  const look = () => {
    const { file } = trust.current()
    if (!trust.current().expired(clock.now())) {
      toldAt = Number.NEGATIVE_INFINITY
      return
    }
    if (clock.monotonic() - toldAt < TELL_AGAIN_MS) return
    toldAt = clock.monotonic()
    log.error(AGENT_LOG.trustExpired, { version: file.version, expires_at: file.expires_at })
    emit({
      '@timestamp': new Date(clock.now()).toISOString(),
      event: {
        kind: 'alert',
        category: ['configuration'],
        type: ['error'],
        action: 'trust-file-expired',
        dataset: 'firebreak.agent',
        provider: 'firebreak-agent',
      },
      message: `Trust file ${file.version} expired at ${file.expires_at}; this host refuses new containments until a newer one arrives.`,
    })
  }
  const watch = async () => {
    for (;;) {
      look()
      await clock.sleep(LOOK_MS, stop.signal)
    }
  }
  watch().catch((thrown: unknown) => {
    if (!stop.signal.aborted) throw thrown
  })
  return { look, stop: () => stop.abort() }
}

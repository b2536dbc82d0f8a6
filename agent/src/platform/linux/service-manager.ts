/**
 * Tells systemd that the agent is ready and alive (sd_notify(3)). Node has no Unix datagram sockets, so `systemd-notify` says it; the
 * unit needs NotifyAccess=all. Does nothing where no service manager listens.
 */
import { execFile } from 'node:child_process'
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Log } from '../../log.ts'
import { AGENT_LOG } from '../../log-names.ts'

export interface ServiceManager {
  ready(status: string): void
  stopping(): void
}

type Env = Readonly<Record<string, string | undefined>>

export function createServiceManager(deps: {
  readonly env: Env
  readonly clock: Clock
  readonly log: Log
}): ServiceManager {
  const { env, clock, log } = deps
  const stop = new AbortController()
  const tell = (...words: readonly string[]) => {
    if (env.NOTIFY_SOCKET === undefined) return
    execFile('systemd-notify', [...words], { timeout: 5_000 }, (error) => {
      if (error) log.warn(AGENT_LOG.notifyFailed, { reason: reasonOf(error) })
    })
  }
  const watch = async () => {
    const everyMs = Number(env.WATCHDOG_USEC) / 2_000
    if (env.NOTIFY_SOCKET === undefined || !(everyMs > 0)) return
    for (;;) {
      await clock.sleep(everyMs, stop.signal)
      tell('WATCHDOG=1')
    }
  }
  return {
    ready(status) {
      tell('--ready', `--status=${status}`)
      watch().catch((thrown: unknown) => {
        if (!stop.signal.aborted) log.error(AGENT_LOG.notifyFailed, { reason: reasonOf(thrown) })
      })
    },
    stopping() {
      stop.abort()
      tell('STOPPING=1')
    },
  }
}

/** The table of all actions, and what the agent may ask about the isolation without an order. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { ControllerLink } from '../link/controller-link.ts'
import type { Platform } from '../platform/platform.ts'
import type { Actions, Effect } from './action.ts'
import type { Log } from '../log.ts'
import { createIsolateHost } from './isolate-host.ts'
import { Isolation } from './isolation/isolation.ts'
import type { Containment, IsolationTiming } from './isolation/isolation-parts.ts'
import { createKillProcess } from './kill-process.ts'
import { createReleaseHost } from './release-host.ts'

/** The end of an effect that no order asked for: the hold was over, somebody freed the host locally, a newer order took over. */
export interface Ended<T extends CommandType = CommandType> {
  readonly cmdId: string
  readonly type: T
  readonly effect: Effect<T>
}

export interface ActionDeps {
  readonly platform: Platform
  readonly link: ControllerLink
  readonly stateDir: string
  readonly clock: Clock
  readonly log: Log
  readonly emit: (event: Event) => void
  /** Makes the receipt; resolves when it is durable. Rejected: told again at the next start. */
  readonly onEnded: (ended: Ended<'isolate-host'>) => Promise<void>
  /** `containment()` answers something else now. */
  readonly onChanged?: (() => void) | undefined
  /** Whether the owner of the host lets nobody kill this process; `executable` as /proc names it, if it is known. */
  readonly protects: (pid: number, executable: string | undefined) => boolean
  readonly timing?: IsolationTiming | undefined
}

export interface ActionTable {
  readonly actions: Actions
  /** The trust file is a newer one: an isolated host must reach the controllers that it names. Rejected: it could not be looked at. */
  controllersChanged(): Promise<void>
  /** For `status`. */
  containment(): Containment
  /** Whether this is the one-time code that the order of the present isolation named. */
  isReleaseCode(code: string): boolean
  /** Break-glass: frees the host at the word of somebody on it, controller or not; the receipt says so later. */
  releaseLocally(reason: string): Promise<Effect<'release-host'>>
}

export function createActions(deps: ActionDeps): ActionTable {
  const { platform, stateDir, clock, protects } = deps
  const isolation = new Isolation({
    ...deps,
    onEnded: (cmdId, effect) => deps.onEnded({ cmdId, type: 'isolate-host', effect }),
  })
  return {
    actions: {
      'isolate-host': createIsolateHost(isolation),
      'release-host': createReleaseHost(isolation),
      'kill-process': createKillProcess({ platform, stateDir, clock, protects }),
    },
    controllersChanged: () => isolation.follow(),
    containment: () => isolation.containment(),
    isReleaseCode: (code) => isolation.isReleaseCode(code),
    releaseLocally: (reason) => isolation.release({ cause: 'overridden', why: `freed on the host: ${reason}` }),
  }
}

import type { Clock } from '@firebreak/shared/clock.ts'
import type { IsolateHost } from '@firebreak/shared/commands/isolate-host.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { ControllerLink } from '../../link/controller-link.ts'
import type { Log } from '../../log.ts'
import type { Platform } from '../../platform/platform.ts'
import type { Effect } from '../action.ts'
import type { Phase } from './state.ts'
import type { LeaseTiming } from './watch.ts'

/** Durable steps in their order; each is told after it is done. */
export const ISOLATE_STEPS = [
  'isolate.before-recorded',
  'isolate.rules-applied',
  'isolate.controller-confirmed',
  'isolate.state-isolated',
  'isolate.boot-file-written',
  'isolate.rules-made-permanent',
  'isolate.connections-closed',
  'isolate.probed',
] as const
export const RELEASE_STEPS = [
  'release.state-releasing',
  'release.boot-file-removed',
  'release.rules-deleted',
  'release.state-cleared',
  'release.probed',
] as const

export interface IsolationParts {
  readonly platform: Platform
  readonly link: ControllerLink
  readonly stateDir: string
  readonly clock: Clock
  readonly log: Log
  readonly emit: (event: Event) => void
  /** An isolation ended without an order to end it; resolves when that is durable where receipts are kept. */
  readonly onEnded: (cmdId: string, effect: Effect<'isolate-host'>) => Promise<void>
  /** The phase changed: whoever is told of it should not wait for the next report. */
  readonly onChanged?: (() => void) | undefined
  readonly timing?: IsolationTiming | undefined
}

/** Shorter in tests. */
export interface IsolationTiming {
  /** Until the signed answer over the new rules must be there, ms. */
  readonly confirmMs?: number
  /** Until unconfirmed rules lapse in the kernel, agent or no agent, s; more than `confirmMs`. */
  readonly lapseAfterS?: number
  /** How long a probe waits for an answer over TCP, ms. */
  readonly tcpProbeMs?: number
  readonly lease?: LeaseTiming
  /** When a release that did not succeed is tried again, ms. */
  readonly releaseRetryMs?: number
}

export interface Containment {
  /** unknown: the state on disk cannot be read; the rules are left as they are. */
  readonly phase: Phase | 'unknown'
  readonly command_id?: string
  readonly expires_at?: string
  readonly drift_count: number
}

export interface IsolationOrder {
  readonly cmdId: string
  readonly args: IsolateHost
  readonly step: (name: string) => void
}

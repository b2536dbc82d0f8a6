import type { ClassSource } from '@firebreak/shared/events/coverage.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { Result } from '@firebreak/shared/result.ts'

/** Why a collector cannot see. Closed; shown in `firebreak-agent status` and in the fleet. */
export type Blindness = 'unsupported_system' | 'no_permission' | 'missing_source' | 'switched_off'

export interface CollectorHealth {
  readonly state: 'running' | 'degraded' | 'off'
  /** In words, when not running as it should. */
  readonly why?: string
  readonly events: number
  /** Events that it knows it missed; each was told by `lost`. */
  readonly lost: number
}

/** Where a collector hands over what it saw. Neither call waits; neither throws. */
export interface Emit {
  event(event: Event): void
  /** The same where its text was made without it: what `whole` gives as JSON, within all limits of an event. */
  text?(eventClass: EventClass, action: string, text: string, whole: () => Event): void
  /** `count` events of this class were seen by the source but are gone; they get numbers of their own and a gap record. */
  lost(eventClass: EventClass, count: number, reason: LossReason, window?: LossWindow): void
}

export type LossReason = 'collector_overflow' | 'kernel_overflow'
/** When what was lost happened, both ends included, ms since the epoch by the host; left out: now. */
export interface LossWindow {
  readonly firstAt: number
  readonly lastAt: number
}

/**
 * One source of facts. `canRun` changes nothing on the host. After `stop` has resolved nothing is emitted any more and no timer,
 * watcher or process of it is left. The agent supervises: a collector that throws out of `start` is named in the status.
 */
export interface Collector {
  readonly name: string
  readonly classes: readonly EventClass[]
  /** How it sees all its classes, while it runs; left out by one that says so itself, class by class. */
  readonly source?: ClassSource
  canRun(): Promise<Result<void, Blindness>>
  start(emit: Emit): Promise<void>
  stop(): Promise<void>
  health(): CollectorHealth
}

import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { CoverageQuality, SourceStatus } from '@firebreak/shared/events/coverage.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { AgentRun } from '@firebreak/shared/wire/messages.ts'
import type { Tx } from '../store/state/state-store.ts'

/** A time in which a host saw less of a class than it could have. */
export interface CoverageWindow {
  readonly agentId: AgentId
  /** `*`: every class. */
  readonly class: EventClass | '*'
  /** Where events of the class came from then: `sensor`, `audit`, `log`, `polling` or `none`. */
  readonly source: string
  readonly quality: CoverageQuality
  /** A gap reason, a source reason, or one of the host's life; `null` for a window of full quality. */
  readonly reason: string | null
  readonly why: string | null
  /** ISO 8601 UTC, in the host's time. */
  readonly from: string
  /** `null`: still so. */
  readonly to: string | null
  /** Events that were lost in it, as far as they are counted. */
  readonly events: number
}

/** Why a host saw nothing at all, or not what it seems: beside the reasons of gaps and sources. */
export const LIFE_REASONS = ['agent_stopped', 'host_down', 'epoch_lost', 'clock'] as const
export type LifeReason = (typeof LIFE_REASONS)[number]

/** What a host said before, as far as it bears on what it did not see. */
export interface Before {
  /** Life of the agent that spoke last. */
  readonly runId: string | null
  /** The host's time when it spoke last, ISO 8601 UTC. */
  readonly saidAt: string | null
}

/** What the fleet tells of a host, in the transaction in which it writes it down. */
export interface CoverageBook {
  /** A life of the agent has begun: what nobody watched since the one before. */
  lived(tx: Tx, agentId: AgentId, run: AgentRun, before: Before): Promise<void>
  /** Where each class comes from now. `offsetMs`: how far the host's clock is ahead of this one. */
  reported(tx: Tx, agentId: AgentId, sources: readonly SourceStatus[], offsetMs: number | undefined): Promise<void>
  /** These events were on a disk that went back in time, or are lost with their epoch. */
  lost(tx: Tx, agentId: AgentId, eventClass: EventClass, window: Lost): Promise<void>
}

export interface Lost {
  readonly from: string
  readonly to: string
  readonly events: number
  readonly why: string
}

export interface Coverage extends CoverageBook {
  start(): Promise<void>
  stop(): Promise<void>
  /** Windows of a host that reach into the time from `since` on, latest first, at most `limit`. */
  ofHost(agentId: AgentId, since: string, limit: number): Promise<readonly CoverageWindow[]>
  /** Windows of less than full quality, of any host that is not shut out, for any of these classes. */
  ofClasses(classes: readonly EventClass[], since: string, limit: number): Promise<readonly CoverageWindow[]>
}

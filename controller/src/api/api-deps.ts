/** What the doors need of the rooms behind them: the smallest interfaces, so that a test can stand the real parts up without a gateway. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { CommandId } from '@firebreak/shared/ids.ts'
import type { Result } from '@firebreak/shared/result.ts'
import type { FastifyBaseLogger } from 'fastify'
import type { Registry } from 'prom-client'
import type { Tokens } from '../access/index.ts'
import type { AuditLog } from '../audit/index.ts'
import type { Fleet, JoinTokens } from '../fleet/index.ts'
import type { Orders } from '../orders/orders.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'

export interface ApiDeps {
  readonly clock: Clock
  readonly log: FastifyBaseLogger
  readonly state: StateStore
  readonly telemetry: TelemetryStore
  readonly bus: Bus
  readonly orders: Orders
  readonly audit: AuditLog
  readonly tokens: Tokens
  readonly fleet: Pick<Fleet, 'revoke'>
  readonly joinTokens: Pick<JoinTokens, 'create' | 'revoke'>
  /** host:port of every controller that agents may reach, as the trust file says. */
  readonly controllers: () => readonly string[]
  readonly releaseCodes: ReleaseCodes
  readonly rules: RuleList
  readonly readiness: Readiness
  /** Every room's figures; the API adds its own. */
  readonly metrics: Registry
}

export interface ReleaseCodes {
  /** One-time code that frees the host locally while no controller reaches it. */
  read(commandId: CommandId, by: string): Promise<Result<string, 'not_found'>>
}

export interface RuleStatus {
  readonly id: string
  readonly title: string
  readonly level: string
  /** Where it was read from, relative to the folder of rules. */
  readonly file: string
  readonly techniques: readonly string[]
  readonly state: 'live' | 'refused'
  /** Why it was refused. */
  readonly why: string | null
  readonly matches: number
  readonly lastMatchAt: string | null
}
export interface RuleList {
  list(): readonly RuleStatus[]
}

export const READY_PARTS = ['store', 'telemetry', 'keys', 'rules'] as const
export type ReadyPart = (typeof READY_PARTS)[number]
export interface Readiness {
  check(): Promise<Readonly<Record<ReadyPart, { readonly ready: boolean; readonly why?: string }>>>
}

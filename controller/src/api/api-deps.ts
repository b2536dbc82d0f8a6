/** What the doors need of the rooms behind them: the smallest interfaces, so that a test can stand the real parts up without a gateway. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { FastifyBaseLogger } from 'fastify'
import type { Registry } from 'prom-client'
import type { Tokens } from '../access/index.ts'
import type { AuditLog } from '../audit/index.ts'
import type { Coverage } from '../coverage/index.ts'
import type { Detect } from '../detect/index.ts'
import type { Fleet, JoinTokens } from '../fleet/index.ts'
import type { Indicators } from '../indicators/index.ts'
import type { Imports } from '../import/index.ts'
import type { Orders, ReleaseCodes } from '../orders/index.ts'
import type { Respond } from '../respond/index.ts'
import type { Search } from '../search/index.ts'
import type { Backups } from '../store/backup/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import type { Triage } from '../triage/index.ts'

export interface ApiDeps {
  readonly clock: Clock
  readonly log: FastifyBaseLogger
  readonly state: StateStore
  readonly telemetry: TelemetryStore
  readonly search: Search
  readonly bus: Bus
  readonly orders: Orders
  readonly audit: AuditLog
  readonly tokens: Tokens
  readonly fleet: Pick<Fleet, 'revoke'>
  readonly joinTokens: Pick<JoinTokens, 'create' | 'revoke'>
  /** host:port of every controller that agents may reach, as the trust file says. */
  readonly controllers: () => readonly string[]
  readonly releaseCodes: ReleaseCodes
  readonly rules: Pick<Detect, 'ruleList'>
  readonly coverage: Pick<Coverage, 'ofHost' | 'ofClasses'>
  readonly playbooks: Pick<Respond, 'playbookList'>
  readonly triage: Pick<Triage, 'setVerdict'>
  readonly imports: Imports
  readonly indicators: Indicators
  readonly backups: Backups
  readonly readiness: Readiness
  /** Every room's figures; the API adds its own. */
  readonly metrics: Registry
}

export const READY_PARTS = ['store', 'telemetry', 'keys', 'rules', 'playbooks'] as const
export type ReadyPart = (typeof READY_PARTS)[number]
export interface Readiness {
  check(): Promise<Readonly<Record<ReadyPart, { readonly ready: boolean; readonly why?: string }>>>
}

/** Hosts: who they are, whether they are there, what they report. Identity comes from the connection; facts are only for people. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { verifierOf } from '@firebreak/shared/trust/ed25519.ts'
import type { AgentMessage, StreamCount } from '@firebreak/shared/wire/messages.ts'
import type { Audit } from '../audit/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { examine, type Finding } from './accounting.ts'
import type { RaiseAlarm } from './alarm.ts'
import type { Selectable } from 'kysely'
import type { FleetLog, FleetMetrics } from './log-names.ts'

type HostRow = Selectable<Tables['hosts']>
export type Hello = Extract<AgentMessage, { t: 'hello' }>
export type Status = Extract<AgentMessage, { t: 'status' }>
export type Verifier = (message: Uint8Array, signature: Uint8Array) => boolean

export interface HostView {
  readonly agentId: AgentId
  readonly hostname: string
  readonly group: string
  readonly tags: readonly string[]
  readonly protected: boolean
  readonly criticality: Tables['hosts']['criticality']
  readonly connected: boolean
  readonly revoked: boolean
  readonly lastSeenAt: string | null
  readonly trustVersion: number
}

export interface HostChange {
  readonly tags?: readonly string[]
  readonly protected?: boolean
  readonly criticality?: Tables['hosts']['criticality']
  readonly group?: string
}

export interface Fleet {
  list(): Promise<readonly HostView[]>
  get(agentId: string): Promise<HostView | undefined>
  change(agentId: string, change: HostChange, by: string, reason: string): Promise<Result<HostView, 'not_found'>>
  /** The agent is never let in again; its id is never used again. */
  revoke(agentId: string, by: string, reason: string): Promise<Result<void, 'not_found'>>
  /** Who may connect under this id, and how its signatures are checked. */
  admit(agentId: string): Promise<Result<Verifier, 'unknown_agent' | 'revoked_agent'>>
  connected(agentId: AgentId, session: string, hello: Hello): Promise<void>
  disconnected(agentId: AgentId, session: string): Promise<void>
  /** Takes a status in and holds its numbers against the controller's. */
  report(agentId: AgentId, status: Status): Promise<void>
  /** At the start: nobody is connected, whatever was written before a crash. */
  forgetSessions(): Promise<void>
}

export interface FleetDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly bus: Bus
  readonly clock: Clock
  readonly log: FleetLog
  readonly metrics: FleetMetrics
  readonly raise: RaiseAlarm
}

/** An ack that was sent this long before must have arrived; a status that comes sooner proves nothing about it. */
const ACK_MUST_HAVE_ARRIVED_MS = 2_000

export function createFleet(deps: FleetDeps): Fleet {
  return new StoredFleet(deps)
}

class StoredFleet implements Fleet {
  readonly #deps: FleetDeps
  /** Events acked, per stream, when its agent spoke last. */
  readonly #ackedAt = new Map<string, { readonly at: number; readonly events: number }>()
  readonly #alarmed = new Map<string, string>()

  constructor(deps: FleetDeps) {
    this.#deps = deps
  }

  async list(): Promise<readonly HostView[]> {
    const rows = await this.#deps.state.db.selectFrom('hosts').selectAll().orderBy('hostname').execute()
    return rows.map(viewOf)
  }

  async get(agentId: string): Promise<HostView | undefined> {
    const row = await this.#deps.state.db
      .selectFrom('hosts')
      .selectAll()
      .where('agent_id', '=', agentId)
      .executeTakeFirst()
    return row && viewOf(row)
  }

  async change(
    agentId: string,
    change: HostChange,
    by: string,
    reason: string,
  ): Promise<Result<HostView, 'not_found'>> {
    const { state, audit, bus } = this.#deps
    const changed = await state.write(async (tx): Promise<Result<HostView, 'not_found'>> => {
      const before = await tx.selectFrom('hosts').selectAll().where('agent_id', '=', agentId).executeTakeFirst()
      if (!before) return refuse('not_found', `there is no host ${agentId}`)
      const set = {
        ...(change.tags ? { tags: JSON.stringify([...new Set(change.tags)].sort()) } : {}),
        ...(change.protected === undefined ? {} : { protected: change.protected ? (1 as const) : (0 as const) }),
        ...(change.criticality ? { criticality: change.criticality } : {}),
        ...(change.group === undefined ? {} : { group_name: change.group }),
      }
      if (Object.keys(set).length > 0) await tx.updateTable('hosts').set(set).where('agent_id', '=', agentId).execute()
      await audit.append(tx, {
        actor: by,
        action: 'fleet.host.changed',
        objectType: 'host',
        objectId: agentId,
        detail: { reason, before: shortOf(before), after: shortOf({ ...before, ...set }) },
      })
      return ok(viewOf({ ...before, ...set }))
    })
    if (changed.ok) bus.publish('host.changed', { agentId: changed.value.agentId })
    return changed
  }

  async revoke(agentId: string, by: string, reason: string): Promise<Result<void, 'not_found'>> {
    const { state, audit, bus, clock } = this.#deps
    const revoked = await state.write(async (tx): Promise<Result<void, 'not_found'>> => {
      const { numUpdatedRows } = await tx
        .updateTable('hosts')
        .set({ revoked_at: new Date(clock.now()).toISOString() })
        .where('agent_id', '=', agentId)
        .where('revoked_at', 'is', null)
        .executeTakeFirst()
      if (numUpdatedRows === 0n) {
        const known = await tx.selectFrom('hosts').select('agent_id').where('agent_id', '=', agentId).executeTakeFirst()
        return known ? ok() : refuse('not_found', `there is no host ${agentId}`)
      }
      await audit.append(tx, {
        actor: by,
        action: 'fleet.host.revoked',
        objectType: 'host',
        objectId: agentId,
        detail: { reason },
      })
      return ok()
    })
    if (revoked.ok) bus.publish('host.changed', { agentId: agentId as AgentId })
    return revoked
  }

  async admit(agentId: string): Promise<Result<Verifier, 'unknown_agent' | 'revoked_agent'>> {
    const row = await this.#deps.state.db
      .selectFrom('hosts')
      .select(['public_key', 'revoked_at'])
      .where('agent_id', '=', agentId)
      .executeTakeFirst()
    const publicKey = row && decodeBase64(row.public_key)
    const verifier = publicKey && verifierOf(publicKey)
    if (!row || !verifier) return refuse('unknown_agent', 'this agent has not joined this controller')
    return row.revoked_at === null ? ok(verifier) : refuse('revoked_agent', 'this agent was revoked')
  }

  async connected(agentId: AgentId, session: string, hello: Hello): Promise<void> {
    const { state, bus, clock } = this.#deps
    const findings = await state.write(async (tx) => {
      await tx
        .updateTable('hosts')
        .set({
          connected_session: session,
          last_seen_at: new Date(clock.now()).toISOString(),
          boot_id: hello.boot_id,
          trust_version: hello.trust_version,
          hostname: hello.facts.hostname,
          facts: JSON.stringify(hello.facts),
        })
        .where('agent_id', '=', agentId)
        .execute()
      return this.#hold(tx, agentId, hello.streams, false)
    })
    bus.publish('host.connected', { agentId, session })
    await this.#tell(agentId, findings)
  }

  async disconnected(agentId: AgentId, session: string): Promise<void> {
    const { state, bus, clock } = this.#deps
    await state.write((tx) =>
      tx
        .updateTable('hosts')
        .set({ connected_session: null, last_seen_at: new Date(clock.now()).toISOString() })
        .where('agent_id', '=', agentId)
        .where('connected_session', '=', session)
        .execute(),
    )
    bus.publish('host.disconnected', { agentId, session })
  }

  async report(agentId: AgentId, status: Status): Promise<void> {
    const { state, bus, clock } = this.#deps
    const containment = JSON.stringify(status.containment)
    const collectors = JSON.stringify(status.collectors)
    const { findings, changed } = await state.write(async (tx) => {
      const before = await tx
        .selectFrom('hosts')
        .select(['containment', 'collectors'])
        .where('agent_id', '=', agentId)
        .executeTakeFirst()
      await tx
        .updateTable('hosts')
        .set({ last_seen_at: new Date(clock.now()).toISOString(), containment, collectors })
        .where('agent_id', '=', agentId)
        .execute()
      return {
        findings: await this.#hold(tx, agentId, status.streams, true),
        changed: before?.containment !== containment,
      }
    })
    if (changed) bus.publish('host.changed', { agentId })
    await this.#tell(agentId, findings)
  }

  async forgetSessions(): Promise<void> {
    await this.#deps.state.write((tx) =>
      tx.updateTable('hosts').set({ connected_session: null }).where('connected_session', 'is not', null).execute(),
    )
  }

  /** Keeps what the agent says of its streams and returns what does not add up. `live`: said on a connection that gets acks. */
  async #hold(
    tx: Tx,
    agentId: AgentId,
    streams: readonly StreamCount[],
    live: boolean,
  ): Promise<{ readonly said: StreamCount; readonly finding: Finding }[]> {
    const now = this.#deps.clock.monotonic()
    const findings: { said: StreamCount; finding: Finding }[] = []
    for (const said of streams) {
      const row = await tx
        .selectFrom('streams')
        .select(['acked_seq', 'stored', 'invalid'])
        .where('agent_id', '=', agentId)
        .where('epoch', '=', said.epoch)
        .where('class', '=', said.class)
        .executeTakeFirst()
      const key = `${agentId}:${said.epoch}:${said.class}`
      const last = this.#ackedAt.get(key)
      const settled = live && last !== undefined && now - last.at >= ACK_MUST_HAVE_ARRIVED_MS
      const finding = examine(said, row, settled ? last.events : undefined)
      if (finding) findings.push({ said, finding })
      else this.#alarmed.delete(key)
      if (!live) this.#ackedAt.delete(key)
      else if (settled || last === undefined)
        this.#ackedAt.set(key, { at: now, events: (row?.stored ?? 0) + (row?.invalid ?? 0) })
      if (row)
        await tx
          .updateTable('streams')
          .set({ produced: said.produced, spooled: said.spooled, reported_dropped: said.dropped })
          .where('agent_id', '=', agentId)
          .where('epoch', '=', said.epoch)
          .where('class', '=', said.class)
          .execute()
    }
    return findings
  }

  async #tell(agentId: AgentId, findings: readonly { said: StreamCount; finding: Finding }[]): Promise<void> {
    for (const { said, finding } of findings) {
      const key = `${agentId}:${said.epoch}:${said.class}`
      const same = `${finding.kind}:${finding.events}`
      if (this.#alarmed.get(key) === same) continue
      this.#alarmed.set(key, same)
      this.#deps.metrics.unaccounted.inc({ kind: finding.kind }, finding.events)
      this.#deps.log.error('fleet.events.unaccounted', {
        'host.id': agentId,
        class: said.class,
        kind: finding.kind,
        events: finding.events,
      })
      await this.#deps.raise({
        kind: 'unaccounted_events',
        agentId,
        key: `${said.epoch}:${said.class}:${same}`,
        atMs: this.#deps.clock.now(),
        message: `${said.class}: ${finding.why}`,
      })
    }
  }
}

function viewOf(row: HostRow): HostView {
  return {
    agentId: row.agent_id as AgentId,
    hostname: row.hostname,
    group: row.group_name,
    tags: JSON.parse(row.tags) as string[],
    protected: row.protected === 1,
    criticality: row.criticality,
    connected: row.connected_session !== null,
    revoked: row.revoked_at !== null,
    lastSeenAt: row.last_seen_at,
    trustVersion: row.trust_version,
  }
}

function shortOf(row: HostRow): Record<string, unknown> {
  return { tags: row.tags, protected: row.protected === 1, criticality: row.criticality, group: row.group_name }
}

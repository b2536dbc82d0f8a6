/** Hosts: who they are, whether they are there, what they report. Identity comes from the connection; facts are only for people. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { verifierOf } from '@firebreak/shared/trust/ed25519.ts'
import type { AgentMessage, AgentRun } from '@firebreak/shared/wire/messages.ts'
import type { Audit } from '../audit/index.ts'
import type { Before, CoverageBook } from '../coverage/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import type { RaiseAlarm } from './alarm.ts'
import { isBehind, takeRenewals, type WentBack } from './epoch-ends.ts'
import type { Selectable } from 'kysely'
import type { FleetLog, FleetMetrics } from './log-names.ts'
import { StreamAccounts } from './stream-accounts.ts'

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
  /** Two machines were there under one key at once. */
  cloned(agentId: AgentId, one: Machine, other: Machine): Promise<void>
  /** At the start: nobody is connected, whatever was written before a crash. */
  forgetSessions(): Promise<void>
}

/** One end of a connection, as far as it tells machines apart. */
export interface Machine {
  readonly hello: Hello
  readonly address: string
}

export interface FleetDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly bus: Bus
  readonly clock: Clock
  readonly log: FleetLog
  readonly metrics: FleetMetrics
  readonly raise: RaiseAlarm
  readonly coverage: CoverageBook
  /** Every difference in the events of this host is explained. */
  readonly explained: (agentId: AgentId, why: string) => Promise<void>
}

/** A host that was seen twice is not told to have gone back in time as well, for so long. */
const CLONE_TOLD_MS = 24 * 3_600_000

export function createFleet(deps: FleetDeps): Fleet {
  return new StoredFleet(deps)
}

class StoredFleet implements Fleet {
  readonly #deps: FleetDeps
  readonly #accounts: StreamAccounts
  /** What each connected host had said before this connection. */
  readonly #before = new Map<AgentId, { readonly isBehind: boolean; readonly saidAt: string | null }>()
  /** When a host was last seen twice, ms of the clock that only goes on. */
  readonly #cloned = new Map<AgentId, number>()

  constructor(deps: FleetDeps) {
    this.#deps = deps
    this.#accounts = new StreamAccounts(deps)
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
    const { state, bus, clock, coverage } = this.#deps
    const { run } = hello
    const held = await state.write(async (tx) => {
      const row = await tx
        .selectFrom('hosts')
        .select(['run', 'said_at'])
        .where('agent_id', '=', agentId)
        .executeTakeFirstOrThrow()
      const before: Before = { runId: runIdOf(row.run), saidAt: row.said_at }
      this.#before.set(agentId, { isBehind: isBehind(run, before), saidAt: row.said_at })
      await tx
        .updateTable('hosts')
        .set({
          connected_session: session,
          last_seen_at: new Date(clock.now()).toISOString(),
          boot_id: hello.boot_id,
          trust_version: hello.trust_version,
          hostname: hello.facts.hostname,
          facts: JSON.stringify(hello.facts),
          run: run === undefined ? null : JSON.stringify(run),
        })
        .where('agent_id', '=', agentId)
        .execute()
      if (run !== undefined) await coverage.lived(tx, agentId, run, before)
      return this.#accounts.hold(tx, agentId, hello.streams, false)
    })
    bus.publish('host.connected', { agentId, session })
    await this.#accounts.tell(agentId, held)
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
    const { state, bus, clock, coverage } = this.#deps
    const now = clock.now()
    const at = new Date(now).toISOString()
    const containment = JSON.stringify(status.containment)
    const collectors = JSON.stringify(status.collectors)
    const saidAt = saidAtOf(status.at_ms)
    const { held, changed, wentBack } = await state.write(async (tx) => {
      const before = await tx
        .selectFrom('hosts')
        .select(['containment', 'sources'])
        .where('agent_id', '=', agentId)
        .executeTakeFirst()
      const sources = status.sources === undefined ? before?.sources : JSON.stringify(status.sources)
      await tx
        .updateTable('hosts')
        .set({
          last_seen_at: at,
          containment,
          collectors,
          ...(sources === undefined ? {} : { sources }),
          ...(saidAt === undefined ? {} : { said_at: saidAt }),
        })
        .where('agent_id', '=', agentId)
        .execute()
      const host = { isBehind: true, saidAt: null, ...this.#before.get(agentId), agentId, at }
      const wentBack = await takeRenewals(tx, host, status.renewals ?? [], coverage)
      const offset = status.at_ms === undefined ? undefined : status.at_ms - now
      await coverage.reported(tx, agentId, sources === before?.sources ? [] : (status.sources ?? []), offset)
      return {
        held: await this.#accounts.hold(tx, agentId, status.streams, true),
        changed: before?.containment !== containment,
        wentBack,
      }
    })
    if (changed) bus.publish('host.changed', { agentId })
    await this.#accounts.tell(agentId, held)
    for (const one of wentBack) await this.#reverted(agentId, one)
  }

  async cloned(agentId: AgentId, one: Machine, other: Machine): Promise<void> {
    const { clock, log, metrics, raise } = this.#deps
    this.#cloned.set(agentId, clock.monotonic())
    metrics.strange.inc({ kind: 'cloned' })
    const [a, b] = [machineText(one), machineText(other)]
    log.error('fleet.host.cloned', { 'host.id': agentId, one: a, other: b })
    await raise({
      kind: 'host_cloned',
      agentId,
      key: [keyOf(one), keyOf(other)].sort().join(':'),
      atMs: clock.now(),
      message:
        `two machines use the key of this agent: ${a}, and ${b}. Events of both are kept, each in an epoch of its own. ` +
        'On the copy: stop the agent, `firebreak-agent reset-identity`, and join it again with a new join string',
    })
  }

  async #reverted(agentId: AgentId, { renewal, lost }: WentBack): Promise<void> {
    const { clock, log, metrics, raise } = this.#deps
    const cloned = this.#cloned.get(agentId)
    if (cloned !== undefined && clock.monotonic() - cloned < CLONE_TOLD_MS) return
    metrics.strange.inc({ kind: 'reverted' })
    log.error('fleet.host.reverted', { 'host.id': agentId, epoch: renewal.from, into: renewal.into, events_lost: lost })
    await raise({
      kind: 'host_reverted',
      agentId,
      key: `${renewal.from}:${renewal.into}`,
      atMs: clock.now(),
      message:
        `the disk of this host went back in time (${renewal.why}): a snapshot was put back, or it is a copy of another machine. ` +
        `It goes on in epoch ${renewal.into}; what it had sent before is kept, and ${lost} events that it had not sent are lost with epoch ${renewal.from}`,
    })
  }

  async forgetSessions(): Promise<void> {
    await this.#accounts.measure()
    await this.#deps.state.write((tx) =>
      tx.updateTable('hosts').set({ connected_session: null }).where('connected_session', 'is not', null).execute(),
    )
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

function runIdOf(run: string | null): string | null {
  return run === null ? null : ((JSON.parse(run) as AgentRun).id ?? null)
}

/** A host may say anything: a time that is none is not kept. */
function saidAtOf(ms: number | undefined): string | undefined {
  return ms === undefined || ms >= Date.UTC(2262, 0, 1) ? undefined : new Date(ms).toISOString()
}

function machineText({ hello, address }: Machine): string {
  const { hostname, machine_id_sha256: machine } = hello.facts
  return `${hostname} at ${address} (boot ${hello.boot_id.slice(0, 8)}${machine === undefined ? '' : `, machine ${machine.slice(0, 8)}`})`
}

/** The same two machines again are the same alarm. */
function keyOf({ hello, address }: Machine): string {
  return hello.run?.id ?? `${hello.boot_id}@${address}`
}

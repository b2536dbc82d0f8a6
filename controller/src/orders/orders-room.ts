/** The only way to a command: right, arguments and host are checked here, once, for every door; then it waits for its host. */
import { COMMAND_CARDS, type CommandType, isCommandType } from '@firebreak/shared/commands/catalogue.ts'
import { type CommandState, FINAL_STATES } from '@firebreak/shared/commands/command.ts'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type AgentId, type CommandId, newId } from '@firebreak/shared/ids.ts'
import { Fault, type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import type { Registry } from 'prom-client'
import { Compile } from 'typebox/compile'
import type { Audit } from '../audit/index.ts'
import type { RaiseAlarm } from '../fleet/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { ControllerTrust } from '../trust/index.ts'
import { advance, type CommandRow, findCommand, insertCommand, viewOf } from './command-store.ts'
import { Delivery } from './delivery.ts'
import type { AgentLink, OrdersRoom, ReleaseCodes } from './index.ts'
import { type OrdersLog, type OrdersMetrics, ordersMetrics } from './log-names.ts'
import type { Actor, CommandView, Intent, OrderRefusal } from './orders.ts'
import { takeReceipt } from './receipts.ts'
import { newReleaseCode, releaseCodeContext, releaseCodeDigest } from './release-code.ts'
import { mayOrder, nameOfActor } from './rights.ts'
import { CANCELLABLE, OWED } from './states.ts'

export interface OrdersDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly trust: ControllerTrust
  readonly bus: Bus
  readonly clock: Clock
  readonly log: OrdersLog
  readonly metrics: Registry
  readonly raise: RaiseAlarm
}

const DEFAULT_WAIT_S = 86_400
const MAX_WAIT_S = 30 * 86_400
const MAX_REASON = 1_024
const WATCH_MS = 500
const argsSchemas = {
  'isolate-host': Compile(COMMAND_CARDS['isolate-host'].args),
  'release-host': Compile(COMMAND_CARDS['release-host'].args),
  'kill-process': Compile(COMMAND_CARDS['kill-process'].args),
} satisfies Record<CommandType, unknown>

export function createOrders(deps: OrdersDeps): OrdersRoom {
  return new Room(deps)
}

class Room implements OrdersRoom {
  readonly releaseCodes: ReleaseCodes
  readonly #deps: OrdersDeps
  readonly #metrics: OrdersMetrics
  readonly #delivery: Delivery
  readonly #stopping = new AbortController()
  #watching: Promise<void> | undefined
  #lastCreatedMs = 0

  constructor(deps: OrdersDeps) {
    this.#deps = deps
    this.#metrics = ordersMetrics(deps.metrics)
    this.#delivery = new Delivery({ ...deps, metrics: this.#metrics })
    this.releaseCodes = { read: (commandId, by) => this.#readReleaseCode(commandId, by) }
  }

  async start(): Promise<void> {
    await this.#delivery.start()
    this.#watching = this.#watch()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#watching
    await this.#delivery.idle()
  }

  async propose(intent: Intent, actor: Actor): Promise<Result<CommandView, OrderRefusal>> {
    const { state, bus, log } = this.#deps
    const refused = this.#checkIntent(intent, actor)
    const proposed = refused ?? (await state.write((tx) => this.#queue(tx, intent, actor)))
    const type = isCommandType(intent.type) ? intent.type : 'unknown'
    this.#metrics.proposed.inc({ type, result: proposed.ok ? 'queued' : proposed.code })
    if (!proposed.ok) return proposed
    const { id, agentId } = proposed.value
    log.info('orders.command.proposed', { 'host.id': agentId, command_id: id, type, actor: nameOfActor(actor) })
    bus.publish('command.changed', { commandId: id, agentId })
    this.#delivery.kick(agentId)
    return proposed
  }

  async cancel(id: CommandId, actor: Actor, reason: string): Promise<Result<CommandView, OrderRefusal>> {
    const { state, audit, bus } = this.#deps
    const cancelled = await state.write(async (tx): Promise<Result<CommandView, OrderRefusal>> => {
      const row = await findCommand(tx, id)
      if (!row) return refuse('not_found', `there is no command ${id}`)
      if (!mayOrder(actor, row.type as CommandType)) return forbidden(actor, row.type)
      if (!CANCELLABLE.has(row.state as CommandState))
        return refuse('not_cancellable', `the command is ${row.state}; only what no host has taken can be cancelled`)
      const why = reason.slice(0, MAX_REASON)
      const now = await advance(tx, row, 'cancelled', this.#at(), { why }, { actor: nameOfActor(actor) })
      await audit.append(tx, {
        actor: nameOfActor(actor),
        action: 'orders.command.cancelled',
        objectType: 'command',
        objectId: id,
        detail: { reason: why },
      })
      return ok(viewOf(now))
    })
    if (cancelled.ok) bus.publish('command.changed', { commandId: id, agentId: cancelled.value.agentId })
    return cancelled
  }

  async settled(id: CommandId, signal?: AbortSignal): Promise<CommandView> {
    const { state, bus } = this.#deps
    const changed = Promise.withResolvers<CommandView>()
    const look = async () => {
      const row = await findCommand(state.db, id)
      if (!row) changed.reject(new Fault('not_found', `there is no command ${id}`))
      else if (FINAL_STATES.has(row.state as CommandState)) changed.resolve(viewOf(row))
    }
    const stop = bus.subscribe('command.changed', (message) => (message.commandId === id ? look() : undefined))
    const abort = () => changed.reject(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      signal?.throwIfAborted()
      await look()
      return await changed.promise
    } finally {
      stop()
      signal?.removeEventListener('abort', abort)
    }
  }

  async preview(
    intent: Intent,
    actor: Actor,
  ): Promise<Result<{ hostname: string; connected: boolean; protected: boolean }, OrderRefusal>> {
    const refused = this.#checkIntent(intent, actor)
    if (refused) return refused
    const host = await findHost(this.#deps.state.db, intent.agentId)
    if (!host.ok) return host
    return ok({
      hostname: host.value.hostname,
      connected: this.#delivery.isConnected(intent.agentId),
      protected: host.value.protected === 1,
    })
  }

  connected(agentId: AgentId, link: AgentLink, known: { readonly lease: number; readonly seq: number }): Promise<void> {
    return this.#delivery.connected(agentId, link, known)
  }

  disconnected(agentId: AgentId, session: string): void {
    this.#delivery.disconnected(agentId, session)
  }

  receipt(agentId: AgentId, envelope: Envelope): Promise<Result<number, 'malformed'>> {
    return takeReceipt({ ...this.#deps, metrics: this.#metrics }, agentId, envelope)
  }

  #checkIntent(intent: Intent, actor: Actor): Result<never, OrderRefusal> | undefined {
    if (!isCommandType(intent.type)) return refuse('bad_args', `there is no command type ${String(intent.type)}`)
    if (!mayOrder(actor, intent.type)) return forbidden(actor, intent.type)
    if (!argsSchemas[intent.type].Check(intent.args)) {
      const [error] = argsSchemas[intent.type].Errors(intent.args)
      return refuse('bad_args', `${error?.instancePath ?? ''} ${error?.message ?? 'does not fit'}`.trim())
    }
    if (intent.type === 'isolate-host' && (intent.args as { release_code_sha256?: string }).release_code_sha256)
      return refuse('bad_args', 'the release code is made by the controller')
    return undefined
  }

  async #queue(tx: Tx, intent: Intent, actor: Actor): Promise<Result<CommandView, OrderRefusal>> {
    const { audit, trust, clock } = this.#deps
    const name = nameOfActor(actor)
    const again = await this.#proposedBefore(tx, intent, name)
    if (again) return again
    const host = await findHost(tx, intent.agentId)
    if (!host.ok) return host
    if (host.value.protected === 1 && actor.kind === 'playbook' && intent.type !== 'release-host')
      return refuse('protected_host', `${host.value.hostname} is protected: only a person may order this`)
    // No two at the same time: isolating and releasing a host go out in the order in which they were asked for.
    const createdMs = Math.max(clock.now(), this.#lastCreatedMs + 1)
    this.#lastCreatedMs = createdMs
    const id = newId<'command'>(createdMs)
    const code = intent.type === 'isolate-host' ? newReleaseCode() : undefined
    const args = code === undefined ? intent.args : { ...intent.args, release_code_sha256: releaseCodeDigest(code) }
    const at = new Date(createdMs).toISOString()
    const waitS = Math.max(1, Math.min(MAX_WAIT_S, intent.expiresInS ?? DEFAULT_WAIT_S))
    const row = {
      id,
      agent_id: intent.agentId,
      type: intent.type,
      args: JSON.stringify(args),
      risk: COMMAND_CARDS[intent.type].risk,
      state: 'proposed',
      actor: name,
      reason: intent.reason.slice(0, MAX_REASON),
      incident_id: intent.incidentId ?? null,
      run_id: intent.runId ?? null,
      playbook: intent.playbook ?? null,
      idempotency_key: intent.idempotencyKey ?? null,
      release_code_wrapped: code === undefined ? null : trust.wrap.seal(Buffer.from(code), releaseCodeContext(id)),
      created_at: at,
      expires_at: new Date(clock.now() + waitS * 1_000).toISOString(),
      delivered_at: null,
      deadline_at: null,
      session: null,
      lease: null,
      seq: null,
      payload_sha256: null,
      code: null,
      why: null,
      evidence: null,
      updated_at: at,
    }
    await insertCommand(tx, row, at)
    await audit.append(tx, {
      actor: name,
      action: 'orders.command.proposed',
      objectType: 'command',
      objectId: id,
      detail: { agent_id: intent.agentId, type: intent.type, args, reason: row.reason, incident_id: row.incident_id },
    })
    // Whoever has the right to order it approves it by ordering it.
    const approved = await advance(tx, row, 'approved', at, {}, { by: name })
    return ok(viewOf(await advance(tx, approved, 'queued', at)))
  }

  async #proposedBefore(tx: Tx, intent: Intent, name: string): Promise<Result<CommandView, OrderRefusal> | undefined> {
    if (intent.idempotencyKey === undefined) return undefined
    const row = await tx
      .selectFrom('commands')
      .selectAll()
      .where('actor', '=', name)
      .where('idempotency_key', '=', intent.idempotencyKey)
      .executeTakeFirst()
    if (!row) return undefined
    const same = row.agent_id === intent.agentId && row.type === intent.type && sameArgs(row, intent.args)
    return same ? ok(viewOf(row)) : refuse('conflicting_key', 'this key was used for another command')
  }

  async #readReleaseCode(commandId: CommandId, by: string): Promise<Result<string, 'not_found'>> {
    const { state, audit, trust } = this.#deps
    return state.write(async (tx): Promise<Result<string, 'not_found'>> => {
      const row = await findCommand(tx, commandId)
      if (!row || row.release_code_wrapped === null) return refuse('not_found', 'no release code was made for it')
      await audit.append(tx, {
        actor: by,
        action: 'orders.release_code.read',
        objectType: 'command',
        objectId: commandId,
        detail: { agent_id: row.agent_id },
      })
      const code = trust.wrap.open(row.release_code_wrapped, releaseCodeContext(commandId))
      return ok(Buffer.from(code).toString('utf8'))
    })
  }

  /** Wishes past their time expire; a host that owes an answer past the deadline makes its command `unknown`. */
  async #watch(): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await clock.sleep(WATCH_MS, signal)
        await this.#endOverdue()
        this.#delivery.retry()
      } catch (thrown) {
        if (!signal.aborted) log.error('orders.watch.failed', { why: reasonOf(thrown) })
      }
    }
  }

  async #endOverdue(): Promise<void> {
    const { state, audit, bus, log } = this.#deps
    const now = this.#at()
    const silent = await state.db
      .selectFrom('commands')
      .select('id')
      .where('state', 'in', OWED)
      .where('deadline_at', '<=', now)
      .execute()
    const late = await state.db
      .selectFrom('commands')
      .select('id')
      .where('state', '=', 'queued')
      .where('expires_at', '<=', now)
      .execute()
    for (const { id } of [...silent, ...late]) {
      const ended = await state.write(async (tx) => {
        const row = await findCommand(tx, id)
        const owed = row && OWED.includes(row.state as CommandState) && (row.deadline_at ?? '') <= now
        if (!row || (!owed && row.state !== 'queued')) return undefined
        const to = owed ? 'unknown' : 'expired'
        const why = owed ? 'the host did not answer in time' : 'the host did not connect in time'
        await audit.append(tx, {
          actor: 'system',
          action: `orders.command.${to === 'unknown' ? 'lost' : to}`,
          objectType: 'command',
          objectId: id,
          detail: { from: row.state, why },
        })
        return advance(tx, row, to, now, { why })
      })
      if (!ended) continue
      this.#metrics.states.inc({ type: ended.type, state: ended.state })
      log.warn('orders.command.silent', { 'host.id': ended.agent_id, command_id: id, state: ended.state })
      bus.publish('command.changed', { commandId: ended.id as CommandId, agentId: ended.agent_id as AgentId })
    }
  }

  #at(): string {
    return new Date(this.#deps.clock.now()).toISOString()
  }
}

async function findHost(
  db: Pick<Tx, 'selectFrom'>,
  agentId: string,
): Promise<Result<{ hostname: string; protected: 0 | 1 }, 'unknown_host' | 'revoked_host' | 'imported_host'>> {
  const host = await db
    .selectFrom('hosts')
    .select(['hostname', 'protected', 'revoked_at', 'imported_at'])
    .where('agent_id', '=', agentId)
    .executeTakeFirst()
  if (!host) return refuse('unknown_host', `there is no host ${agentId}`)
  if (host.imported_at !== null)
    return refuse('imported_host', `${host.hostname} was imported from a recording: there is no agent that could act`)
  return host.revoked_at === null ? ok(host) : refuse('revoked_host', `${host.hostname} was revoked`)
}

function forbidden(actor: Actor, type: string): Result<never, 'forbidden'> {
  return refuse('forbidden', `${nameOfActor(actor)} may not order ${type}`)
}

function sameArgs(row: CommandRow, args: unknown): boolean {
  const { release_code_sha256: _made, ...asked } = JSON.parse(row.args) as Record<string, unknown>
  return sorted(asked) === sorted(args as Record<string, unknown>)
}

function sorted(args: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(Object.entries(args).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/**
 * Late signing: what waits for a host is an approved wish; the command is signed when the host is there, for exactly this connection,
 * with a number that is on disk before the command is on the wire (design 4). What a host did not answer goes out again after it has
 * connected anew, under the same id, so that the host carries it out once.
 */
import { createHash } from 'node:crypto'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import {
  COMMAND_PAYLOAD_TYPE,
  type Command,
  MAX_COMMAND_LIFE_S,
  MAX_LEASE,
  MAX_SEQUENCE_JUMP,
} from '@firebreak/shared/commands/command.ts'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { seal } from '@firebreak/shared/trust/dsse.ts'
import type { Audit } from '../audit/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { ControllerTrust } from '../trust/index.ts'
import { advance, cardOf, type CommandRow, viewOf } from './command-store.ts'
import type { AgentLink } from './index.ts'
import type { OrdersLog, OrdersMetrics } from './log-names.ts'

export interface DeliveryDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly trust: Pick<ControllerTrust, 'commandKey' | 'deploymentId' | 'trust'>
  readonly bus: Bus
  readonly clock: Pick<Clock, 'now'>
  readonly log: OrdersLog
  readonly metrics: OrdersMetrics
}

interface Line {
  readonly link: AgentLink
  /** Under which commands for this host are numbered: ours, or one above what the host has seen of a later signer. */
  readonly lease: number
  /** Commands that went out on this connection: they are not sent on it a second time. */
  readonly sent: Set<string>
  running: Promise<void> | undefined
  again: boolean
  /** The last delivery failed on the controller's own trouble: what waits is still owed to the host. */
  failed: boolean
}

/** Isolating and releasing keep their order, and go before anything else that waits for the host. */
const CONTAINMENT: ReadonlySet<CommandType> = new Set(['isolate-host', 'release-host'])

export class Delivery {
  readonly #deps: DeliveryDeps
  readonly #lines = new Map<AgentId, Line>()
  #lease = 0

  constructor(deps: DeliveryDeps) {
    this.#deps = deps
  }

  /** A new number for this signer, above every earlier one, so that an older signer is refused by every host. */
  async start(): Promise<void> {
    this.#lease = await this.#deps.state.write(async (tx) => {
      const row = await tx.selectFrom('meta').select('value').where('key', '=', 'signer_lease').executeTakeFirst()
      const lease = Number(row?.value ?? 0) + 1
      const value = String(lease)
      await tx
        .insertInto('meta')
        .values({ key: 'signer_lease', value })
        .onConflict((c) => c.column('key').doUpdateSet({ value }))
        .execute()
      return lease
    })
  }

  /**
   * `known`: the highest (lease, seq) that the host says it has seen; a controller that was set back to a backup goes on above it. It
   * is believed for this host alone: one that lies spoils its own commands, and not those of the fleet.
   */
  async connected(agentId: AgentId, link: AgentLink, known: { lease: number; seq: number }): Promise<void> {
    const lease = known.lease > this.#lease ? Math.min(known.lease + 1, MAX_LEASE) : this.#lease
    const line: Line = { link, lease, sent: new Set(), running: undefined, again: true, failed: false }
    // From now on it can be taken away again: a connection that ends meanwhile must leave no line to nobody.
    this.#lines.set(agentId, line)
    const followed = this.#follow(agentId, known.seq)
    line.running = followed.catch(() => undefined) // thrown below
    try {
      await followed
    } catch (thrown) {
      this.disconnected(agentId, link.session)
      throw thrown
    } finally {
      line.running = undefined
    }
    this.kick(agentId)
  }

  async #follow(agentId: AgentId, known: number): Promise<void> {
    await this.#deps.state.write(async (tx) => {
      const host = await tx
        .selectFrom('hosts')
        .select('command_seq')
        .where('agent_id', '=', agentId)
        .executeTakeFirstOrThrow()
      // A host whose own numbers ran far ahead is followed only as far as it would follow us.
      const seq = Math.min(known, host.command_seq + MAX_SEQUENCE_JUMP)
      if (seq > host.command_seq)
        await tx.updateTable('hosts').set({ command_seq: seq }).where('agent_id', '=', agentId).execute()
    })
  }

  disconnected(agentId: AgentId, session: string): void {
    if (this.#lines.get(agentId)?.link.session === session) this.#lines.delete(agentId)
  }

  isConnected(agentId: AgentId): boolean {
    return this.#lines.has(agentId)
  }

  /** Something may wait for this host. One delivery at a time for each, so that numbers go out in their order. */
  kick(agentId: AgentId): void {
    const line = this.#lines.get(agentId)
    if (!line) return
    line.again = true
    line.running ??= this.#run(agentId, line).finally(() => {
      line.running = undefined
      if (line.again) this.kick(agentId)
    })
  }

  /** What could not be delivered because the state could not be written goes out when it can, not at the next connection. */
  retry(): void {
    for (const [agentId, line] of this.#lines) {
      if (!line.failed) continue
      line.failed = false
      this.kick(agentId)
    }
  }

  async idle(): Promise<void> {
    for (const line of this.#lines.values()) await line.running
  }

  async #run(agentId: AgentId, line: Line): Promise<void> {
    try {
      while (line.again && this.#lines.get(agentId) === line) {
        line.again = false
        for (const id of await this.#waiting(agentId, line)) {
          if (this.#lines.get(agentId) !== line) return
          await this.#deliver(id, agentId, line)
        }
      }
    } catch (thrown) {
      line.again = false
      line.failed = true
      this.#deps.log.error('orders.delivery.failed', { 'host.id': agentId, why: reasonOf(thrown) })
    }
  }

  async #waiting(agentId: AgentId, line: Line): Promise<readonly string[]> {
    const rows = await this.#deps.state.db
      .selectFrom('commands')
      .select(['id', 'type', 'created_at'])
      .where('agent_id', '=', agentId)
      .where('state', 'in', ['queued', 'delivered'])
      .orderBy('created_at')
      .orderBy('id')
      .execute()
    const rank = (type: string) => (CONTAINMENT.has(type as CommandType) ? 0 : 1)
    return rows
      .filter(({ id }) => !line.sent.has(id))
      .sort((a, b) => rank(a.type) - rank(b.type))
      .map(({ id }) => id)
  }

  async #deliver(id: string, agentId: AgentId, line: Line): Promise<void> {
    const { state, bus, clock, log, metrics } = this.#deps
    const signed = await state.write((tx) => this.#sign(tx, id, agentId, line))
    if (!signed) return
    line.sent.add(id)
    const { row, envelope, again } = signed
    if (envelope) line.link.sendCommand(envelope)
    metrics.states.inc({ type: row.type, state: row.state })
    if (envelope && !again) metrics.deliverySeconds.observe((clock.now() - Date.parse(row.created_at)) / 1_000)
    log.info('orders.command.delivered', { 'host.id': agentId, command_id: id, seq: row.seq, state: row.state, again })
    bus.publish('command.changed', { commandId: viewOf(row).id, agentId })
  }

  /** Gives the command its number and signs it; a wish past its time expires instead. */
  async #sign(
    tx: Tx,
    id: string,
    agentId: AgentId,
    { link, lease }: Line,
  ): Promise<{ row: CommandRow; envelope: Uint8Array | undefined; again: boolean } | undefined> {
    const { trust, audit, clock } = this.#deps
    const row = await tx.selectFrom('commands').selectAll().where('id', '=', id).executeTakeFirst()
    if (!row || (row.state !== 'queued' && row.state !== 'delivered')) return undefined
    const now = clock.now()
    const at = new Date(now).toISOString()
    const again = row.state === 'delivered'
    // It went out before and its host owed an answer by now: it becomes `unknown`, and is not sent to a host that comes back after days.
    if (again && (row.deadline_at ?? '') <= at) return undefined
    if (!again && row.expires_at <= at)
      return {
        row: await advance(tx, row, 'expired', at, { why: 'the host did not connect in time' }),
        envelope: undefined,
        again,
      }
    const host = await tx
      .selectFrom('hosts')
      .select(['command_seq', 'revoked_at'])
      .where('agent_id', '=', agentId)
      .executeTakeFirstOrThrow()
    if (host.revoked_at !== null) return undefined
    const seq = host.command_seq + 1
    const command: Command = {
      v: 1,
      cmd_id: row.id,
      deployment_id: trust.deploymentId,
      agent_id: agentId,
      session: link.session,
      lease,
      seq,
      trust_version: trust.trust().file.version,
      issued_at: at,
      ttl_s: MAX_COMMAND_LIFE_S,
      issued_mono_ms: link.sinceHandshakeMs(),
      type: row.type as CommandType,
      args: JSON.parse(row.args) as Record<string, unknown>,
      reason: {
        text: row.reason,
        ...(row.incident_id === null ? {} : { incident_id: row.incident_id }),
        ...(row.playbook === null ? {} : { playbook: row.playbook }),
        ...(row.run_id === null ? {} : { run_id: row.run_id }),
      },
      actor: row.actor,
    }
    const payload = Buffer.from(JSON.stringify(command))
    const payloadSha256 = createHash('sha256').update(payload).digest('hex')
    const envelope = Buffer.from(JSON.stringify(seal(COMMAND_PAYLOAD_TYPE, payload, [trust.commandKey])))
    await tx
      .updateTable('hosts')
      .set({ command_lease: lease, command_seq: seq })
      .where('agent_id', '=', agentId)
      .execute()
    const delivered = await advance(
      tx,
      row,
      'delivered',
      at,
      {
        delivered_at: row.delivered_at ?? at,
        deadline_at: new Date(now + cardOf(row).deadline_s * 1_000).toISOString(),
        session: link.session,
        lease,
        seq,
        payload_sha256: payloadSha256,
      },
      { lease, seq, session: link.session, payload_sha256: payloadSha256 },
    )
    await audit.append(tx, {
      actor: 'system',
      action: again ? 'orders.command.redelivered' : 'orders.command.delivered',
      objectType: 'command',
      objectId: row.id,
      detail: { agent_id: agentId, type: row.type, lease, seq, payload_sha256: payloadSha256 },
    })
    return { row: delivered, envelope, again }
  }
}

/**
 * Receipts: signed by the host, numbered without gaps, each naming the one before. One that does not hold is kept as evidence and never
 * believed; one that is missing is an alarm. Source: research/reliability-security.md 3.6.
 */
import { createHash } from 'node:crypto'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import { type CommandState, FINAL_STATES, type Receipt } from '@firebreak/shared/commands/command.ts'
import {
  headAfter,
  linkOf,
  type OpenedReceipt,
  openReceipt,
  type ReceiptLink,
} from '@firebreak/shared/commands/receipt-chain.ts'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { AgentId, CommandId } from '@firebreak/shared/ids.ts'
import { Fault, type Result, ok, refuse } from '@firebreak/shared/result.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import type { Audit } from '../audit/index.ts'
import type { Alarm, RaiseAlarm } from '../fleet/index.ts'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import { advance, type CommandRow } from './command-store.ts'
import type { OrdersLog, OrdersMetrics } from './log-names.ts'
import { objectionToProof } from './proof.ts'
import { mayFollow } from './states.ts'

export interface ReceiptDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly bus: Bus
  readonly clock: Pick<Clock, 'now'>
  readonly log: OrdersLog
  readonly metrics: OrdersMetrics
  readonly raise: RaiseAlarm
}

type Chain = ReceiptLink | 'again'

interface Taken {
  readonly ack: number
  readonly chain: Chain
  readonly moved: CommandRow | undefined
  readonly before: CommandRow | undefined
  readonly alarm: Omit<Alarm, 'agentId' | 'atMs'> | undefined
}

export async function takeReceipt(
  deps: ReceiptDeps,
  agentId: AgentId,
  envelope: Envelope,
): Promise<Result<number, 'malformed'>> {
  const host = await deps.state.db
    .selectFrom('hosts')
    .select('public_key')
    .where('agent_id', '=', agentId)
    .executeTakeFirstOrThrow()
  const opened = openReceipt(envelope, agentId, Buffer.from(host.public_key, 'base64'))
  if (!opened.ok) {
    deps.metrics.receipts.inc({ result: 'unsigned' })
    deps.log.error('orders.receipt.refused', { 'host.id': agentId, code: opened.code, why: opened.why })
    await keepAsEvidence(deps, agentId, envelope, opened.why)
    return refuse('malformed', opened.why)
  }
  const taken = await deps.state.write((tx) => take(deps, tx, agentId, envelope, opened.value))
  tell(deps, agentId, opened.value.receipt, taken)
  if (taken.alarm) await deps.raise({ ...taken.alarm, agentId, atMs: deps.clock.now() })
  return ok(taken.ack)
}

async function take(
  deps: ReceiptDeps,
  tx: Tx,
  agentId: AgentId,
  envelope: Envelope,
  opened: OpenedReceipt,
): Promise<Taken> {
  const { receipt, payloadSha256 } = opened
  const host = await tx
    .selectFrom('hosts')
    .select(['receipt_seq', 'receipt_sha256'])
    .where('agent_id', '=', agentId)
    .executeTakeFirstOrThrow()
  const known = await tx
    .selectFrom('receipts')
    .select('receipt_seq')
    .where('agent_id', '=', agentId)
    .where('receipt_seq', '=', receipt.receipt_seq)
    .where('payload_sha256', '=', payloadSha256)
    .executeTakeFirst()
  if (known) return { ack: host.receipt_seq, chain: 'again', moved: undefined, before: undefined, alarm: undefined }
  const head = { seq: host.receipt_seq, sha256: host.receipt_sha256 }
  const chain = linkOf(head, receipt)
  const at = new Date(deps.clock.now()).toISOString()
  await tx
    .insertInto('receipts')
    .values({
      agent_id: agentId,
      receipt_seq: receipt.receipt_seq,
      cmd_id: receipt.cmd_id ?? null,
      state: receipt.state,
      code: receipt.code ?? null,
      envelope: JSON.stringify(envelope),
      payload_sha256: payloadSha256,
      valid: chain === 'broken' ? 0 : 1,
      received_at: at,
    })
    .execute()
  const now = headAfter(head, opened)
  if (now !== head)
    await tx
      .updateTable('hosts')
      .set({ receipt_seq: now.seq, receipt_sha256: now.sha256 })
      .where('agent_id', '=', agentId)
      .execute()
  const before = chain === 'broken' ? undefined : await commandOf(tx, agentId, receipt)
  const moved = before && (await move(tx, before, receipt, at))
  await deps.audit.append(tx, {
    actor: `agent:${agentId}`,
    action: chain === 'broken' ? 'orders.receipt.refused' : 'orders.receipt.taken',
    objectType: receipt.cmd_id === undefined ? 'host' : 'command',
    objectId: receipt.cmd_id ?? agentId,
    detail: {
      receipt_seq: receipt.receipt_seq,
      payload_sha256: payloadSha256,
      state: receipt.state,
      ...(receipt.code === undefined ? {} : { code: receipt.code }),
      ...(moved ? { command_state: moved.state } : {}),
    },
  })
  return { ack: now.seq, chain, moved, before, alarm: alarmOf(chain, host.receipt_seq, receipt, payloadSha256) }
}

/** The command that a receipt answers: its own, sent to this host, with a payload that was really sent. */
async function commandOf(tx: Tx, agentId: AgentId, receipt: Receipt): Promise<CommandRow | undefined> {
  let query = tx.selectFrom('commands').selectAll().where('agent_id', '=', agentId)
  query =
    receipt.cmd_id === undefined
      ? query.where('payload_sha256', '=', receipt.command_sha256)
      : query.where('id', '=', receipt.cmd_id)
  const row = await query.executeTakeFirst()
  if (!row || row.payload_sha256 === receipt.command_sha256) return row
  const sent = await tx
    .selectFrom('command_transitions')
    .select('detail')
    .where('command_id', '=', row.id)
    .where('state', '=', 'delivered')
    .execute()
  const digests = sent.map(({ detail }) => (JSON.parse(detail) as { payload_sha256?: string }).payload_sha256)
  return digests.includes(receipt.command_sha256) ? row : undefined
}

/** Returns the command as it is now, or `undefined` when the receipt changes nothing. */
async function move(tx: Tx, row: CommandRow, receipt: Receipt, at: string): Promise<CommandRow | undefined> {
  const unproved =
    receipt.state === 'verified' ? objectionToProof(row.type as CommandType, receipt.evidence) : undefined
  const to: CommandState = unproved === undefined ? receipt.state : 'applied'
  if (!mayFollow(row.state as CommandState, to)) return undefined
  return advance(
    tx,
    row,
    to,
    at,
    {
      code: receipt.code ?? null,
      why: unproved ?? receipt.why ?? null,
      evidence: receipt.evidence === undefined ? row.evidence : JSON.stringify(receipt.evidence),
    },
    { receipt_seq: receipt.receipt_seq, host_time: receipt.time, mono_ms: receipt.mono_ms, boot_id: receipt.boot_id },
  )
}

function alarmOf(
  chain: Chain,
  lastSeq: number,
  receipt: Receipt,
  payloadSha256: string,
): Omit<Alarm, 'agentId' | 'atMs'> | undefined {
  switch (chain) {
    case 'missing':
      return {
        kind: 'missing_receipt',
        key: `${lastSeq + 1}-${receipt.receipt_seq - 1}`,
        message: `receipt ${receipt.receipt_seq} came after ${lastSeq}: what is between is missing`,
      }
    case 'broken':
      return {
        kind: 'broken_receipt_chain',
        key: `${receipt.receipt_seq}:${payloadSha256}`,
        message: `receipt ${receipt.receipt_seq} does not continue the chain, which ends at ${lastSeq}`,
      }
    case 'next':
    case 'again':
      return undefined
    default:
      throw new Fault('unreachable', `unhandled ${String(chain satisfies never)}`)
  }
}

function tell(deps: ReceiptDeps, agentId: AgentId, receipt: Receipt, taken: Taken): void {
  const { log, metrics, bus, clock } = deps
  const fields = {
    'host.id': agentId,
    command_id: receipt.cmd_id,
    receipt_seq: receipt.receipt_seq,
    state: receipt.state,
  }
  metrics.receipts.inc({ result: taken.chain === 'next' ? 'believed' : taken.chain })
  if (taken.chain === 'missing') log.error('orders.receipt.missing', fields)
  if (taken.chain === 'broken') log.error('orders.receipt.refused', fields)
  const { moved } = taken
  if (!moved) {
    if (taken.chain === 'next' || taken.chain === 'missing') log.warn('orders.receipt.ignored', fields)
    return
  }
  metrics.states.inc({ type: moved.type, state: moved.state })
  if (FINAL_STATES.has(moved.state as CommandState)) {
    if (moved.delivered_at !== null)
      metrics.endSeconds.observe(
        { type: moved.type },
        Math.max(0, clock.now() - Date.parse(moved.delivered_at)) / 1_000,
      )
    log.info('orders.command.ended', { ...fields, state: moved.state, code: moved.code })
  }
  bus.publish('command.changed', { commandId: moved.id as CommandId, agentId })
}

async function keepAsEvidence(deps: ReceiptDeps, agentId: AgentId, envelope: Envelope, why: string): Promise<void> {
  const text = JSON.stringify(envelope)
  const sha256 = createHash('sha256').update(text).digest('hex')
  await deps.state.write((tx) =>
    tx
      .insertInto('receipts')
      .values({
        agent_id: agentId,
        receipt_seq: 0,
        cmd_id: null,
        state: 'unsigned',
        code: null,
        envelope: text.slice(0, 16_384),
        payload_sha256: sha256,
        valid: 0,
        received_at: new Date(deps.clock.now()).toISOString(),
      })
      .onConflict((c) => c.doNothing())
      .execute(),
  )
  await deps.raise({ kind: 'broken_receipt_chain', agentId, key: sha256, atMs: deps.clock.now(), message: why })
}

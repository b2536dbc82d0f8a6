/** The log in the state store. There is one writer, because `StateStore.write` runs one work after the other. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { seal } from '@firebreak/shared/trust/dsse.ts'
import type { SigningKey } from '@firebreak/shared/trust/ed25519.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Audit, AuditRecord } from './audit.ts'
import { type AuditVerification, ChainCheck, nextLine, parseEntry } from './chain.ts'
import { isReceiptAction, type KeptReceipt, receiptNamedBy } from './receipt-check.ts'

export const CHECKPOINT_PAYLOAD_TYPE = 'application/vnd.firebreak.audit-checkpoint+json'
const PAGE = 1_000

export interface AuditLog extends Audit {
  /** Walks the chain, and the receipts that it tells of, from `from` (the first record when left out) to `to` (the last). */
  verify(range?: { readonly from?: number; readonly to?: number }): Promise<AuditVerification>
  /**
   * NDJSON: one `{n, record, prev_sha256, sha256}` a line, with `receipt` where the record tells of one, then one signed checkpoint
   * over the last of them.
   */
  exportLines(): AsyncGenerator<string>
}

export function createAuditLog(state: StateStore, clock: Pick<Clock, 'now'>, auditKey: SigningKey): AuditLog {
  return new StoredLog(state, clock, auditKey)
}

class StoredLog implements AuditLog {
  readonly #state: StateStore
  readonly #clock: Pick<Clock, 'now'>
  readonly #key: SigningKey

  constructor(state: StateStore, clock: Pick<Clock, 'now'>, key: SigningKey) {
    this.#state = state
    this.#clock = clock
    this.#key = key
  }

  async append(tx: Tx, record: AuditRecord): Promise<void> {
    const last = await tx.selectFrom('audit').select(['n', 'sha256']).orderBy('n', 'desc').limit(1).executeTakeFirst()
    const at = new Date(this.#clock.now()).toISOString()
    const line = nextLine(last, at, record)
    await tx
      .insertInto('audit')
      .values({
        ...line,
        at,
        actor: record.actor,
        action: record.action,
        object_type: record.objectType,
        object_id: record.objectId,
        detail: JSON.stringify(record.detail),
      })
      .execute()
  }

  async verify(range: { readonly from?: number; readonly to?: number } = {}): Promise<AuditVerification> {
    const from = Math.max(1, range.from ?? 1)
    const before = await this.#state.db
      .selectFrom('audit')
      .select(['n', 'sha256'])
      .where('n', '=', from - 1)
      .executeTakeFirst()
    const check = new ChainCheck(from === 1 ? undefined : (before ?? { n: from - 1, sha256: '' }))
    for await (const row of this.#rows(from, range.to)) {
      if (!check.take(row, { columns: row, receipt: await this.#receiptOf(row) })) break
    }
    return check.result()
  }

  async *exportLines(): AsyncGenerator<string> {
    let last: { n: number; sha256: string } | undefined
    for await (const row of this.#rows(1)) {
      const { n, record, prev_sha256, sha256 } = row
      last = { n, sha256 }
      const receipt = await this.#receiptOf(row)
      yield `${JSON.stringify({ n, record, prev_sha256, sha256, ...(receipt && { receipt }) })}\n`
    }
    const checkpoint = { v: 1, ...last, at: new Date(this.#clock.now()).toISOString() }
    const envelope = seal(CHECKPOINT_PAYLOAD_TYPE, Buffer.from(JSON.stringify(checkpoint)), [this.#key])
    yield `${JSON.stringify({ checkpoint: envelope })}\n`
  }

  /** What is kept of the receipt that a record tells of, as it lies there. */
  async #receiptOf(row: { readonly action: string; readonly record: string }): Promise<KeptReceipt | undefined> {
    const entry = isReceiptAction(row.action) ? parseEntry(row.record) : undefined
    const named = entry && receiptNamedBy(entry)
    if (!named) return undefined
    return await this.#state.db
      .selectFrom('receipts')
      .innerJoin('hosts', 'hosts.agent_id', 'receipts.agent_id')
      .select([
        'receipts.agent_id',
        'receipts.receipt_seq',
        'receipts.cmd_id',
        'receipts.state',
        'receipts.code',
        'receipts.valid',
        'receipts.envelope',
        'hosts.public_key',
      ])
      .where('receipts.agent_id', '=', named.agentId)
      .where('receipts.receipt_seq', '=', named.seq)
      .where('receipts.payload_sha256', '=', named.sha256)
      .executeTakeFirst()
  }

  async *#rows(from: number, to = Number.MAX_SAFE_INTEGER) {
    for (let next = from; next <= to; ) {
      const page = await this.#state.db
        .selectFrom('audit')
        .selectAll()
        .where('n', '>=', next)
        .where('n', '<=', to)
        .orderBy('n')
        .limit(PAGE)
        .execute()
      yield* page
      const last = page.at(-1)
      if (page.length < PAGE || last === undefined) return
      next = last.n + 1
    }
  }
}

/** The log in the state store. There is one writer, because `StateStore.write` runs one work after the other. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { seal } from '@firebreak/shared/trust/dsse.ts'
import type { SigningKey } from '@firebreak/shared/trust/ed25519.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Audit, AuditRecord } from './audit.ts'
import { type AuditVerification, ChainCheck, nextLine } from './chain.ts'

export const CHECKPOINT_PAYLOAD_TYPE = 'application/vnd.firebreak.audit-checkpoint+json'
const PAGE = 1_000

export interface AuditLog extends Audit {
  /** Walks the chain from `from` (the first record when left out) to `to` (the last). */
  verify(range?: { readonly from?: number; readonly to?: number }): Promise<AuditVerification>
  /** NDJSON: one `{n, record, prev_sha256, sha256}` a line, then one signed checkpoint over the last of them. */
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
      if (!check.take(row, row)) break
    }
    return check.result()
  }

  async *exportLines(): AsyncGenerator<string> {
    let last: { n: number; sha256: string } | undefined
    for await (const { n, record, prev_sha256, sha256 } of this.#rows(1)) {
      last = { n, sha256 }
      yield `${JSON.stringify({ n, record, prev_sha256, sha256 })}\n`
    }
    const checkpoint = { v: 1, ...last, at: new Date(this.#clock.now()).toISOString() }
    const envelope = seal(CHECKPOINT_PAYLOAD_TYPE, Buffer.from(JSON.stringify(checkpoint)), [this.#key])
    yield `${JSON.stringify({ checkpoint: envelope })}\n`
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

/**
 * The hash chain of the log: h(n) = SHA-256("fb.audit.v1" | h(n-1) | length of the record, 4 bytes big endian | record), h(0) = 32 zero
 * bytes. The record is the raw UTF-8 text that is kept, so nothing has to be brought into a canonical form to check it.
 */
import { createHash } from 'node:crypto'
import type { AuditEntry, AuditRecord } from './audit.ts'
import { type KeptReceipt, ReceiptCheck } from './receipt-check.ts'

export const CHAIN_START = '0'.repeat(64)

/** One line as it is kept and exported. */
export interface AuditLine {
  readonly n: number
  readonly record: string
  readonly prev_sha256: string
  readonly sha256: string
}

export function chainHash(prevSha256: string, record: string): string {
  const bytes = Buffer.from(record, 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return createHash('sha256')
    .update('fb.audit.v1')
    .update(Buffer.from(prevSha256, 'hex'))
    .update(length)
    .update(bytes)
    .digest('hex')
}

export function nextLine(
  last: Pick<AuditLine, 'n' | 'sha256'> | undefined,
  at: string,
  record: AuditRecord,
): AuditLine {
  const n = (last?.n ?? 0) + 1
  const prev = last?.sha256 ?? CHAIN_START
  const entry: AuditEntry = {
    n,
    at,
    actor: record.actor,
    action: record.action,
    object_type: record.objectType,
    object_id: record.objectId,
    detail: record.detail,
  }
  const text = JSON.stringify(entry)
  return { n, record: text, prev_sha256: prev, sha256: chainHash(prev, text) }
}

export interface AuditVerification {
  readonly ok: boolean
  readonly records: number
  /** Receipts whose signature, content and place in the chain of their host were checked. */
  readonly receipts: number
  /** Receipts that never came: numbers that a host used and the controller never saw. Each was an alarm when it was noticed. */
  readonly missingReceipts: number
  readonly headSha256: string
  /** First record that does not hold, and what is wrong with it. */
  readonly brokenAt?: number
  readonly why?: string
}

type Columns = Omit<AuditEntry, 'n' | 'detail'> & { readonly detail: string }

/**
 * Follows a chain line by line. `from`: the line before the first one that is given, when it is not the start of the log.
 * `columns`: where the same facts are also kept apart (the table), they must say the same as the record that was hashed.
 * `receipt`: what is kept of the receipt that the record tells of; without it a record of a receipt does not hold.
 */
export class ChainCheck {
  readonly #receipts: ReceiptCheck
  #n: number
  #head: string
  #records = 0
  #broken: { readonly at: number; readonly why: string } | undefined

  constructor(from?: Pick<AuditLine, 'n' | 'sha256'>) {
    this.#receipts = new ReceiptCheck(from === undefined)
    this.#n = from?.n ?? 0
    this.#head = from?.sha256 ?? CHAIN_START
  }

  /** Returns false from the first line on that does not hold. */
  take(
    line: AuditLine,
    kept: { readonly columns?: Columns | undefined; readonly receipt?: KeptReceipt | undefined } = {},
  ): boolean {
    if (this.#broken) return false
    const wrong = this.#wrong(line, kept.columns, kept.receipt)
    if (wrong !== undefined) {
      this.#broken = { at: this.#n + 1, why: wrong }
      return false
    }
    this.#n = line.n
    this.#head = line.sha256
    this.#records++
    return true
  }

  result(): AuditVerification {
    const sum = {
      ok: this.#broken === undefined,
      records: this.#records,
      ...this.#receipts.result(),
      headSha256: this.#head,
    }
    return this.#broken ? { ...sum, brokenAt: this.#broken.at, why: this.#broken.why } : sum
  }

  #wrong(line: AuditLine, columns: Columns | undefined, receipt: KeptReceipt | undefined): string | undefined {
    if (line.n !== this.#n + 1) return `record ${this.#n + 1} is missing: ${line.n} follows ${this.#n}`
    if (line.prev_sha256 !== this.#head) return 'it names another record before it'
    if (chainHash(this.#head, line.record) !== line.sha256) return 'its digest is not that of its content'
    const entry = parseEntry(line.record)
    if (entry === undefined || entry.n !== line.n) return 'its number is not the one that was hashed'
    if (columns && !sameFacts(entry, columns)) return 'its columns do not say what was hashed'
    return this.#receipts.take(entry, receipt)
  }
}

export function parseEntry(record: string): AuditEntry | undefined {
  try {
    const entry = JSON.parse(record) as AuditEntry
    return typeof entry === 'object' && entry !== null ? entry : undefined
  } catch {
    return undefined // the caller says which record it was
  }
}

function sameFacts(entry: AuditEntry, columns: Columns): boolean {
  return (
    entry.at === columns.at &&
    entry.actor === columns.actor &&
    entry.action === columns.action &&
    entry.object_type === columns.object_type &&
    entry.object_id === columns.object_id &&
    JSON.stringify(entry.detail) === columns.detail
  )
}

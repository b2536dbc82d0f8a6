/**
 * The log tells of each receipt when it came in: so whoever changes, deletes or moves a receipt afterwards contradicts the log, and
 * whoever changes both contradicts the host's signature. The key of a host needs no trust: its id is the hash of it.
 */
import { agentIdOf, type AgentId } from '@firebreak/shared/ids.ts'
import {
  headAfter,
  linkOf,
  type OpenedReceipt,
  openReceipt,
  type ReceiptHead,
  RECEIPTS_START,
} from '@firebreak/shared/commands/receipt-chain.ts'
import { decodeBase64 } from '@firebreak/shared/trust/base64.ts'
import { readEnvelope } from '@firebreak/shared/trust/dsse.ts'
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import type { AuditEntry } from './audit.ts'

/** A receipt as it is kept and exported. */
const KeptReceipt = Type.Object({
  agent_id: Type.String(),
  receipt_seq: Type.Integer(),
  cmd_id: Type.Union([Type.String(), Type.Null()]),
  state: Type.String(),
  code: Type.Union([Type.String(), Type.Null()]),
  valid: Type.Integer(),
  envelope: Type.String(),
  public_key: Type.String(),
})
export type KeptReceipt = Type.Static<typeof KeptReceipt>
const keptReceiptSchema = Compile(KeptReceipt)

export function readKeptReceipt(value: unknown): KeptReceipt | undefined {
  return keptReceiptSchema.Check(value) ? value : undefined
}

const TAKEN = 'orders.receipt.taken'
const REFUSED = 'orders.receipt.refused'

export function isReceiptAction(action: string): boolean {
  return action === TAKEN || action === REFUSED
}

interface Named {
  readonly agentId: AgentId
  readonly seq: number
  readonly sha256: string
}

/** Which receipt a record tells of; `undefined` when it tells of none. */
export function receiptNamedBy(entry: AuditEntry): Named | undefined {
  const { receipt_seq: seq, payload_sha256: sha256 } = entry.detail
  if (!isReceiptAction(entry.action) || typeof seq !== 'number' || typeof sha256 !== 'string') return undefined
  return { agentId: entry.actor.replace(/^agent:/, '') as AgentId, seq, sha256 }
}

export class ReceiptCheck {
  readonly #whole: boolean
  readonly #heads = new Map<AgentId, ReceiptHead>()
  #receipts = 0
  #missing = 0

  /** `whole`: the log is followed from its first record; otherwise the first receipt of a host is where its chain begins. */
  constructor(whole: boolean) {
    this.#whole = whole
  }

  /** What is wrong with the receipt that the record tells of; `undefined` when it holds or the record tells of none. */
  take(entry: AuditEntry, kept: KeptReceipt | undefined): string | undefined {
    if (!isReceiptAction(entry.action)) return undefined
    const named = receiptNamedBy(entry)
    if (!named) return 'it does not say which receipt it tells of'
    const name = `receipt ${named.seq} of ${named.agentId}`
    if (!kept) return `${name} is gone, or is not the one that came`
    const opened = openKept(kept, named)
    if (typeof opened === 'string') return `${name}: ${opened}`
    if ((kept.valid === 1) !== (entry.action === TAKEN))
      return `${name}: it is kept as ${kept.valid === 1 ? 'believed' : 'refused'}`
    this.#receipts++
    const head = this.#heads.get(named.agentId) ?? (this.#whole ? RECEIPTS_START : undefined)
    this.#heads.set(named.agentId, headAfter(head ?? RECEIPTS_START, opened))
    if (!head) return undefined
    const link = linkOf(head, opened.receipt)
    if ((link === 'broken') !== (entry.action === REFUSED))
      return `${name}: ${link === 'broken' ? 'it was believed and does not follow the one before' : 'it was refused and follows the one before'}`
    if (link === 'missing') this.#missing += named.seq - head.seq - 1
    return undefined
  }

  result(): { readonly receipts: number; readonly missingReceipts: number } {
    return { receipts: this.#receipts, missingReceipts: this.#missing }
  }
}

/** The receipt, or why it is not the one that came. */
function openKept(kept: KeptReceipt, named: Named): OpenedReceipt | string {
  const publicKey = decodeBase64(kept.public_key)
  if (!publicKey || agentIdOf(publicKey) !== named.agentId) return 'the key is not the one of this host'
  const envelope = readEnvelope(jsonOf(kept.envelope))
  if (!envelope.ok) return envelope.why
  const opened = openReceipt(envelope.value, named.agentId, publicKey)
  if (!opened.ok) return opened.why
  const { receipt, payloadSha256 } = opened.value
  if (payloadSha256 !== named.sha256 || receipt.receipt_seq !== named.seq)
    return 'it is another one than the one that came'
  const same =
    kept.agent_id === receipt.agent_id &&
    kept.receipt_seq === receipt.receipt_seq &&
    kept.cmd_id === (receipt.cmd_id ?? null) &&
    kept.state === receipt.state &&
    kept.code === (receipt.code ?? null)
  return same ? opened.value : 'its columns do not say what the host signed'
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined // no envelope, and told as that
  }
}

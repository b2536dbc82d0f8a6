/** What a host's receipts prove: each is signed by the host, and each names the one before. Source: research on receipts, design 4. */
import { createHash } from 'node:crypto'
import type { AgentId } from '../ids.ts'
import { type Result, ok, refuse } from '../result.ts'
import { type Envelope, open } from '../trust/dsse.ts'
import { keyIdOf, verifierOf } from '../trust/ed25519.ts'
import { parseStrictJson } from '../wire/strict-json.ts'
import { RECEIPT_PAYLOAD_TYPE, type Receipt, receiptSchema } from './command.ts'

export interface OpenedReceipt {
  readonly receipt: Receipt
  readonly payloadSha256: string
}

/** Where the receipts of a host stand: the highest number, and the digest of the payload that has it. */
export interface ReceiptHead {
  readonly seq: number
  readonly sha256: string
}
export const RECEIPTS_START: ReceiptHead = { seq: 0, sha256: '0'.repeat(64) }

/** next: it continues the chain; missing: numbers before it never came; broken: it does not continue it. */
export type ReceiptLink = 'next' | 'missing' | 'broken'

export function openReceipt(
  envelope: Envelope,
  agentId: AgentId,
  publicKey: Uint8Array,
): Result<OpenedReceipt, 'malformed' | 'unknown_key' | 'bad_signature'> {
  const kid = keyIdOf(publicKey)
  const verifier = verifierOf(publicKey)
  const opened = open(envelope, RECEIPT_PAYLOAD_TYPE, (keyid) => (keyid === kid ? verifier : undefined))
  if (!opened.ok) return opened
  const parsed = parseStrictJson(opened.value.payload)
  if (!parsed.ok) return refuse('malformed', parsed.why)
  if (!receiptSchema.Check(parsed.value)) return refuse('malformed', 'not a receipt')
  if (parsed.value.agent_id !== agentId) return refuse('malformed', 'a receipt of another host')
  return ok({ receipt: parsed.value, payloadSha256: createHash('sha256').update(opened.value.payload).digest('hex') })
}

export function linkOf(head: ReceiptHead, receipt: Receipt): ReceiptLink {
  if (receipt.receipt_seq > head.seq + 1) return 'missing'
  if (receipt.receipt_seq <= head.seq) return 'broken'
  return receipt.prev_sha256 === head.sha256 ? 'next' : 'broken'
}

/** The chain goes on from a receipt even when its link is broken, so that one lost disk does not silence a host for ever. */
export function headAfter(head: ReceiptHead, { receipt, payloadSha256 }: OpenedReceipt): ReceiptHead {
  return receipt.receipt_seq > head.seq ? { seq: receipt.receipt_seq, sha256: payloadSha256 } : head
}

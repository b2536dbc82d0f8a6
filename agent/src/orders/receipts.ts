/** The agent's signed answers: numbered without gaps, each holding the digest of the one before, kept on disk until they are acked. */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import {
  type Failure,
  RECEIPT_PAYLOAD_TYPE,
  type Receipt,
  type ReceiptState,
  type Refusal,
} from '@firebreak/shared/commands/command.ts'
import { type Envelope, seal } from '@firebreak/shared/trust/dsse.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import type { Effect } from '../actions/action.ts'
import type { Identity } from '../identity/identity.ts'
import type { Log } from '../log.ts'
import { sha256 } from './examine.ts'
import type { Journal, JournalEntry, ReceivedCommand, StoredReceipt } from './journal.ts'
import { ORDERS_LOG } from './log-names.ts'

export interface Answer {
  readonly cmdId?: string | undefined
  readonly commandSha256: string
  readonly type?: CommandType | undefined
  readonly state: ReceiptState
  readonly code?: Refusal | Failure | undefined
  readonly why?: string | undefined
  readonly evidence?: object | undefined
}

export interface ReceiptsDeps {
  readonly journal: Journal
  readonly identity: Identity
  readonly clock: Clock
  readonly bootId: string
  readonly log: Log
}

/** A receipt travels as one control message of 512 KiB; base64 and the frame around it take a third. */
const MAX_EVIDENCE_BYTES = 128 * KiB
const MAX_WHY = 2_048

/** Makes receipts, and is the outbox that the link empties. */
export class Receipts {
  readonly #deps: ReceiptsDeps
  readonly #newListeners: (() => void)[] = []
  readonly #againListeners: ((envelopes: readonly Envelope[]) => void)[] = []

  constructor(deps: ReceiptsDeps) {
    this.#deps = deps
  }

  /** Writes these entries and the receipts for these answers, all or none, then lets the receipts go. Throws `journal_unwritable`. */
  record(entries: readonly JournalEntry[], answers: readonly Answer[]): void {
    const { journal } = this.#deps
    let { seq, sha256: previous } = journal.lastReceipt
    const made: JournalEntry[] = []
    for (const answer of answers) {
      const receipt = this.#make(answer, ++seq, previous)
      previous = receipt.sha256
      made.push({ t: 'receipt', receipt })
    }
    journal.append([...entries, ...made])
    if (made.length > 0) for (const listener of this.#newListeners) listener()
  }

  /** Sends again what this command was answered. */
  repeat(cmdId: string): void {
    const envelopes = this.#deps.journal.commands.get(cmdId)?.receipts.map((receipt) => receipt.envelope) ?? []
    for (const listener of this.#againListeners) listener(envelopes)
  }

  last(): number {
    return this.#deps.journal.lastReceipt.seq
  }

  after(receiptSeq: number): readonly { readonly seq: number; readonly envelope: Envelope }[] {
    const found: { seq: number; envelope: Envelope }[] = []
    for (const [seq, { envelope }] of this.#deps.journal.unacked) if (seq > receiptSeq) found.push({ seq, envelope })
    return found.sort((a, b) => a.seq - b.seq)
  }

  acked(receiptSeq: number): void {
    const { journal } = this.#deps
    if ([...journal.unacked.keys()].some((seq) => seq <= receiptSeq))
      journal.append([{ t: 'acked', receipt_seq: Math.min(receiptSeq, journal.lastReceipt.seq) }])
  }

  resume(receiptSeq: number): void {
    const { journal, log } = this.#deps
    this.acked(receiptSeq)
    if (receiptSeq <= journal.lastReceipt.seq) return
    // The disk went back in time. No number is given out twice; the broken chain tells the controller what happened.
    log.error(ORDERS_LOG.journalRewound, { receipt_seq: journal.lastReceipt.seq, controller_receipt_seq: receiptSeq })
    journal.append([{ t: 'skipped', receipt_seq: receiptSeq }])
  }

  onNew(listener: () => void): void {
    this.#newListeners.push(listener)
  }

  onAgain(listener: (envelopes: readonly Envelope[]) => void): void {
    this.#againListeners.push(listener)
  }

  #make(answer: Answer, seq: number, previous: string): StoredReceipt {
    const { identity, clock, bootId } = this.#deps
    const { evidence, why } = fitted(answer)
    const receipt: Receipt = {
      v: 1,
      agent_id: identity.agentId,
      receipt_seq: seq,
      prev_sha256: previous,
      ...(answer.cmdId === undefined ? {} : { cmd_id: answer.cmdId }),
      command_sha256: answer.commandSha256,
      ...(answer.type === undefined ? {} : { type: answer.type }),
      state: answer.state,
      ...(answer.code === undefined ? {} : { code: answer.code }),
      ...(why === undefined ? {} : { why }),
      ...(evidence === undefined ? {} : { evidence }),
      boot_id: bootId,
      mono_ms: Math.max(0, clock.monotonic()),
      time: new Date(clock.now()).toISOString(),
    }
    const payload = Buffer.from(JSON.stringify(receipt))
    return {
      receipt_seq: seq,
      sha256: sha256(payload),
      ...(answer.cmdId === undefined ? {} : { cmd_id: answer.cmdId }),
      state: answer.state,
      envelope: seal(RECEIPT_PAYLOAD_TYPE, payload, [identity.key]),
    }
  }
}

type Answered = Pick<ReceivedCommand, 'cmd_id' | 'sha256' | 'type'>

/** What an effect says in a receipt. */
export function answerOf(command: Answered, effect: Effect<CommandType>): Answer {
  const failed = 'code' in effect ? effect : undefined
  return {
    cmdId: command.cmd_id,
    commandSha256: command.sha256,
    type: command.type,
    state: effect.state,
    code: failed?.code,
    why: failed?.why,
    evidence: effect.evidence,
  }
}

export function acceptedAnswer({ cmd_id: cmdId, sha256: commandSha256, type }: Answered): Answer {
  return { cmdId, commandSha256, type, state: 'accepted' }
}

export function refusedAnswer(
  received: Answered,
  { code, why }: { readonly code: Refusal; readonly why: string },
): Answer {
  return { ...acceptedAnswer(received), state: 'refused', code, why }
}

function fitted(answer: Answer): {
  readonly evidence: Record<string, unknown> | undefined
  readonly why: string | undefined
} {
  const whole = answer.evidence as Record<string, unknown> | undefined
  const text = whole === undefined ? '' : JSON.stringify(whole)
  const isTooLarge = Buffer.byteLength(text) > MAX_EVIDENCE_BYTES
  const note = isTooLarge
    ? `evidence of ${text.length} characters left out, sha256 ${sha256(Buffer.from(text))}`
    : undefined
  const why = [answer.why, note].filter((part) => part !== undefined).join('; ')
  return { evidence: isTooLarge ? undefined : whole, why: why === '' ? undefined : why.slice(0, MAX_WHY) }
}

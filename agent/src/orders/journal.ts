/**
 * What was ordered, begun and done, and the receipts: one append-only file, flushed before anything follows from it. A command goes
 * received, started, done; whatever the moment of a crash, the next start knows where each one stood (design 4, journal).
 */
import { closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, statSync, writeSync } from 'node:fs'
import type { CommandType } from '@firebreak/shared/commands/catalogue.ts'
import type { ReceiptState } from '@firebreak/shared/commands/command.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { Envelope } from '@firebreak/shared/trust/dsse.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import type { Effect } from '../actions/action.ts'
import { readIfThere, writeAtomic } from '../disk/atomic-file.ts'
import { encodeRecord, readRecords } from '../disk/records.ts'
import type { Position } from './examine.ts'

export interface ReceivedCommand {
  readonly cmd_id: string
  readonly type: CommandType
  readonly args: unknown
  readonly sha256: string
  /** Wall time, ms; only for the hourly limit. */
  readonly at: number
}

export interface StoredReceipt {
  readonly receipt_seq: number
  readonly sha256: string
  readonly cmd_id?: string
  readonly state: ReceiptState
  readonly envelope: Envelope
}

export type JournalEntry =
  /** The start of a rewritten journal: what the entries before it came to. */
  | {
      readonly t: 'base'
      readonly position: Position
      readonly receipt_seq: number
      readonly receipt_sha256: string
      readonly acked: number
      readonly times: readonly { readonly type: CommandType; readonly at: number }[]
    }
  /** Its sequence number is used up, whatever came of it. */
  | { readonly t: 'judged'; readonly position: Position }
  | { readonly t: 'received'; readonly position: Position; readonly command: ReceivedCommand }
  | { readonly t: 'started'; readonly cmd_id: string }
  | { readonly t: 'done'; readonly cmd_id: string; readonly effect: Effect<CommandType> | undefined }
  | { readonly t: 'receipt'; readonly receipt: StoredReceipt }
  | { readonly t: 'acked'; readonly receipt_seq: number }
  /** Receipt numbers up to this one were given out by a later life of this disk, which is gone. */
  | { readonly t: 'skipped'; readonly receipt_seq: number }

export interface CommandEntry {
  readonly command: ReceivedCommand
  readonly stage: 'received' | 'started' | 'done'
  readonly effect: Effect<CommandType> | undefined
  /** Numbers of its receipts. */
  readonly receipts: readonly StoredReceipt[]
}

export interface Journal {
  readonly position: Position
  readonly commands: ReadonlyMap<string, CommandEntry>
  /** Receipts that the controller has not acked, in order. */
  readonly unacked: ReadonlyMap<number, StoredReceipt>
  readonly lastReceipt: { readonly seq: number; readonly sha256: string }
  /** How many of this type were accepted since `sinceMs`, wall time. */
  acceptedSince(type: CommandType, sinceMs: number): number
  /** Durable when it returns, all entries or none. Throws `journal_unwritable`. */
  append(entries: readonly JournalEntry[]): void
  close(): void
}

export interface JournalDeps {
  readonly path: string
  readonly onDamage: (why: string) => void
  /** For fault tests: called at each point where a crash would leave another file behind. */
  readonly step?: (name: string) => void
  readonly maxBytes?: number
}

const NO_DIGEST = '0'.repeat(64)
const FINISHED_KEPT = 256
const FINISHED_KEPT_BYTES = MiB
const TIMES_KEPT = 4_096

export function openJournal(deps: JournalDeps): Journal {
  return new FileJournal(deps)
}

class FileJournal implements Journal {
  readonly #deps: JournalDeps
  readonly #maxBytes: number
  position: Position = { lease: 0, seq: 0 }
  readonly commands = new Map<string, CommandEntry>()
  readonly unacked = new Map<number, StoredReceipt>()
  lastReceipt = { seq: 0, sha256: NO_DIGEST }
  #acked = 0
  #times: { readonly type: CommandType; readonly at: number }[] = []
  #fd: number
  #size = 0
  #sizeRewritten = 0
  #number = 0

  constructor(deps: JournalDeps) {
    this.#deps = deps
    this.#maxBytes = deps.maxBytes ?? 4 * MiB
    const file = readIfThere(deps.path)
    const { records, damage } = readRecords(file ?? Buffer.alloc(0))
    for (const record of records) this.#take(JSON.parse(Buffer.from(record.payload).toString('utf8')) as JournalEntry)
    // A torn end was never acted on: whoever wrote it died before the flush returned. Anything else is damage worth telling.
    if (damage.some((stretch) => !stretch.torn)) deps.onDamage(`${damage.length} damaged stretches in ${deps.path}`)
    this.#rewrite()
    this.#fd = this.#open()
  }

  acceptedSince(type: CommandType, sinceMs: number): number {
    return this.#times.filter((time) => time.type === type && time.at >= sinceMs).length
  }

  append(entries: readonly JournalEntry[]): void {
    const bytes = Buffer.concat(entries.map((entry) => this.#encode(entry)))
    const names = entries.map((entry) => entry.t).join('+')
    this.#deps.step?.(`journal.${names}.before`)
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at, bytes.length - at, this.#size + at)
      this.#deps.step?.(`journal.${names}.written`)
      fdatasyncSync(this.#fd)
    } catch (cause) {
      this.#takeBack()
      throw new Fault('journal_unwritable', `cannot append to ${this.#deps.path}`, { cause })
    }
    this.#size += bytes.length
    for (const entry of entries) this.#take(entry)
    this.#deps.step?.(`journal.${names}.flushed`)
    // Twice what was left by the last time, so that what must be kept is not written anew with each entry.
    if (this.#size > Math.max(this.#maxBytes, 2 * this.#sizeRewritten)) this.#shorten()
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** The old file stays open until the new one is: what was appended is safe there, so a disk that takes no new file is no reason to fail. */
  #shorten(): void {
    try {
      this.#rewrite()
    } catch (thrown) {
      this.#sizeRewritten = this.#size // tried again at twice this size, not at every entry
      this.#deps.onDamage(`cannot shorten ${this.#deps.path}: ${reasonOf(thrown)}`)
      // Renamed, and only the flush of the folder failed: the old file has no name any more.
      if (fstatSync(this.#fd).ino === statSync(this.#deps.path).ino) return
      this.#size = statSync(this.#deps.path).size
      this.#sizeRewritten = this.#size
    }
    const old = this.#fd
    this.#fd = this.#open()
    closeSync(old)
  }

  #take(entry: JournalEntry): void {
    switch (entry.t) {
      case 'base':
        this.position = entry.position
        this.lastReceipt = { seq: entry.receipt_seq, sha256: entry.receipt_sha256 }
        this.#acked = entry.acked
        this.#times = [...entry.times]
        return
      case 'judged':
        this.position = entry.position
        return
      case 'received': {
        this.position = entry.position
        const { command } = entry
        this.commands.set(command.cmd_id, { command, stage: 'received', effect: undefined, receipts: [] })
        this.#times.push({ type: command.type, at: command.at })
        this.#times = this.#times.slice(-TIMES_KEPT)
        return
      }
      case 'started':
        this.#change(entry.cmd_id, { stage: 'started' })
        return
      case 'done':
        this.#change(entry.cmd_id, { stage: 'done', effect: entry.effect })
        return
      case 'receipt': {
        const { receipt } = entry
        if (receipt.receipt_seq > this.#acked) this.unacked.set(receipt.receipt_seq, receipt)
        if (receipt.receipt_seq > this.lastReceipt.seq)
          this.lastReceipt = { seq: receipt.receipt_seq, sha256: receipt.sha256 }
        const known = receipt.cmd_id === undefined ? undefined : this.commands.get(receipt.cmd_id)
        if (known) this.#change(known.command.cmd_id, { receipts: [...known.receipts, receipt] })
        return
      }
      case 'acked':
        this.#acked = Math.max(this.#acked, entry.receipt_seq)
        for (const seq of this.unacked.keys()) if (seq <= this.#acked) this.unacked.delete(seq)
        return
      case 'skipped':
        this.lastReceipt = { seq: Math.max(this.lastReceipt.seq, entry.receipt_seq), sha256: this.lastReceipt.sha256 }
        return
      default:
        throw new Fault('journal_unknown_entry', `unknown entry ${JSON.stringify(entry satisfies never)}`)
    }
  }

  #change(cmdId: string, change: Partial<CommandEntry>): void {
    const known = this.commands.get(cmdId)
    if (known) this.commands.set(cmdId, { ...known, ...change })
  }

  /** Writes what still matters into a new file and puts it in the place of the old one. */
  #rewrite(): void {
    this.#forgetOld()
    const entries: JournalEntry[] = []
    const told = new Set<number>()
    const position = this.position
    for (const { command, stage, effect, receipts } of this.commands.values()) {
      entries.push({ t: 'received', position, command })
      if (stage !== 'received') entries.push({ t: 'started', cmd_id: command.cmd_id })
      if (stage === 'done') entries.push({ t: 'done', cmd_id: command.cmd_id, effect })
      for (const receipt of receipts) {
        entries.push({ t: 'receipt', receipt })
        told.add(receipt.receipt_seq)
      }
    }
    for (const receipt of this.unacked.values())
      if (!told.has(receipt.receipt_seq)) entries.push({ t: 'receipt', receipt })
    // Last: it holds what the entries before it must not change.
    entries.push({
      t: 'base',
      position,
      receipt_seq: this.lastReceipt.seq,
      receipt_sha256: this.lastReceipt.sha256,
      acked: this.#acked,
      times: this.#times,
    })
    entries.push({ t: 'acked', receipt_seq: this.#acked })
    this.#number = 0
    const content = Buffer.concat(entries.map((entry) => this.#encode(entry)))
    this.#deps.step?.('journal.rewrite.before')
    writeAtomic(this.#deps.path, content)
    this.#deps.step?.('journal.rewrite.done')
    this.#size = content.length
    this.#sizeRewritten = content.length
  }

  /** Finished commands stay for repeats, the newest of them and not too many bytes. */
  #forgetOld(): void {
    let bytes = 0
    const finished = [...this.commands.values()].filter(({ stage }) => stage === 'done').reverse()
    for (const [i, { command, receipts }] of finished.entries()) {
      for (const { envelope } of receipts) bytes += envelope.payload.length
      if (i >= FINISHED_KEPT || bytes > FINISHED_KEPT_BYTES) this.commands.delete(command.cmd_id)
    }
  }

  #open(): number {
    return openSync(this.#deps.path, 'r+')
  }

  #encode(entry: JournalEntry): Buffer {
    return encodeRecord({ kind: 1, number: ++this.#number, payload: Buffer.from(JSON.stringify(entry)) })
  }

  #takeBack(): void {
    try {
      ftruncateSync(this.#fd, this.#size)
    } catch (thrown) {
      this.#deps.onDamage(`cannot take back a failed write: ${reasonOf(thrown)}`)
    }
  }
}

import type { Tx } from '../store/state/state-store.ts'

/** One line of the log: who did what to which thing. Written in the transaction of what it records. */
export interface AuditRecord {
  /** user:<name>, playbook:<id>, agent:<id> or system. */
  readonly actor: string
  /** room.thing.happened, past tense. */
  readonly action: string
  readonly objectType: string
  readonly objectId: string
  readonly detail: Readonly<Record<string, unknown>>
}

/** What the text that is hashed holds. */
export interface AuditEntry {
  readonly n: number
  readonly at: string
  readonly actor: string
  readonly action: string
  readonly object_type: string
  readonly object_id: string
  readonly detail: Readonly<Record<string, unknown>>
}

export interface Audit {
  append(tx: Tx, record: AuditRecord): Promise<void>
}

/**
 * Puts the records of one event together: those with the same host, time and serial number. An event is over with its EOE or PROCTITLE
 * record (the kernel writes them last), at once when its type always stands alone, or when nothing came for it for `patienceMs` by the
 * time of the records themselves. Source: auparse of audit-userspace, "au_check_events"; kernel/auditsc.c, audit_log_exit.
 */
import type { AuditRecord } from './audit-record.ts'

export const GROUP_LIMITS = { openEvents: 1_024, records: 256, patienceMs: 2_000 } as const

export interface AuditEvent {
  readonly node: string | undefined
  readonly atMs: number
  readonly serial: number
  /** At least one. */
  readonly records: readonly AuditRecord[]
  /** Line of the first one, as the caller counts. */
  readonly line: number
  /** Records that were left out because there were too many. */
  readonly leftOut: number
}

interface OpenEvent {
  readonly records: AuditRecord[]
  readonly line: number
  leftOut: number
}

/** Written by programs, or by the kernel outside of a system call: one record is the whole event. */
const ALONE =
  /^(?:USER|CRED|DAEMON|SERVICE|SYSTEM|ADD|DEL|GRP|ANOM_LOGIN|USYS|TRUSTED|ROLE|VIRT|CRYPTO|ACCT|CHUSER|CHGRP)_/

export class AuditGrouper {
  readonly #open = new Map<string, OpenEvent>()
  #newestMs = 0
  #strayEnds = 0

  /** Events that are whole now, in the order in which they began. */
  push(record: AuditRecord, line: number): readonly AuditEvent[] {
    this.#newestMs = Math.max(this.#newestMs, record.atMs)
    const key = `${record.node ?? ''} ${record.atMs}:${record.serial}`
    const done = this.#overdue(this.#newestMs - GROUP_LIMITS.patienceMs, key)
    const known = this.#open.get(key)
    const ends = record.type === 'EOE' || record.type === 'PROCTITLE'
    if (record.type === 'EOE' && known === undefined) {
      // Its event was over with the PROCTITLE before it.
      this.#strayEnds++
      return done
    }
    const event = known ?? { records: [], line, leftOut: 0 }
    if (event.records.length < GROUP_LIMITS.records) {
      if (record.type !== 'EOE') event.records.push(record)
    } else if (record.type !== 'EOE') event.leftOut++
    if (ends || (known === undefined && ALONE.test(record.type))) {
      this.#open.delete(key)
      return [...done, eventOf(event)]
    }
    if (known === undefined) {
      this.#open.set(key, event)
      if (this.#open.size > GROUP_LIMITS.openEvents) return [...done, ...this.#take(1)]
    }
    return done
  }

  /** Records that only ended an event that was over already; they are part of no event. */
  takeStrayEnds(): number {
    const stray = this.#strayEnds
    this.#strayEnds = 0
    return stray
  }

  get openEvents(): number {
    return this.#open.size
  }

  /** Line of the oldest event that is not whole yet. */
  get oldestLine(): number | undefined {
    let oldest: number | undefined
    for (const { line } of this.#open.values()) if (oldest === undefined || line < oldest) oldest = line
    return oldest
  }

  /** What is left, whole or not: at the end of a file, or when nothing has come for a while. */
  flush(): readonly AuditEvent[] {
    return this.#take(this.#open.size)
  }

  #overdue(beforeMs: number, not: string): AuditEvent[] {
    const done: AuditEvent[] = []
    for (const [key, event] of this.#open) {
      if (key === not || (event.records[0]?.atMs ?? 0) >= beforeMs) break
      this.#open.delete(key)
      done.push(eventOf(event))
    }
    return done
  }

  #take(count: number): AuditEvent[] {
    const taken: AuditEvent[] = []
    for (const [key, event] of this.#open) {
      if (taken.length === count) break
      this.#open.delete(key)
      taken.push(eventOf(event))
    }
    return taken
  }
}

function eventOf({ records, line, leftOut }: OpenEvent): AuditEvent {
  const first = records[0]
  if (first === undefined) throw new Error('an event of the audit system has at least one record')
  return { node: first.node, atMs: first.atMs, serial: first.serial, records, line, leftOut }
}

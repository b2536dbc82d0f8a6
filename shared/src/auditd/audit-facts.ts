import type { AuditEvent } from './audit-events.ts'
import { type AuditRecord, textOf } from './audit-record.ts'
import { ARCH_NAMES, syscallName } from './audit-tables.ts'

/** A reader over the records of one event: the first record that has a field says what it is. */
export class AuditFacts {
  readonly event: AuditEvent
  readonly syscallRecord: AuditRecord | undefined
  /** Name of the system call. */
  readonly syscall: string | undefined
  readonly types: readonly string[]

  constructor(event: AuditEvent) {
    this.event = event
    this.syscallRecord = event.records.find(({ type }) => type === 'SYSCALL')
    this.types = [...new Set(event.records.map(({ type }) => type))]
    const number = this.syscallRecord && textOf(this.syscallRecord, 'syscall')
    const arch = this.syscallRecord && textOf(this.syscallRecord, 'arch')
    const machine = arch === undefined ? undefined : (ARCH_NAMES.get(arch.toLowerCase()) ?? arch)
    this.syscall =
      this.syscallRecord?.enriched.get('syscall') ?? (number === undefined ? undefined : syscallName(machine, number))
  }

  text(name: string): string | undefined {
    for (const record of this.event.records) {
      const text = textOf(record, name)
      if (text !== undefined) return text
    }
    return undefined
  }

  /** The name that goes with a number, when auditd wrote both. */
  nameFor(field: string): string | undefined {
    for (const record of this.event.records) {
      const name = record.enriched.get(field)
      if (name !== undefined) return name === 'unset' || name.startsWith('unknown(') ? undefined : name
    }
    return undefined
  }

  get outcome(): 'success' | 'failure' | 'unknown' {
    const word = (this.text('success') ?? this.text('res') ?? this.text('result'))?.toLowerCase()
    if (word === 'yes' || word === 'success' || word === '1') return 'success'
    // A connection under way (connect(2), EINPROGRESS): how it ends nobody says here.
    if (this.syscall === 'connect' && /^(?:-115|EINPROGRESS\b)/.test(this.text('exit') ?? '')) return 'unknown'
    return word === 'no' || word === 'failed' || word === 'fail' || word === '0' ? 'failure' : 'unknown'
  }
}

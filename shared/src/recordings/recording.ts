/**
 * A recording, line by line: NDJSON of ECS or of anything else, records of Windows event logs, logs of the audit system. Each line
 * becomes part of an event or is refused with a reason; one that is broken never stops the others. Nothing is read but what is given.
 */
import type { Event } from '../events/event.ts'
import { eventSchema } from '../events/event.ts'
import type { IMPORT_FORMATS } from '../events/recorded-fields.ts'
import { type EventLimits, truncateEvent } from '../events/truncate.ts'
import { KiB, MiB } from '../wire/units.ts'
import { WIRE } from '../wire/limits.ts'
import { type AuditEvent, AuditGrouper } from '../auditd/audit-events.ts'
import { parseAuditRecord } from '../auditd/audit-record.ts'
import { ecsOfAudit } from '../auditd/audit-ecs.ts'
import { ecsPartsOf, isEcsRecord } from './ecs-record.ts'
import { ecsOfOther } from './other-record.ts'
import { timeOfRecord } from './record-time.ts'
import { isRecord, type RawRecord } from './record-values.ts'
import { ecsOfWindows } from './windows-ecs.ts'
import { isWindowsRecord, windowsRecordOf } from './windows-record.ts'

/** What the caller says of the file; `sysmon` stands for records of Windows in any form. */
export const READ_AS = ['auto', 'ecs', 'auditd', 'sysmon'] as const
export type ReadAs = (typeof READ_AS)[number]
export type RecordFormat = (typeof IMPORT_FORMATS)[number]

/** Why a record is not stored. Closed. */
export const RECORD_REFUSALS = [
  'not_json',
  'not_an_object',
  'not_a_record',
  'bad_time',
  'line_too_long',
  'too_deep',
  'too_many_fields',
  'too_large',
  'too_many_hosts',
  'unfit',
] as const
export type RecordRefusal = (typeof RECORD_REFUSALS)[number]

export const RECORDING_LIMITS = { line: MiB, nesting: 256, host: 253 } as const

/** A line as it was read; `bytes`: it was longer than anything that is looked at, and is not here. */
export type RecordingLine = string | { readonly bytes: number }

export interface RecordedEvent {
  /** Line of its first record; the first of a file is 1. */
  readonly line: number
  /** Records that it was made from. */
  readonly records: number
  readonly host: string
  /** When it happened, before any shift. */
  readonly recordedMs: number
  readonly event: Event
}
export interface RefusedRecord {
  readonly line: number
  readonly code: RecordRefusal
  readonly why: string
}
export interface ReadLines {
  readonly events: readonly RecordedEvent[]
  readonly refused: readonly RefusedRecord[]
}

export interface RecordingOptions {
  readonly readAs: ReadAs
  readonly fileSha256: string
  /** For records that name no host. */
  readonly defaultHost: string
  /** All records are of this host, whatever they say. */
  readonly host?: string | undefined
  readonly shiftMs?: number | undefined
  /** When a record has no time and none came before it. */
  readonly nowMs: number
}

interface Made {
  readonly event: Event
  readonly format: RecordFormat
  readonly time: 'record' | 'previous' | 'import'
  readonly atMs: number
}

const MIN_MS = 0
const MAX_MS = Date.UTC(2262, 0, 1) - 1

export class RecordingReader {
  readonly #options: RecordingOptions
  readonly #audit = new AuditGrouper()
  #previousMs: number | undefined
  #events: RecordedEvent[] = []
  #refused: RefusedRecord[] = []

  constructor(options: RecordingOptions) {
    this.#options = options
  }

  push(line: RecordingLine, number: number): void {
    if (typeof line !== 'string') {
      this.#refuse(number, 'line_too_long', `a line of ${line.bytes} bytes`)
      return
    }
    const text = line.endsWith('\r') ? line.slice(0, -1) : line
    if (text.length > RECORDING_LIMITS.line)
      this.#refuse(number, 'line_too_long', `a line of ${text.length} characters`)
    else if (isSeparator(text)) return
    else if (this.#isAudit(text)) this.#pushAudit(text, number)
    else this.#pushJson(text, number)
  }

  /** The end of the file, or of what is to be read for now: what is not whole yet is taken as it is. */
  end(): void {
    for (const event of this.#audit.flush()) this.#takeAudit(event)
  }

  /** What was read since this was last asked. */
  take(): ReadLines {
    const taken = { events: this.#events, refused: this.#refused }
    this.#events = []
    this.#refused = []
    return taken
  }

  #isAudit(text: string): boolean {
    const { readAs } = this.#options
    return readAs === 'auditd' || (readAs === 'auto' && /^(?:node=|type=|audit: type=)/.test(text))
  }

  #pushAudit(text: string, number: number): void {
    const record = parseAuditRecord(text)
    if (!record.ok) {
      const code =
        record.code === 'not_audit' ? 'not_a_record' : record.code === 'too_long' ? 'line_too_long' : record.code
      this.#refuse(number, code, record.why)
      return
    }
    for (const event of this.#audit.push(record.value, number)) this.#takeAudit(event)
  }

  #takeAudit(audited: AuditEvent): void {
    const hostName = this.#options.host ?? audited.node ?? this.#options.defaultHost
    const event = ecsOfAudit(audited, { hostName })
    this.#previousMs = audited.atMs
    this.#keep(
      { event, format: 'auditd', time: 'record', atMs: audited.atMs },
      audited.line,
      audited.records.length + audited.leftOut,
    )
  }

  #pushJson(text: string, number: number): void {
    if (isDeeperThan(text, RECORDING_LIMITS.nesting)) {
      this.#refuse(number, 'too_deep', `nested deeper than ${RECORDING_LIMITS.nesting}`)
      return
    }
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (thrown) {
      this.#refuse(number, 'not_json', thrown instanceof Error ? thrown.message.slice(0, 200) : 'not JSON')
      return
    }
    // An export of Elasticsearch wraps each document.
    const inner =
      isRecord(value) && isRecord(value['_source']) && value['_index'] !== undefined ? value['_source'] : value
    if (!isRecord(inner)) this.#refuse(number, 'not_an_object', 'JSON, but no object')
    else this.#keep(this.#made(inner), number, 1)
  }

  #made(record: RawRecord): Made {
    const format = this.#formatOf(record)
    const windows = format === 'windows' ? windowsRecordOf(record) : undefined
    const told = timeOfRecord(windows?.times ?? record)
    const atMs = told?.atMs ?? this.#previousMs ?? this.#options.nowMs
    const time = told !== undefined ? 'record' : this.#previousMs !== undefined ? 'previous' : 'import'
    this.#previousMs = atMs
    const at = new Date(atMs).toISOString()
    if (windows !== undefined) return { event: ecsOfWindows(windows, at), format, time, atMs }
    if (format === 'other') return { event: ecsOfOther(record, at), format, time, atMs }
    const { event, rest } = ecsPartsOf(record, at)
    const whole = rest === undefined ? event : { ...event, firebreak: { ...event.firebreak, record: { ...rest } } }
    return { event: whole, format: 'ecs', time, atMs }
  }

  #formatOf(record: RawRecord): RecordFormat {
    const { readAs } = this.#options
    if (readAs === 'ecs') return 'ecs'
    if (readAs === 'sysmon') return 'windows'
    if (isEcsRecord(record)) return 'ecs'
    return isWindowsRecord(record) ? 'windows' : 'other'
  }

  #keep({ event, format, time, atMs }: Made, line: number, records: number): void {
    const { fileSha256, shiftMs } = this.#options
    const host = hostName(this.#options.host ?? event.host?.name ?? event.host?.hostname, this.#options.defaultHost)
    const shifted = Math.min(MAX_MS, Math.max(MIN_MS, atMs + (shiftMs ?? 0)))
    const whole = fitted({
      ...event,
      '@timestamp': new Date(shifted).toISOString(),
      host: { ...event.host, name: host },
      ...(event.process?.start === undefined
        ? {}
        : { process: { ...event.process, start: moved(event.process.start, shiftMs) } }),
      firebreak: {
        ...event.firebreak,
        import: {
          file_sha256: fileSha256,
          line,
          format,
          time,
          ...(shiftMs === undefined ? {} : { shifted_ms: shiftMs }),
        },
      },
    })
    if (whole === undefined) {
      this.#refuse(line, 'too_large', `more than ${WIRE.maxEventBytes / KiB} KiB, also with its texts cut`, records)
      return
    }
    if (!eventSchema.Check(whole)) {
      const [error] = eventSchema.Errors(whole)
      this.#refuse(line, 'unfit', `${error?.instancePath ?? ''}: ${error?.message ?? 'does not fit'}`, records)
      return
    }
    this.#events.push({ line, records, host, recordedMs: atMs, event: whole })
  }

  /** Each record of it is counted, so that what came in is what was stored and what was refused. */
  #refuse(line: number, code: RecordRefusal, why: string, records = 1): void {
    for (let n = 0; n < records; n++) this.#refused.push({ line, code, why })
  }
}

/** Between events in the output of ausearch, and the mark that one is over: no records. */
function isSeparator(text: string): boolean {
  return (
    text.trim() === '' || text === '----' || text.startsWith('time->') || /^(?:node=\S+ )?type=(?:EOE|1320) /.test(text)
  )
}

function moved(time: string, shiftMs: number | undefined): string {
  return shiftMs === undefined
    ? time
    : new Date(Math.min(MAX_MS, Math.max(MIN_MS, Date.parse(time) + shiftMs))).toISOString()
}

/** A name that a fleet can show; empty and absurd ones are not. */
function hostName(told: string | undefined, otherwise: string): string {
  const name = (told ?? '')
    .replaceAll(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, RECORDING_LIMITS.host)
  return name === '' ? otherwise : name
}

/** Tried one after the other until the event is small enough. */
const SHORTER: readonly EventLimits[] = [
  { keyword: 4_096, text: 32_768, list: 512 },
  { keyword: 4_096, text: 4_096, list: 128 },
  { keyword: 1_024, text: 512, list: 32 },
  { keyword: 256, text: 64, list: 16 },
]

const HALF = /\\ud[89a-f]/

function wellFormed(_name: string, value: unknown): unknown {
  return typeof value === 'string' ? value.toWellFormed() : value
}

function fitted(event: Event): Event | undefined {
  for (const limits of SHORTER) {
    const shorter = truncateEvent(event, limits)
    const json = JSON.stringify(shorter)
    if (Buffer.byteLength(json) > WIRE.maxEventBytes) continue
    // Half a character has no UTF-8: the store would see nothing of the event.
    return HALF.test(json) ? (JSON.parse(json, wellFormed) as Event) : shorter
  }
  return undefined
}

/** Brackets in texts do not count. JSON.parse and what walks its result afterwards would take long or run out of stack. */
function isDeeperThan(text: string, limit: number): boolean {
  let depth = 0
  let inString = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (inString) {
      if (code === 0x5c) at++
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > limit) return true
    } else if (code === 0x7d || code === 0x5d) depth--
  }
  return false
}

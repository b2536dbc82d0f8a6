/**
 * One record of the Linux audit system, read from a line: auditd's log, `ausearch --raw` and `ausearch -i`, the kernel's log and
 * netlink. `type=SYSCALL msg=audit(1604994496.155:92733): arch=c000003e ...`. What the line says is hostile: a program chooses its own
 * name and arguments. Source: audit-record-fields and "audit event parsing" of the linux-audit documentation project;
 * kernel/audit.c, audit_log_untrustedstring.
 */
import { textOfBytes } from '../events/escaped-bytes.ts'
import { type Result, ok, refuse } from '../result.ts'
import { TYPE_NAMES } from './audit-tables.ts'

export const AUDIT_LIMITS = { line: 65_536, fields: 2_048, name: 64 } as const
export type NotAudit = 'not_audit' | 'too_long' | 'bad_time' | 'too_many_fields'

export interface AuditValue {
  readonly text: string
  /** It stood in quotes, so it is no hexadecimal. */
  readonly quoted: boolean
}

export interface AuditRecord {
  readonly type: string
  /** Host that it came from, where several write one log. */
  readonly node: string | undefined
  readonly atMs: number
  /** Records of one event share it, together with the time. */
  readonly serial: number
  /** `ausearch -i` wrote it: numbers are names already, and nothing is in hexadecimal. */
  readonly interpreted: boolean
  /** In the order of the line; the first of a name counts. */
  readonly fields: ReadonlyMap<string, AuditValue>
  /** What auditd added in names: `UID="root"` for `uid=0`. */
  readonly enriched: ReadonlyMap<string, string>
}

const HEAD =
  /^(?:node=(?<node>\S{1,255}) )?(?:audit: )?type=(?<type>[A-Z][A-Z0-9_]{0,63}|UNKNOWN\[\d{1,5}\]|\d{1,5}) (?:msg=)?audit\((?<time>[^():]{1,32}(?::\d\d:\d\d\.\d{1,9})?):(?<serial>\d{1,20})\)(?<colon> ?):(?: |$)/
const GROUP_SEPARATOR = '\x1d'
/** Years that a record can be of; the counter of milliseconds stays a whole number. */
const LATEST_MS = Date.UTC(2262, 0, 1)

/** One line without its line end. */
export function parseAuditRecord(line: string): Result<AuditRecord, NotAudit> {
  if (line.length > AUDIT_LIMITS.line) return refuse('too_long', `a line of ${line.length} characters`)
  const head = HEAD.exec(line)
  if (head?.groups === undefined) return refuse('not_audit', 'no record of the audit system begins so')
  const { node, type = '', time = '', serial = '', colon } = head.groups
  const atMs = timeOf(time)
  if (atMs === undefined) return refuse('bad_time', `${time} is no time`)
  const interpreted = colon === ' '
  const [body, addition = ''] = split(line.slice(head[0].length), GROUP_SEPARATOR)
  const fields = new Map<string, AuditValue>()
  const whole = readFields(body, interpreted, fields, false)
  const added = new Map<string, AuditValue>()
  if (!whole || !readFields(addition, false, added, false))
    return refuse('too_many_fields', `more than ${AUDIT_LIMITS.fields} fields`)
  return ok({
    type: typeName(type),
    node,
    atMs,
    serial: Math.min(Number(serial), Number.MAX_SAFE_INTEGER),
    interpreted,
    fields,
    enriched: new Map([...added].map(([name, { text }]) => [name.toLowerCase(), text])),
  })
}

function split(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}

function typeName(text: string): string {
  const number = /^\d+$/.test(text) ? Number(text) : Number(/^UNKNOWN\[(\d+)\]$/.exec(text)?.[1] ?? Number.NaN)
  return Number.isNaN(number) ? text : (TYPE_NAMES.get(number) ?? `UNKNOWN[${number}]`)
}

/** Seconds since 1970, or a date as `ausearch -i` writes it; that one has no zone and is taken for UTC. */
function timeOf(text: string): number | undefined {
  const seconds = /^(\d{1,12})\.(\d{1,9})$/.exec(text)
  if (seconds) return within(Number(seconds[1]) * 1_000 + milliseconds(seconds[2] ?? ''))
  const date = /^(?:(\d\d)\/(\d\d)\/(\d{4}|\d\d)|(\d{4})-(\d\d)-(\d\d)) (\d\d):(\d\d):(\d\d)\.(\d{1,9})$/.exec(text)
  if (!date) return undefined
  const [, usMonth, usDay, usYear, year, month, day, h, m, s, fraction = ''] = date
  const fullYear = Number(year ?? usYear)
  const at = Date.UTC(
    fullYear < 100 ? 2_000 + fullYear : fullYear,
    Number(month ?? usMonth) - 1,
    Number(day ?? usDay),
    Number(h),
    Number(m),
    Number(s),
  )
  return within(at + milliseconds(fraction))
}

function milliseconds(fraction: string): number {
  return Number(fraction.padEnd(3, '0').slice(0, 3))
}

function within(atMs: number): number | undefined {
  return Number.isFinite(atMs) && atMs >= 0 && atMs < LATEST_MS ? atMs : undefined
}

const AVC = /^avc: {1,2}(denied|granted) {1,2}\{([^}]{0,1024})\}(?: {1,2}for)?/
const NAME = /[A-Za-z_][A-Za-z0-9_.-]{0,63}(?:\[\d{1,5}\])?=/y

/** Puts `name=value` into the map; false when there are too many. What is no such pair is passed over. */
function readFields(body: string, interpreted: boolean, into: Map<string, AuditValue>, inMessage: boolean): boolean {
  let at = 0
  let pairs = 0
  const unclosed = new Set<string>()
  const avc = AVC.exec(body)
  if (avc) {
    into.set('seresult', { text: avc[1] ?? '', quoted: true })
    into.set('seperms', { text: (avc[2] ?? '').trim(), quoted: true })
    at = avc[0].length
  }
  while (at < body.length) {
    NAME.lastIndex = at
    const name = NAME.exec(body)?.[0].slice(0, -1)
    if (name === undefined) {
      const space = body.indexOf(' ', at)
      if (space === -1) return true
      at = space + 1
      continue
    }
    at += name.length + 1
    const [value, end] = readValue(body, at, interpreted, unclosed)
    at = end
    // A user message carries the fields of the program that wrote it.
    if (name === 'msg' && !inMessage) {
      if (!readFields(value.text, interpreted, into, true)) return false
    } else if (!into.has(name)) into.set(name, value)
    if (++pairs > AUDIT_LIMITS.fields) return false
  }
  return true
}

const NEXT_NAME = / [A-Za-z_][A-Za-z0-9_.-]{0,63}(?:\[\d{1,5}\])?=/g

/** The value at a place and where the next pair begins. */
function readValue(
  body: string,
  at: number,
  interpreted: boolean,
  unclosed: Set<string>,
): readonly [AuditValue, number] {
  const quote = body[at]
  if ((quote === '"' || quote === "'") && !unclosed.has(quote)) {
    const end = closing(body, at, quote)
    // Where none closes here, none closes later: a line of quotes must not be searched once for each of them.
    if (end === -1) unclosed.add(quote)
    else return [{ text: body.slice(at + 1, end), quoted: true }, after(body, end + 1)]
  }
  let end = body.indexOf(' ', at)
  if (interpreted) {
    NEXT_NAME.lastIndex = at
    end = NEXT_NAME.exec(body)?.index ?? -1
  }
  if (end === -1) end = body.length
  return [{ text: body.slice(at, end).trimEnd(), quoted: interpreted }, end + 1]
}

/** A quote of the same kind that ends the value: before a space or at the end. The kernel writes no quote inside of one. */
function closing(body: string, at: number, quote: string): number {
  for (let end = body.indexOf(quote, at + 1); end !== -1; end = body.indexOf(quote, end + 1)) {
    const next = body[end + 1]
    if (next === undefined || next === ' ' || next === ',' || next === "'" || next === ')') return end
  }
  return -1
}

function after(body: string, at: number): number {
  return body[at] === ' ' ? at + 1 : at
}

/** Fields whose bytes a user chooses: without quotes they are in hexadecimal (audit_log_untrustedstring). */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'acct',
  'cmd',
  'comm',
  'cwd',
  'data',
  'dir',
  'exe',
  'file',
  'grp',
  'id',
  'key',
  'name',
  'new_group',
  'ocomm',
  'old-name',
  'path',
  'proctitle',
  'root_dir',
  'sw',
  'unit',
  'vm',
  'watch',
])
const HEX = /^(?:[0-9A-Fa-f]{2})+$/

/** What a value says; `undefined` for none: `(null)`, `(none)`, `?`. */
export function textOf(record: AuditRecord, name: string): string | undefined {
  const value = record.fields.get(name)
  return value && decoded(record, name, value)
}

export function decoded(record: AuditRecord, name: string, value: AuditValue): string | undefined {
  const { text, quoted } = value
  if (isNothing(text, quoted && !record.interpreted)) return undefined
  return !quoted && isUntrusted(record, name) ? fromHex(text) : text
}

function isNothing(text: string, certain: boolean): boolean {
  return text === '' || (!certain && (text === '(null)' || text === '(none)' || text === '?'))
}

function isUntrusted(record: AuditRecord, name: string): boolean {
  if (UNTRUSTED.has(name)) {
    // The id of an account is a number.
    return name !== 'id' || !/^\d{1,10}$/.test(record.fields.get(name)?.text ?? '')
  }
  return record.type === 'EXECVE' && /^a\d+(\[\d+\])?$/.test(name)
}

/** Text, when it is in hexadecimal; as it stands when it is not. NUL between arguments becomes a space. */
export function fromHex(text: string): string {
  if (!HEX.test(text)) return text
  return textOfBytes(Buffer.from(text, 'hex')).replace(/\0+$/, '').replaceAll('\0', ' ')
}

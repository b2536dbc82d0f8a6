/** Reads DNS messages as they stand in a datagram. Whoever sends them may send anything: every length and pointer is bounded. Source: RFC 1035, 4.1. */
import type { Event } from '@firebreak/shared/events/event.ts'
import { textOfBytes } from '../escaped-bytes.ts'
import { present } from '../present.ts'
import { ipv6Text } from '../procfs-sockets.ts'

export type DnsFields = NonNullable<Event['dns']>

const HEADER_BYTES = 12
const MAX_ANSWERS = 64
/** A name has at most 127 labels; more jumps than that are a circle. */
const MAX_LABELS = 128
const TYPES: Readonly<Record<number, string>> = {
  1: 'A',
  2: 'NS',
  5: 'CNAME',
  6: 'SOA',
  12: 'PTR',
  13: 'HINFO',
  15: 'MX',
  16: 'TXT',
  28: 'AAAA',
  33: 'SRV',
  35: 'NAPTR',
  39: 'DNAME',
  43: 'DS',
  46: 'RRSIG',
  47: 'NSEC',
  48: 'DNSKEY',
  52: 'TLSA',
  64: 'SVCB',
  65: 'HTTPS',
  99: 'SPF',
  251: 'IXFR',
  252: 'AXFR',
  255: 'ANY',
  257: 'CAA',
}
const CLASSES: Readonly<Record<number, string>> = { 1: 'IN', 3: 'CH', 4: 'HS', 255: 'ANY' }
const RESPONSE_CODES = [
  'NOERROR',
  'FORMERR',
  'SERVFAIL',
  'NXDOMAIN',
  'NOTIMP',
  'REFUSED',
  'YXDOMAIN',
  'YXRRSET',
  'NXRRSET',
  'NOTAUTH',
  'NOTZONE',
]

/** Undefined for what is no message with a question. An answer that was cut gives the records that are whole. */
export function parseDnsMessage(bytes: Uint8Array): DnsFields | undefined {
  if (bytes.length < HEADER_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const flags = view.getUint16(2)
  const questions = view.getUint16(4)
  const opcode = (flags >> 11) & 0xf
  if (questions < 1 || questions > 4 || opcode !== 0) return undefined
  const question = readName(bytes, HEADER_BYTES)
  if (!question || question.end + 4 > bytes.length) return undefined
  const isAnswer = (flags & 0x8000) !== 0
  const fields: DnsFields = {
    id: String(view.getUint16(0)),
    type: isAnswer ? 'answer' : 'query',
    question: {
      name: question.name,
      type: typeName(view.getUint16(question.end)),
      class: className(view.getUint16(question.end + 2)),
    },
  }
  if (!isAnswer) return fields
  let at = question.end + 4
  for (let n = 1; n < questions; n++) {
    const other = readName(bytes, at)
    if (!other) return fields
    at = other.end + 4
  }
  const answers = readAnswers(bytes, view, at, Math.min(view.getUint16(6), MAX_ANSWERS))
  const resolved = answers.filter(({ type }) => type === 'A' || type === 'AAAA').map(({ data }) => data)
  return {
    ...fields,
    response_code: RESPONSE_CODES[flags & 0xf] ?? `RCODE${flags & 0xf}`,
    ...present({
      answers: answers.length > 0 ? answers : undefined,
      resolved_ip: resolved.length > 0 ? resolved.filter((ip) => ip !== undefined) : undefined,
    }),
  }
}

function readAnswers(
  bytes: Uint8Array,
  view: DataView,
  from: number,
  count: number,
): NonNullable<DnsFields['answers']> {
  const answers: NonNullable<DnsFields['answers']> = []
  let at = from
  for (let n = 0; n < count; n++) {
    const name = readName(bytes, at)
    if (!name || name.end + 10 > bytes.length) break
    const type = view.getUint16(name.end)
    const length = view.getUint16(name.end + 8)
    const dataAt = name.end + 10
    if (dataAt + length > bytes.length) break
    const data = dataText(type, bytes, view, dataAt, length)
    answers.push({
      name: name.name,
      type: typeName(type),
      class: className(view.getUint16(name.end + 2)),
      ttl: view.getUint32(name.end + 4),
      ...present({ data }),
    })
    at = dataAt + length
  }
  return answers
}

function dataText(type: number, bytes: Uint8Array, view: DataView, at: number, length: number): string | undefined {
  const data = bytes.subarray(at, at + length)
  switch (type) {
    case 1:
      return length === 4 ? data.join('.') : undefined
    case 28:
      return length === 16 ? ipv6Text([...data]) : undefined
    case 2:
    case 5:
    case 12:
    case 39:
      return readName(bytes, at)?.name
    case 15:
      return length > 2 ? `${view.getUint16(at)} ${readName(bytes, at + 2)?.name ?? ''}` : undefined
    case 33:
      return length > 6
        ? `${view.getUint16(at)} ${view.getUint16(at + 2)} ${view.getUint16(at + 4)} ${readName(bytes, at + 6)?.name ?? ''}`
        : undefined
    case 16:
      return characterStrings(data)
    default:
      return undefined
  }
}

/** RFC 1035, 3.3.14: one length byte before each piece. */
function characterStrings(data: Uint8Array): string {
  const pieces: string[] = []
  for (let at = 0; at < data.length; ) {
    const length = data[at] ?? 0
    pieces.push(textOfBytes(data.subarray(at + 1, at + 1 + length)))
    at += 1 + length
  }
  return pieces.join('')
}

function readName(bytes: Uint8Array, from: number): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = []
  let at = from
  let end: number | undefined
  for (let steps = 0; steps < MAX_LABELS; steps++) {
    const length = bytes[at]
    if (length === undefined) return undefined
    if (length === 0) return { name: labels.join('.') || '.', end: end ?? at + 1 }
    if (length >= 0xc0) {
      const low = bytes[at + 1]
      if (low === undefined) return undefined
      end ??= at + 2
      at = ((length & 0x3f) << 8) | low
    } else {
      if (length > 63 || at + 1 + length > bytes.length) return undefined
      labels.push(labelText(bytes.subarray(at + 1, at + 1 + length)))
      at += 1 + length
    }
  }
  return undefined
}

/** A dot inside of a label is told apart from the dots between labels. */
function labelText(label: Uint8Array): string {
  return textOfBytes(label).replaceAll('.', String.raw`\.`)
}

function typeName(type: number): string {
  return TYPES[type] ?? `TYPE${type}`
}

function className(value: number): string {
  return CLASSES[value] ?? `CLASS${value}`
}

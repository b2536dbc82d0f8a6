/** The lines of a batch as events: what fits the schema, and which numbers did not. Agent input is hostile (threat T5). */
import { isUtf8 } from 'node:buffer'
import { type Event, eventSchema, FIELD_LIMITS } from '@firebreak/shared/events/event.ts'
import type { AgentId, EventId } from '@firebreak/shared/ids.ts'
import type { BatchHeader, Gap } from '@firebreak/shared/wire/frame.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'

/** JSON.parse takes 0.4 µs for an opening bracket: 4 MiB of them would stop the process for two seconds. */
const LOOK_FIRST_FROM_BYTES = 8 * KiB
const EARLIEST = Date.UTC(1970, 0, 1)
const LATEST = Date.UTC(2262, 0, 1)
/** A lone surrogate has no UTF-8: the store's JSON reader would see none of the event. */
const ESCAPED_SURROGATE = /\\u[dD][89a-fA-F]/

export interface TakenLine {
  readonly seq: number
  readonly line: Uint8Array
  /** `undefined` when it does not fit. */
  readonly event: Event | undefined
}

/** Reads every line; a first unsound one makes it look before it parses the others. */
export function takeLines(lines: readonly Uint8Array[], sequence: Iterable<number>): TakenLine[] {
  const taken: TakenLine[] = []
  let suspicious = false
  const numbers = sequence[Symbol.iterator]()
  for (const line of lines) {
    const seq = numbers.next().value as number
    const event = readEvent(line, suspicious)
    if (event === undefined) suspicious = true
    taken.push({ seq, line, event })
  }
  return taken
}

function readEvent(line: Uint8Array, suspicious: boolean): Event | undefined {
  if (!isUtf8(line)) return undefined
  if ((suspicious || line.length >= LOOK_FIRST_FROM_BYTES) && isTooDeep(line)) return undefined
  const text = Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined // counted by the caller as `invalid`
  }
  if (!eventSchema.Check(value)) return undefined
  if (ESCAPED_SURROGATE.test(text) && !isWellFormed(value)) return undefined
  const at = Date.parse(value['@timestamp'])
  return at >= EARLIEST && at < LATEST ? value : undefined
}

/** Whether an opening bracket lies deeper than any event may be; brackets in strings do not count. */
function isTooDeep(line: Uint8Array): boolean {
  let depth = 0
  let inString = false
  for (let at = 0; at < line.length; at++) {
    const byte = line[at]
    if (inString) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > FIELD_LIMITS.depth) return true
    } else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return false
}

/** JSON.stringify writes a lone surrogate, and nothing else, as an escape of this form (ECMA-262, 25.5.2.3). */
function isWellFormed(value: unknown): boolean {
  return !/\\ud[89a-f]/.test(JSON.stringify(value).replaceAll('\\\\', ''))
}

export interface Numbered {
  readonly epoch: string
  readonly class: string
  readonly receivedAt: string
}

/** Gives an event what only the controller may say: whose it is, its id, when it came. */
export function storedEvent(agentId: AgentId, of: Numbered, seq: number, event: Event): StoredEvent {
  event.event.id = `${agentId}:${of.epoch}:${of.class}:${seq}` as EventId
  event.event.ingested = of.receivedAt
  event.host = { ...event.host, id: agentId }
  return { agentId, epoch: of.epoch, class: of.class, seq, event }
}

/** The gaps of a header past `ackedSeq`, and the numbers that did not fit, in order. */
export function gapsAfter(header: BatchHeader, ackedSeq: number, invalid: readonly number[]): Gap[] {
  const gaps: Gap[] = header.gaps
    .filter((gap) => gap.to > ackedSeq)
    .map((gap) => ({ ...gap, from: Math.max(gap.from, ackedSeq + 1) }))
  let open: { from: number; to: number; reason: 'invalid' } | undefined
  for (const seq of invalid) {
    if (open && seq === open.to + 1) open.to = seq
    else {
      open = { from: seq, to: seq, reason: 'invalid' }
      gaps.push(open)
    }
  }
  return gaps.sort((a, b) => a.from - b.from)
}

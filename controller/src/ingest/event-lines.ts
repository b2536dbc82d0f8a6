/** The lines of a batch as events: what fits the schema, and which numbers did not. Agent input is hostile (threat T5). */
import { isAscii, isUtf8 } from 'node:buffer'
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
  readonly event: Event
  /** ASCII without escapes: every value stands in the line as it is. */
  readonly isPlain: boolean
}

const BACKSLASH = 0x5c

/**
 * `undefined` when it does not fit. `suspicious`: look at how deep it is before parsing it, as with a long one. `known`: the same as
 * text, where it is ASCII and has been decoded already.
 */
export function takeLine(line: Uint8Array, suspicious: boolean, known?: string): TakenLine | undefined {
  const ascii = known !== undefined || isAscii(line)
  if (!ascii && !isUtf8(line)) return undefined
  if ((suspicious || line.length >= LOOK_FIRST_FROM_BYTES) && isTooDeep(line)) return undefined
  const text = known ?? Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString(ascii ? 'latin1' : 'utf8')
  const escaped = line.includes(BACKSLASH)
  let event: unknown
  try {
    event = JSON.parse(text)
  } catch {
    return undefined // counted by the caller as `invalid`
  }
  if (!eventSchema.Check(event)) return undefined
  if (escaped && ESCAPED_SURROGATE.test(text) && !isWellFormed(event)) return undefined
  const at = Date.parse(event['@timestamp'])
  return at >= EARLIEST && at < LATEST ? { event, isPlain: ascii && !escaped } : undefined
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

/** Whose a batch is and when it came: what only the controller may say. */
export interface BatchOrigin {
  readonly agentId: AgentId
  readonly epoch: string
  readonly class: string
  /** ISO 8601 UTC, ms. */
  readonly receivedAt: string
}

/** Gives an event what only the controller may say: whose it is, its id, when it came. Changes the event. */
export function storedEvent(
  { agentId, epoch, class: name, receivedAt }: BatchOrigin,
  seq: number,
  event: Event,
): StoredEvent {
  event.event.id = `${agentId}:${epoch}:${name}:${seq}` as EventId
  event.event.ingested = receivedAt
  if (event.host === undefined) event.host = { id: agentId }
  else event.host.id = agentId
  return { agentId, epoch, class: name, seq, event }
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

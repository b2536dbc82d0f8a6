/**
 * One batch from the compressed body to what the controller needs of it, each event parsed once: which numbers did not fit, the text of
 * those that did, and the few events that some rule says something about. Pure; runs in a thread of its own (`reader-thread.ts`).
 */
import { isAscii } from 'node:buffer'
import { constants, zstdCompressSync } from 'node:zlib'
import type { Event } from '@firebreak/shared/events/event.ts'
import { isKnown } from '@firebreak/shared/indicators/event-values.ts'
import type { MatchTable } from '@firebreak/shared/indicators/match-table.ts'
import { compilePlan, type RulePlan } from '@firebreak/shared/sigma/plan.ts'
import type { SigmaFilter, SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import { type BatchHeader, batchLines, batchSequence, type FrameRefusal } from '@firebreak/shared/wire/frame.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import type { StoredEvent } from '../../store/telemetry/telemetry-store.ts'
import { type BatchOrigin, storedEvent, takeLine } from '../event-lines.ts'

/** What is needed of a batch to read it. */
export interface BatchToRead {
  readonly origin: BatchOrigin
  readonly header: Pick<BatchHeader, 'first_seq' | 'last_seq' | 'count' | 'body_bytes' | 'gaps'>
  /** zstd of NDJSON. */
  readonly body: Uint8Array
}

export interface BatchRead {
  /** NDJSON of the events that fitted, in order; decoded. */
  readonly text: Uint8Array
  /** How many events fitted. */
  readonly events: number
  /** Numbers whose events did not. */
  readonly invalid: readonly number[]
  /** The body without those that did not fit, compressed; absent when all fitted. */
  readonly soundBody?: Uint8Array
  /** Those that detection has to look at, in order. */
  readonly noticed: readonly StoredEvent[]
}

export type BatchReading =
  | ({ readonly ok: true } & BatchRead)
  | { readonly ok: false; readonly code: FrameRefusal; readonly why: string }

/** What events are looked through with. */
export interface ScreenRules {
  readonly rules: readonly SigmaRule[]
  readonly filters: readonly SigmaFilter[]
}

/** Says whether detection has to look at an event. `whole`: ASCII in which every value of it stands as it is, where there is such a text. */
export type Screen = (event: Event, whole: Uint8Array | undefined) => boolean

/**
 * A screen only chooses: what matches is matched again where signals are made, so that rules that fail on an event are named and
 * switched off in one place. Without rules every event is for detection.
 */
export function screenOf(rules: ScreenRules | undefined): Screen {
  if (rules === undefined) return () => true
  const plan: RulePlan = compilePlan(rules.rules, { filters: rules.filters })
  return (event, whole) => {
    try {
      return plan.match(event, whole).length > 0
    } catch {
      return true // detection tries its rules one by one and names the one that failed
    }
  }
}

/** Beside what the rules say, detection looks at events with a value that an indicator may name. */
export function watching(screen: Screen, indicators: MatchTable | undefined): Screen {
  if (indicators === undefined) return screen
  return (event, whole) => screen(event, whole) || isKnown(event, indicators)
}

export function readBatch({ origin, header, body }: BatchToRead, screen: Screen): BatchReading {
  const lines = batchLines({ header, body })
  if (!lines.ok) return lines
  const numbers = batchSequence(header)
  const sound: Uint8Array[] = []
  const invalid: number[] = []
  const noticed: StoredEvent[] = []
  const whole = wholeOf(lines.value)
  const ascii = asciiOf(whole)
  for (const line of lines.value) {
    const seq = numbers.next().value as number
    const start = line.byteOffset - whole.byteOffset
    // A first unsound line makes it look before it parses the others.
    const taken = takeLine(line, invalid.length > 0, ascii?.slice(start, start + line.length))
    if (taken === undefined) {
      invalid.push(seq)
      continue
    }
    sound.push(line)
    const stored = storedEvent(origin, seq, taken.event)
    if (screen(stored.event, taken.isPlain ? withOurs(line, stored) : undefined)) noticed.push(stored)
  }
  if (invalid.length === 0) return { ok: true, text: whole, events: sound.length, invalid, noticed }
  const text = joined(sound)
  return { ok: true, text, events: sound.length, invalid, noticed, soundBody: compress(text) }
}

export function compress(text: Uint8Array): Uint8Array {
  return zstdCompressSync(text, { params: { [constants.ZSTD_c_compressionLevel]: 1 } })
}

const scratch = Buffer.alloc(WIRE.maxEventBytes + 1_024)

/** The line with what the controller added to the event: keywords are looked for in every value. Good until the next call. */
function withOurs(line: Uint8Array, { event }: StoredEvent): Uint8Array {
  scratch.set(line)
  const length = scratch.write(` ${event.event.id} ${event.event.ingested}`, line.length, 'latin1')
  return scratch.subarray(0, line.length + length)
}

/** The lines are cut out of one piece of memory, which is the text. */
function wholeOf(lines: readonly Uint8Array[]): Uint8Array {
  const first = lines[0]
  const last = lines.at(-1)
  if (!first || !last) return new Uint8Array()
  return new Uint8Array(first.buffer, first.byteOffset, last.byteOffset + last.length + 1 - first.byteOffset)
}

/** Decoded in one go, which costs less than line by line. */
function asciiOf(text: Uint8Array): string | undefined {
  return isAscii(text) ? Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('latin1') : undefined
}

function joined(lines: readonly Uint8Array[]): Uint8Array {
  const newline = Buffer.of(0x0a)
  return Buffer.concat(lines.flatMap((line) => [line, newline]))
}

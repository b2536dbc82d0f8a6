import { createHash } from 'node:crypto'
import { type Event, FIELD_LIMITS } from '@firebreak/shared/events/event.ts'
import { isWithin, truncateEvent } from '@firebreak/shared/events/truncate.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import { KiB } from '@firebreak/shared/wire/units.ts'

/** What the spool and the controller still add to an event has room in the rest. */
const MAX_BYTES = WIRE.maxEventBytes - 16 * KiB
/** What a field is cut to when the event is too large though no field is. */
const LAST_RESORT_UNITS = 4_096

/** Texts of so many units together fit on the wire whatever is in them: a unit takes six bytes at most. */
export const SURELY_FITS = MAX_BYTES / 8

type Process = NonNullable<Event['process']>
type Cut = { field: string; bytes: number; sha256?: string }

/**
 * Cuts what is too long, field by field first, then by whole fields until the event fits on the wire: control characters take six
 * bytes each as JSON, so fields within their limits can still be too much together. Every cut is listed in `firebreak.truncated`.
 */
export function fitEvent(event: Event): Event {
  if (isWithin(event, FIELD_LIMITS, SURELY_FITS)) return event
  let fitted = truncateEvent(event)
  if (fits(fitted) || !fitted.process) return fitted
  const reductions: readonly ((process: Process, cuts: Cut[]) => Process)[] = [
    (process, cuts) => drop(process, 'args', cuts),
    (process, cuts) => drop(process, 'ancestors', cuts),
    (process, cuts) => drop(process, 'parent', cuts),
    (process, cuts) => shorten(process, 'command_line', cuts),
  ]
  for (const reduce of reductions) {
    const cuts: Cut[] = []
    const process = reduce(fitted.process ?? {}, cuts)
    fitted = {
      ...fitted,
      process,
      firebreak: { ...fitted.firebreak, truncated: mergeCuts(fitted.firebreak?.truncated ?? [], cuts) },
    }
    if (fits(fitted)) return fitted
  }
  return fitted
}

function fits(event: Event): boolean {
  const json = JSON.stringify(event)
  return json.length * 3 <= MAX_BYTES || Buffer.byteLength(json) <= MAX_BYTES
}

function drop(process: Process, field: 'args' | 'ancestors' | 'parent', cuts: Cut[]): Process {
  const { [field]: dropped, ...kept } = process
  if (dropped === undefined) return process
  cuts.push(cutOf(`process.${field}`, JSON.stringify(dropped)))
  return kept
}

function shorten(process: Process, field: 'command_line', cuts: Cut[]): Process {
  const value = process[field]
  if (value === undefined || value.length <= LAST_RESORT_UNITS) return process
  cuts.push(cutOf(`process.${field}`, value))
  return { ...process, [field]: value.slice(0, LAST_RESORT_UNITS).toWellFormed() }
}

function cutOf(field: string, whole: string): Cut {
  return { field, bytes: Buffer.byteLength(whole), sha256: createHash('sha256').update(whole).digest('hex') }
}

/** The first word on a field counts: it speaks of the whole value. */
function mergeCuts(earlier: readonly Cut[], added: readonly Cut[]): Cut[] {
  const known = new Set(earlier.map((cut) => cut.field))
  return [...earlier, ...added.filter((cut) => !known.has(cut.field))].slice(0, 64)
}

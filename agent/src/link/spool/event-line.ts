/** An event as JSON text within all limits of the wire, serialised once. */
import { FIELD_LIMITS } from '@firebreak/shared/events/field-kinds.ts'
import { type Event, eventSchema } from '@firebreak/shared/events/event.ts'
import { truncateEvent } from '@firebreak/shared/events/truncate.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'

/** No field of a text this short is past its limit, and no list of it is: a member takes two characters. */
const SURELY_FITS = 2 * FIELD_LIMITS.list

/** `why` names the field and never its content. */
export function lineOf(event: Event): Result<Buffer, 'invalid' | 'too_large'> {
  let fitted = event
  let text = JSON.stringify(event)
  if (text.length > SURELY_FITS) {
    fitted = truncateEvent(event)
    if (fitted !== event) text = JSON.stringify(fitted)
  }
  if (!eventSchema.Check(fitted)) {
    const error = eventSchema.Errors(fitted)[0]
    return refuse('invalid', `${error?.instancePath ?? ''}: ${error?.message ?? 'not an event'}`)
  }
  // JSON.stringify writes half a surrogate pair as \udXXX, which no strict reader takes.
  if (text.includes('\\ud') && /\\ud[89a-f]/.test(text))
    text = JSON.stringify(fitted, (_, value: unknown) => (typeof value === 'string' ? value.toWellFormed() : value))
  const line = Buffer.from(text)
  return line.length > WIRE.maxEventBytes ? refuse('too_large', `${line.length} bytes`) : ok(line)
}

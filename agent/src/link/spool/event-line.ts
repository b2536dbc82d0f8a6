/** An event as JSON text within all limits of the wire, serialised once. */
import { FIELD_LIMITS } from '@firebreak/shared/events/field-kinds.ts'
import { type Event, eventSchema } from '@firebreak/shared/events/event.ts'
import { truncateEvent } from '@firebreak/shared/events/truncate.ts'
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'

/** No field of a text this short is past its limit, and no list of it is: a member takes two characters. */
const SURELY_FITS = 2 * FIELD_LIMITS.list

/** The schema costs more than everything else here, and the controller holds each event against it as well. */
const CHECKED_FIRST = 100
const CHECKED_EVERY = 50
const MAX_ACTIONS = 1_000

/** Of each action the first hundred and then every fiftieth event are held against the schema; each is held against the limits of the wire. */
export class EventLines {
  readonly #made = new Map<string, number>()

  /** `why` names the field and never its content. */
  lineOf(event: Event): Result<string, 'invalid' | 'too_large'> {
    return this.#lineOf(event, this.#isChecked(event.event?.action))
  }

  #lineOf(event: Event, isChecked: boolean): Result<string, 'invalid' | 'too_large'> {
    let fitted = event
    let text = JSON.stringify(event)
    if (text.length > SURELY_FITS) {
      fitted = truncateEvent(event)
      if (fitted !== event) text = JSON.stringify(fitted)
    }
    if (isChecked && !eventSchema.Check(fitted)) {
      const error = eventSchema.Errors(fitted)[0]
      return refuse('invalid', `${error?.instancePath ?? ''}: ${error?.message ?? 'not an event'}`)
    }
    // JSON.stringify writes half a surrogate pair as \udXXX, which no strict reader takes.
    if (text.includes('\\ud') && /\\ud[89a-f]/.test(text))
      text = JSON.stringify(fitted, (_, value: unknown) => (typeof value === 'string' ? value.toWellFormed() : value))
    if (text.length * 3 <= WIRE.maxEventBytes) return ok(text)
    const bytes = Buffer.byteLength(text)
    return bytes > WIRE.maxEventBytes ? refuse('too_large', `${bytes} bytes`) : ok(text)
  }

  /** The same of an event whose text somebody made within all limits; `whole` gives the event. */
  lineOfText(action: string, text: string, whole: () => Event): Result<string, 'invalid' | 'too_large'> {
    if (!this.#isChecked(action) && !text.includes('\\ud')) return ok(text)
    return this.#lineOf(whole(), true)
  }

  #isChecked(action: string | undefined): boolean {
    if (action === undefined) return true
    const made = this.#made.get(action) ?? 0
    if (made === 0 && this.#made.size >= MAX_ACTIONS) return true
    this.#made.set(action, made + 1)
    return made < CHECKED_FIRST || made % CHECKED_EVERY === 0
  }
}

import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { CollectorHealth, Emit, LossReason, LossWindow } from './collector.ts'
import { fitEvent } from './fit-event.ts'

/** The way out of one collector: counts what goes through, cuts it to size, and is shut by `close`. */
export class EmitTally {
  #emit: Emit | undefined
  #events = 0
  #lost = 0

  open(emit: Emit): void {
    this.#emit = emit
  }

  /** Nothing gets out any more, whatever is still under way inside. */
  close(): void {
    this.#emit = undefined
  }

  get isOpen(): boolean {
    return this.#emit !== undefined
  }

  event(event: Event): void {
    if (!this.#emit) return
    this.#events += 1
    this.#emit.event(fitEvent(event))
  }

  /** An event whose JSON text is at hand and needs no cut; one who takes no texts gets the event. */
  text(eventClass: EventClass, action: string, text: string, whole: () => Event): void {
    if (!this.#emit?.text) {
      this.event(whole())
      return
    }
    this.#events += 1
    this.#emit.text(eventClass, action, text, whole)
  }

  lost(eventClass: EventClass, count: number, reason: LossReason = 'collector_overflow', window?: LossWindow): void {
    if (!this.#emit || count <= 0) return
    this.#lost += count
    this.#emit.lost(eventClass, count, reason, window)
  }

  health(state: CollectorHealth['state'], why: string | undefined): CollectorHealth {
    const counted = { state, events: this.#events, lost: this.#lost }
    return why === undefined ? counted : { ...counted, why: why.slice(0, 512) }
  }
}

import { type EventClass, classOf } from '@firebreak/shared/events/classes.ts'
import { type Event, eventSchema } from '@firebreak/shared/events/event.ts'
import type { Emit } from './collector.ts'

/** Keeps what a collector says, and refuses what the controller would refuse. */
export class RecordedEmit implements Emit {
  readonly events: Event[] = []
  readonly losses: { readonly eventClass: EventClass; readonly count: number }[] = []

  event(event: Event): void {
    if (!eventSchema.Check(event)) {
      const [first] = eventSchema.Errors(event)
      throw new Error(`not a valid event: ${JSON.stringify(first)} in ${JSON.stringify(event).slice(0, 2_000)}`)
    }
    this.events.push(event)
  }

  lost(eventClass: EventClass, count: number): void {
    this.losses.push({ eventClass, count })
  }

  get lostCount(): number {
    return this.losses.reduce((sum, { count }) => sum + count, 0)
  }

  get classes(): Set<EventClass> {
    return new Set(this.events.map(classOf))
  }

  /** The first event that fits, as soon as it is there. */
  async find(what: string, fits: (event: Event) => boolean, withinMs = 10_000): Promise<Event> {
    return await waitFor(what, () => this.events.find(fits), withinMs)
  }
}

/** Asks again and again until there is something. */
export async function waitFor<T>(what: string, ask: () => T | undefined, withinMs = 10_000): Promise<T> {
  const deadline = performance.now() + withinMs
  for (;;) {
    const answer = ask()
    if (answer !== undefined && answer !== false) return answer
    if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

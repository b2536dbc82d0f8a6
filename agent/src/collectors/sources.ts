/**
 * Which source speaks for a class. Several can see process starts; only the best that works tells them, the others stand by and take over
 * when it falls silent. Best first: the kernel sensor, the audit subsystem, a program's own log, polling.
 */
import { EVENT_CLASSES, type EventClass } from '@firebreak/shared/events/classes.ts'
import {
  CLASS_SOURCES,
  type ClassSource,
  type CoverageQuality,
  type SourceReason,
  type SourceStatus,
} from '@firebreak/shared/events/coverage.ts'
import type { Clock } from '@firebreak/shared/clock.ts'

export interface SourceOffer {
  readonly source: ClassSource
  readonly quality: CoverageQuality
  /** When the quality is not `full`: what is missed, in words. */
  readonly why?: string
}

/** Why a better source does not speak. */
interface Absence {
  readonly source: ClassSource
  readonly reason: SourceReason
  readonly why: string
}

/** The classes that a better source than polling can tell: there, polling is a step down. */
const BETTER_EXISTS: ReadonlySet<EventClass> = new Set(['process', 'network', 'file'])
const MAX_WHY = 256

export class Sources {
  readonly #clock: Pick<Clock, 'now'>
  readonly #offers = new Map<EventClass, Map<string, SourceOffer>>()
  readonly #absences = new Map<EventClass, Map<string, Absence>>()
  readonly #told = new Map<EventClass, SourceStatus>()
  readonly #listeners: ((eventClass: EventClass) => void)[] = []

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
  }

  /** `by` (the name of a collector) can tell this class from now on; a new offer replaces its last one. */
  offer(by: string, eventClass: EventClass, offer: SourceOffer): void {
    const before = this.#offers.get(eventClass)?.get(by)
    mapOf(this.#offers, eventClass).set(by, offer)
    mapOf(this.#absences, eventClass).delete(by)
    if (before?.source !== offer.source || before.quality !== offer.quality) this.#changed(eventClass)
  }

  /** `by` does not see this class any more; `absence`: what an operator should know of it. */
  withdraw(by: string, eventClass: EventClass, absence?: Absence): void {
    mapOf(this.#offers, eventClass).delete(by)
    if (absence) mapOf(this.#absences, eventClass).set(by, absence)
    this.#changed(eventClass)
  }

  /** Whether `by` is the one that tells this class. */
  speaks(by: string, eventClass: EventClass): boolean {
    return this.#best(eventClass)?.by === by
  }

  /** Whether somebody tells this class better than this kind of source can. */
  hasBetter(eventClass: EventClass, than: ClassSource): boolean {
    const best = this.#best(eventClass)
    return best !== undefined && rankOf(best.offer.source) < rankOf(than)
  }

  /** Called after each change; says which class. */
  onChange(listener: (eventClass: EventClass) => void): void {
    this.#listeners.push(listener)
  }

  /** Where each class comes from now, and why it is not better. `alert` is the agent's own and left out. */
  status(): SourceStatus[] {
    return EVENT_CLASSES.filter((eventClass) => eventClass !== 'alert').map((eventClass) => this.#statusOf(eventClass))
  }

  #changed(eventClass: EventClass): void {
    this.#statusOf(eventClass)
    for (const listener of this.#listeners) listener(eventClass)
  }

  #best(eventClass: EventClass): { readonly by: string; readonly offer: SourceOffer } | undefined {
    let best: { readonly by: string; readonly offer: SourceOffer } | undefined
    for (const [by, offer] of this.#offers.get(eventClass) ?? [])
      if (!best || rankOf(offer.source) < rankOf(best.offer.source)) best = { by, offer }
    return best
  }

  /** `since_ms` stands as long as source, quality and reason stay what they are. */
  #statusOf(eventClass: EventClass): SourceStatus {
    const now = this.#describe(eventClass)
    const before = this.#told.get(eventClass)
    const isSame = before?.source === now.source && before.quality === now.quality && before.reason === now.reason
    const status = { ...now, since_ms: isSame ? before.since_ms : Math.max(0, Math.round(this.#clock.now())) }
    this.#told.set(eventClass, status)
    return status
  }

  #describe(eventClass: EventClass): Omit<SourceStatus, 'since_ms'> {
    const best = this.#best(eventClass)?.offer
    const absent = [...(this.#absences.get(eventClass)?.values() ?? [])]
      .filter(({ source }) => !best || rankOf(source) < rankOf(best.source))
      .sort((a, b) => rankOf(a.source) - rankOf(b.source))
    const words = [...absent.map(({ source, why }) => `${source}: ${why}`), best?.why].filter(
      (word) => word !== undefined,
    )
    const why = words.length > 0 ? { why: words.join('; ').slice(0, MAX_WHY) } : {}
    if (!best) return { class: eventClass, source: 'none', quality: 'blind', reason: 'collector_off', ...why }
    const reason = absent[0]?.reason ?? stepDown(eventClass, best)
    return {
      class: eventClass,
      source: best.source,
      quality: best.quality,
      ...(best.quality === 'full' || reason === undefined ? {} : { reason }),
      ...why,
    }
  }
}

function stepDown(eventClass: EventClass, { source }: SourceOffer): SourceReason | undefined {
  if (source === 'audit') return 'degraded_to_audit'
  return source === 'polling' && BETTER_EXISTS.has(eventClass) ? 'degraded_to_polling' : undefined
}

function rankOf(source: ClassSource): number {
  return CLASS_SOURCES.indexOf(source)
}

function mapOf<V>(maps: Map<EventClass, Map<string, V>>, eventClass: EventClass): Map<string, V> {
  const known = maps.get(eventClass)
  if (known) return known
  const made = new Map<string, V>()
  maps.set(eventClass, made)
  return made
}

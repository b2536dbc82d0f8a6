/**
 * The engine: matches of rules in, correlations whose condition holds out. Only what it is told of an event is remembered, and the same
 * events in the same order give the same answers, so that its state can be made again from a journal of what it took.
 */
import type { SigmaCorrelation, SigmaRule } from '../rule.ts'
import type { FieldValue } from './fields.ts'
import { type CorrelationFigures, emptyRoom, type GroupFound, Groups, type Observed, type Room } from './groups.ts'
import { CORRELATION_LIMITS, type CorrelationLimits } from './limits.ts'
import type { Correlated, CorrelationSource, ResolvedCorrelation } from './resolve.ts'
import type { Entry } from './measure.ts'

export interface Firing {
  readonly correlation: SigmaCorrelation
  /** ms since 1970: of the earliest and the latest event that it speaks of. */
  readonly fromMs: number
  readonly toMs: number
  /** Events in the window. */
  readonly events: number
  /** What the condition was compared with: a count, a sum, how many rules. */
  readonly measured: number
  readonly group: readonly { readonly field: string; readonly value: FieldValue | null }[]
  /** The latest of the events, oldest first, with the one that came now; at most `MAX_REFS`. */
  readonly refs: readonly string[]
}

export const MAX_REFS = 64
/** What a correlation that builds on another keeps of its events. */
const MAX_INNER_REFS = 16

interface Consumer {
  readonly groups: Groups
  readonly source: CorrelationSource
  readonly number: number
}

export class Correlator {
  readonly #limits: CorrelationLimits
  readonly #room: Room
  readonly #groups: readonly Groups[]
  readonly #consumers = new Map<Correlated, Consumer[]>()
  readonly #fields = new Map<SigmaRule, readonly string[]>()
  readonly #horizons = new Map<Correlated, number>()

  constructor(correlations: readonly ResolvedCorrelation[], limits: CorrelationLimits = CORRELATION_LIMITS) {
    this.#limits = limits
    this.#room = emptyRoom()
    this.#groups = correlations.map((resolved) => new Groups(resolved, limits, this.#room))
    for (const groups of this.#groups) {
      groups.resolved.sources.forEach((source, number) => {
        const consumers = this.#consumers.get(source.of)
        if (consumers === undefined) this.#consumers.set(source.of, [{ groups, source, number }])
        else consumers.push({ groups, source, number })
      })
    }
    for (const rule of this.#consumers.keys()) if (rule.kind === 'rule') this.#fields.set(rule, this.#fieldsFor(rule))
  }

  /** Fields of a rule's events that have to be read; `undefined` when nothing builds on the rule. */
  fieldsOf(rule: SigmaRule): readonly string[] | undefined {
    return this.#fields.get(rule)
  }

  /** ms for which an event of a rule may still be counted after it was received. */
  horizonOf(rule: SigmaRule): number {
    return this.#horizonFor(rule) + this.#limits.latenessMs
  }

  #horizonFor(one: Correlated): number {
    const known = this.#horizons.get(one)
    if (known !== undefined) return known
    let horizon = 0
    for (const { groups } of this.#consumers.get(one) ?? []) {
      const { correlation } = groups.resolved
      horizon = Math.max(horizon, correlation.timespanMs + this.#horizonFor(correlation))
    }
    this.#horizons.set(one, horizon)
    return horizon
  }

  #fieldsFor(rule: SigmaRule): readonly string[] {
    const names = new Set<string>()
    const visit = (one: Correlated) => {
      for (const { groups, source } of this.#consumers.get(one) ?? []) {
        const { correlation } = groups.resolved
        for (const name of [...correlation.groupBy, ...correlation.fields]) names.add(source.aliases.get(name) ?? name)
        visit(correlation)
      }
    }
    visit(rule)
    return [...names]
  }

  /** A rule matched. Every correlation whose condition holds with this event; those that only feed others are left out. */
  take(rule: SigmaRule, observed: Observed): readonly Firing[] {
    const firings: Firing[] = []
    this.#pass(rule, observed, firings)
    return firings
  }

  #pass(of: Correlated, observed: Observed, firings: Firing[]): void {
    const consumers = this.#consumers.get(of)
    if (consumers === undefined) return
    for (const { groups, source, number } of consumers) {
      const held = groups.take(source, number, observed)
      if (held === undefined) continue
      const { correlation, raises } = groups.resolved
      if (raises) firings.push(firingOf(correlation, held))
      if (this.#consumers.has(correlation))
        this.#pass(correlation, this.#passedOn(correlation, held, observed), firings)
    }
  }

  /** A correlation that builds on this one sees it at the time of its last event, with its groups as fields beside those of the event. */
  #passedOn(correlation: SigmaCorrelation, { found, group }: GroupFound, { receivedMs, fields }: Observed): Observed {
    const own = new Map<string, FieldValue>(fields)
    correlation.groupBy.forEach((name, index) => {
      const value = group[index]
      if (value !== null && value !== undefined) own.set(name, value)
    })
    const timeMs = (found.entries[found.last] as Entry).time
    return { timeMs, receivedMs, refs: refsOf(found, MAX_INNER_REFS), fields: own }
  }

  figures(): ReadonlyMap<SigmaCorrelation, CorrelationFigures> {
    return new Map(this.#groups.map((groups) => [groups.resolved.correlation, groups.figures()]))
  }

  /** Windows and events of all correlations. */
  get held(): { readonly windows: number; readonly events: number } {
    return { windows: this.#room.windows, events: this.#room.events }
  }

  /** Lets go of what is too old to matter. Cheap; to be called now and then while nothing comes. */
  expire(nowMs: number): void {
    for (const groups of this.#groups) groups.expire(nowMs, EXPIRED_AT_ONCE)
  }
}

const EXPIRED_AT_ONCE = 10_000

function firingOf(correlation: SigmaCorrelation, { found, group }: GroupFound): Firing {
  const { entries, first, last, measured } = found
  return {
    correlation,
    fromMs: (entries[first] as Entry).time,
    toMs: (entries[last] as Entry).time,
    events: last - first + 1,
    measured,
    group: correlation.groupBy.map((field, index) => ({ field, value: group[index] ?? null })),
    refs: refsOf(found, MAX_REFS),
  }
}

/** The latest, and in any case the one that came now. */
function refsOf({ entries, first, last, fresh }: GroupFound['found'], most: number): readonly string[] {
  const refs: string[] = []
  const take = (index: number) => {
    const own = (entries[index] as Entry).refs
    if (typeof own === 'string') refs.push(own)
    else refs.push(...own.toReversed())
  }
  for (let index = last; index >= first && refs.length < most; index--) take(index)
  const kept = refs.slice(0, most)
  const now = (entries[fresh] as Entry).refs
  const mustHave = typeof now === 'string' ? now : now.at(-1)
  if (mustHave !== undefined && !kept.includes(mustHave)) kept[kept.length - 1] = mustHave
  return [...new Set(kept.reverse())]
}

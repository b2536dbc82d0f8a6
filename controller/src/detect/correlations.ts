/**
 * The correlations of the rules that run: fed with matches, batch by batch, in the order of the stream. Their memory is ahead of the
 * store by the batches that are matched and not yet stored; when one of those fails, or the rules change, it is made again from the
 * journal, which is never ahead.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import { Correlator, type Firing } from '@firebreak/shared/sigma/correlate/correlator.ts'
import { createFieldReader, type Fields } from '@firebreak/shared/sigma/correlate/fields.ts'
import type { CorrelationFigures } from '@firebreak/shared/sigma/correlate/groups.ts'
import { ruleKey, type SigmaRule } from '@firebreak/shared/sigma/rule.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { StoredEvent } from '../store/telemetry/telemetry-store.ts'
import { CorrelationJournal, type JournalEntry, type JournalPart } from './correlation-journal.ts'
import type { DetectConfig } from './detect-config.ts'
import type { DetectLog, DetectMetrics } from './log-names.ts'
import type { RuleSet } from './rule-set.ts'
import { eventIdOf } from './signals.ts'

/** A clock ahead of ours by more is not believed: the event is taken at the time when it came. */
const AHEAD_MS = 5 * 60_000

export interface CorrelationDeps {
  readonly store: StateStore
  readonly clock: Pick<Clock, 'now'>
  readonly log: DetectLog
  readonly metrics: DetectMetrics
}

/** What one batch adds to the memory of the correlations. */
export class BatchCorrelations {
  readonly #parts = new Map<number, JournalEntry[]>()
  readonly #correlator: Correlator
  readonly #read: ReturnType<typeof createFieldReader>

  constructor(correlator: Correlator, read: ReturnType<typeof createFieldReader>) {
    this.#correlator = correlator
    this.#read = read
  }

  /** A rule matched. What it leads to. */
  take(rule: SigmaRule, stored: StoredEvent): readonly Firing[] {
    const names = this.#correlator.fieldsOf(rule)
    if (names === undefined) return []
    const { event } = stored
    const receivedMs = Date.parse(event.event.ingested ?? event['@timestamp'])
    const saidMs = Date.parse(event['@timestamp'])
    const timeMs = saidMs <= receivedMs + AHEAD_MS ? saidMs : receivedMs
    const fields: Fields = this.#read(event, names)
    const entry = { rule: ruleKey(rule), timeMs, receivedMs, eventId: eventIdOf(stored), fields }
    const expiresMs = receivedMs + this.#correlator.horizonOf(rule)
    const part = this.#parts.get(expiresMs)
    if (part === undefined) this.#parts.set(expiresMs, [entry])
    else part.push(entry)
    return this.#correlator.take(rule, { timeMs, receivedMs, refs: entry.eventId, fields })
  }

  get parts(): readonly JournalPart[] {
    return [...this.#parts].map(([expiresMs, entries]) => ({ expiresMs, entries }))
  }
}

export class Correlations {
  readonly #deps: CorrelationDeps
  readonly #config: DetectConfig
  readonly #journal: CorrelationJournal
  readonly #read = createFieldReader()
  #correlator = new Correlator([])
  /** The memory is not what the journal and the batches behind it say. */
  #stale = true
  /** Counted by correlators before this one, and what this one counted while it was made again. */
  readonly #countedBefore = new Map<string, Counted>()

  constructor(deps: CorrelationDeps, config: DetectConfig) {
    this.#deps = deps
    this.#config = config
    this.#journal = new CorrelationJournal(deps.store, config.correlation_journal_events)
    deps.metrics.onScrape(() => this.#measure())
  }

  get isStale(): boolean {
    return this.#stale
  }

  /** Before the next batch everything that was matched has to be stored, and then `restore` be called. */
  spoil(): void {
    this.#stale = true
  }

  /** Makes the memory again as it was behind the last batch that is marked. */
  async restore(rules: RuleSet): Promise<void> {
    const { store, clock, log, metrics } = this.#deps
    const began = performance.now()
    const correlator = new Correlator(rules.correlations, {
      windows: this.#config.correlation_windows,
      windowsPerRule: this.#config.correlation_windows_per_rule,
      events: this.#config.correlation_events,
      eventsPerWindow: this.#config.correlation_events_per_window,
      latenessMs: this.#config.correlation_lateness_s * 1_000,
    })
    const byKey = new Map(rules.running.rules.map((rule) => [ruleKey(rule), rule]))
    await store.write((tx) => this.#journal.forget(tx, clock.now()))
    let entries = 0
    const take = (taken: readonly JournalEntry[]) => {
      for (const { rule: key, timeMs, receivedMs, eventId, fields } of taken) {
        const rule = byKey.get(key)
        if (rule !== undefined) correlator.take(rule, { timeMs, receivedMs, refs: eventId, fields })
      }
      entries += taken.length
    }
    if (rules.correlations.length > 0) {
      await this.#journal.read(take, (id, why) => {
        metrics.correlationJournalDamaged.inc()
        log.error('detect.correlation.journal_damaged', { row: id, why })
      })
    }
    correlator.expire(clock.now())
    for (const [correlation, figures] of this.#correlator.figures()) this.#remember(ruleKey(correlation), figures, 1)
    // What was counted again now was counted before.
    for (const [correlation, figures] of correlator.figures()) this.#remember(ruleKey(correlation), figures, -1)
    this.#correlator = correlator
    this.#stale = false
    if (entries > 0) {
      const took_ms = Math.round(performance.now() - began)
      const { windows, events } = correlator.held
      log.info('detect.correlation.restored', { taken: entries, windows, events, took_ms })
    }
  }

  beginBatch(): BatchCorrelations {
    return new BatchCorrelations(this.#correlator, this.#read)
  }

  /** In the transaction that marks the batch. */
  async keep(tx: Tx, batch: BatchCorrelations): Promise<void> {
    const evicted = await this.#journal.write(tx, batch.parts, this.#deps.clock.now())
    if (evicted > 0) this.#deps.metrics.correlationJournalEvicted.inc(evicted)
  }

  expire(): void {
    this.#correlator.expire(this.#deps.clock.now())
  }

  /** For the list of rules. */
  figures(): ReadonlyMap<string, CorrelationFigures> {
    return new Map(
      [...this.#correlator.figures()].map(([correlation, figures]) => {
        const before = this.#countedBefore.get(ruleKey(correlation))
        return [ruleKey(correlation), before === undefined ? figures : { ...figures, ...sumOf(figures, before, 1) }]
      }),
    )
  }

  #remember(key: string, figures: CorrelationFigures, sign: 1 | -1): void {
    this.#countedBefore.set(key, sumOf(this.#countedBefore.get(key) ?? NOTHING_COUNTED, figures, sign))
  }

  #measure(): void {
    const { metrics } = this.#deps
    const { windows, events } = this.#correlator.held
    metrics.correlationWindows.set(windows)
    metrics.correlationEvents.set(events)
    metrics.correlationJournal.set(this.#journal.kept)
    metrics.correlationLost.reset()
    for (const [rule, figures] of this.figures()) {
      metrics.correlationLost.inc({ rule, what: 'evicted_windows' }, figures.evictedWindows)
      metrics.correlationLost.inc({ rule, what: 'evicted_events' }, figures.evictedEvents)
      metrics.correlationLost.inc({ rule, what: 'late' }, figures.late)
      metrics.correlationLost.inc({ rule, what: 'uncounted' }, figures.uncounted)
    }
  }
}

type Counted = Pick<CorrelationFigures, 'evictedWindows' | 'evictedEvents' | 'late' | 'uncounted' | 'firings'>
const NOTHING_COUNTED: Counted = { evictedWindows: 0, evictedEvents: 0, late: 0, uncounted: 0, firings: 0 }

function sumOf(one: Counted, other: Counted, sign: 1 | -1): Counted {
  return {
    evictedWindows: one.evictedWindows + sign * other.evictedWindows,
    evictedEvents: one.evictedEvents + sign * other.evictedEvents,
    late: one.late + sign * other.late,
    uncounted: one.uncounted + sign * other.uncounted,
    firings: one.firings + sign * other.firings,
  }
}

/** The room: committed batches → signals, in order, each batch in one transaction with what triage makes of it. Source: design 1 and 7. */
import { fileURLToPath } from 'node:url'
import type { Clock } from '@firebreak/shared/clock.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { Registry } from 'prom-client'
import type { Bus } from '../store/bus/bus.ts'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { Findings, Signal, Triage } from '../triage/index.ts'
import { type BatchCorrelations, Correlations } from './correlations.ts'
import type { DetectConfig } from './detect-config.ts'
import type { Feed, FurtherDetector, UndetectedBatch } from './feed.ts'
import type { Detect, RulesHealth, RuleStatus } from './index.ts'
import { type DetectLog, type DetectMetrics, detectMetrics } from './log-names.ts'
import { readRuleFiles } from './rule-files.ts'
import { RuleSet } from './rule-set.ts'
import { correlationSignal, signalOf, strongestRules } from './signals.ts'
import { StoreQueue } from './store-queue.ts'

export interface DetectDeps {
  readonly feed: Feed
  /** Told of the rules that run, whenever they change: who reads batches shows detection only events that one of them matches. */
  readonly screen?: (rules: RuleSet['running']) => void
  /** Looks at the same events as the rules. */
  readonly further?: FurtherDetector
  readonly store: StateStore
  readonly triage: Triage
  readonly bus: Bus
  readonly clock: Clock
  readonly log: DetectLog
  readonly metrics: Registry
}

const SHIPPED_RULES = fileURLToPath(new URL('../../content/rules', import.meta.url))
/** Matching gives the thread back after so many events, so that sockets and timers are served meanwhile. */
const EVENTS_PER_SLICE = 500
/** Rules named one by one in the log after a load; the metric has all, `ruleList` has each. */
const MAX_NAMED = 100

export function createDetect(deps: DetectDeps, config: DetectConfig): Detect {
  return new DetectRoom(deps, config)
}

class DetectRoom implements Detect {
  readonly #deps: DetectDeps
  readonly #config: DetectConfig
  readonly #metrics: DetectMetrics
  #rules = RuleSet.none()
  #health: RulesHealth = { ready: false, live: 0, refused: 0, kept: 0, why: 'the rules are not loaded yet' }
  #unsubscribe: (() => void) | undefined
  #stopping: AbortController | undefined
  /** Something was committed since the feed was asked last. */
  #pending = false
  #woken = Promise.withResolvers<void>()
  readonly #queue = new StoreQueue()
  readonly #correlations: Correlations
  /** Batches up to this one are in the queue or stored. */
  #matched = 0
  #running: Promise<void> | undefined

  constructor(deps: DetectDeps, config: DetectConfig) {
    this.#deps = deps
    this.#config = config
    this.#metrics = detectMetrics(deps.metrics)
    this.#correlations = new Correlations({ ...deps, metrics: this.#metrics }, config)
  }

  async start(): Promise<void> {
    await this.reloadRules()
    this.#stopping = new AbortController()
    this.#unsubscribe = this.#deps.bus.subscribe('batch.committed', () => this.#wake())
    this.#wake()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.#stopping?.abort()
    this.#stopping = undefined
    await this.#running
  }

  async raise(signal: Signal): Promise<void> {
    const { store, triage } = this.#deps
    const findings = await triage.prepare([signal])
    const outcome = await store.write(async (tx) => {
      const outcome = await triage.take(tx, [signal], findings)
      if (outcome.signals > 0) await this.#deps.further?.stored(tx, [signal])
      return outcome
    })
    if (outcome.signals > 0) this.#metrics.signals.inc({ level: signal.level, detector: signal.detector })
    triage.announce(outcome)
  }

  async reloadRules(): Promise<RulesHealth> {
    const { log } = this.#deps
    const folders = this.#config.rule_dirs.length > 0 ? this.#config.rule_dirs : [SHIPPED_RULES]
    const read = await readRuleFiles(folders)
    const compiled = read.ok ? RuleSet.compile(read.value, this.#rules) : read
    if (!compiled.ok) {
      log.error('detect.rules.kept', { code: compiled.code, why: compiled.why, live: this.#rules.live })
      this.#health = { ...this.#health, ready: this.#rules.live > 0, why: compiled.why }
      return this.#health
    }
    this.#rules = compiled.value
    this.#correlations.spoil()
    this.#deps.screen?.(this.#rules.running)
    const { refused, live } = this.#rules
    this.#metrics.rulesLive.set(live)
    this.#metrics.rulesRefused.reset()
    for (const refusal of refused) this.#metrics.rulesRefused.inc({ code: refusal.code })
    for (const { file, line, rule, code, why } of refused.slice(0, MAX_NAMED)) {
      log.warn('detect.rule.refused', { file, line, rule, code, why })
    }
    for (const { rule, why } of this.#rules.kept.slice(0, MAX_NAMED)) {
      log.warn('detect.rule.kept', { file: rule.file, 'rule.name': rule.title, why })
    }
    log.info('detect.rules.loaded', { live, refused: refused.length, folders })
    const counts = { live, refused: refused.length, kept: this.#rules.kept.length }
    this.#health =
      live > 0 ? { ready: true, ...counts } : { ready: false, ...counts, why: `no rules in ${folders.join(', ')}` }
    return this.#health
  }

  rulesHealth(): RulesHealth {
    return this.#health
  }

  ruleList(): readonly RuleStatus[] {
    return this.#rules.list(this.#correlations.figures())
  }

  async idle(): Promise<void> {
    this.#wake()
    while (this.#running !== undefined) await this.#running
  }

  #wake(): void {
    this.#pending = true
    this.#woken.resolve()
    const stopping = this.#stopping
    if (stopping === undefined || this.#running !== undefined) return
    this.#running = this.#drain(stopping.signal).finally(() => {
      this.#running = undefined
      // What came in between the last question to the feed and this line.
      if (this.#pending) this.#wake()
    })
  }

  async #drain(stop: AbortSignal): Promise<void> {
    while (!stop.aborted && (this.#pending || !this.#queue.isDone)) {
      try {
        if (this.#pending && !this.#queue.isFull) await this.#next()
        else await Promise.race([this.#queue.progress(), this.#woken.promise])
      } catch (thrown) {
        this.#deps.log.error('detect.feed.failed', { why: reasonOf(thrown), retry_ms: this.#config.retry_ms })
        await this.#queue.settled()
        this.#matched = 0
        this.#correlations.spoil()
        this.#pending = true
        await this.#deps.clock.sleep(this.#config.retry_ms, stop).catch(() => undefined) // stopped: the loop ends
      }
    }
    await this.#queue.settled()
  }

  /** Matches in order and stores in order; the writes of several batches share one commit. */
  async #next(): Promise<void> {
    this.#pending = false
    this.#woken = Promise.withResolvers<void>()
    const batches = await this.#deps.feed.takeUndetected(this.#config.batches_at_once, this.#matched)
    if (batches.length > 0) this.#pending = true
    this.#correlations.expire()
    for (const batch of batches) {
      if (this.#correlations.isStale) await this.#restoreCorrelations()
      const { signals, correlated } = await this.#match(batch)
      this.#matched = batch.batchId
      const findings = signals.length > 0 ? this.#deps.triage.prepare(signals) : undefined
      this.#queue.add(findings, (found) => this.#store(batch, signals, correlated, found))
    }
  }

  /** The journal holds what is stored: first everything that was matched is. */
  async #restoreCorrelations(): Promise<void> {
    while (!this.#queue.isDone) await this.#queue.progress()
    await this.#correlations.restore(this.#rules)
  }

  async #match({ events }: UndetectedBatch): Promise<{ signals: Signal[]; correlated: BatchCorrelations }> {
    const { log } = this.#deps
    // What is loaded meanwhile runs from the next batch on.
    const rules = this.#rules
    const correlated = this.#correlations.beginBatch()
    const began = performance.now()
    const signals: Signal[] = []
    let switchedOffNow = false
    for (const [index, stored] of events.entries()) {
      if (index > 0 && index % EVENTS_PER_SLICE === 0) await new Promise((resolve) => setImmediate(resolve))
      const matched = rules.match(stored.event, ({ rule, why, switchedOff }) => {
        this.#metrics.ruleFailures.inc()
        const name = switchedOff ? 'detect.rule.switched_off' : 'detect.rule.failed'
        log.error(name, { file: rule.file, line: rule.line, 'rule.name': rule.title, why })
        switchedOffNow ||= switchedOff
      })
      if (matched.length === 0) continue
      const telling = matched.filter((rule) => !rules.isSilent(rule))
      const kept = strongestRules(telling, this.#config.max_matches_per_event)
      if (kept.length < telling.length) {
        this.#metrics.overmatched.inc(telling.length - kept.length)
        log.warn('detect.event.overmatched', { matches: telling.length, kept: kept.length, 'host.id': stored.agentId })
      }
      for (const rule of kept) signals.push(signalOf(rule, stored))
      for (const rule of matched) {
        for (const firing of correlated.take(rule, stored)) {
          rules.noteHit(firing.correlation, stored.event['@timestamp'])
          signals.push(correlationSignal(firing, rules.sourcesOf(firing.correlation), stored))
        }
      }
    }
    if (this.#deps.further) signals.push(...(await this.#deps.further.signalsOf(events)))
    if (switchedOffNow) {
      this.#deps.screen?.(rules.running)
      this.#correlations.spoil()
    }
    this.#metrics.events.inc(events.length)
    this.#metrics.matchSeconds.observe((performance.now() - began) / 1000)
    return { signals, correlated }
  }

  async #store(
    batch: UndetectedBatch,
    signals: readonly Signal[],
    correlated: BatchCorrelations,
    findings: Findings | undefined,
  ): Promise<void> {
    const { store, triage, log } = this.#deps
    if (findings === undefined) {
      await store.write((tx) => this.#markDetected(tx, batch, correlated))
      return
    }
    try {
      const outcome = await store.write(async (tx) => {
        const outcome = await triage.take(tx, signals, findings)
        await this.#deps.further?.stored(tx, signals)
        await this.#markDetected(tx, batch, correlated)
        return outcome
      })
      triage.announce(outcome)
    } catch (thrown) {
      this.#metrics.batchFailures.inc()
      log.error('detect.batch.failed', { batch_id: batch.batchId, 'host.id': batch.agentId, why: reasonOf(thrown) })
      await this.#storeOneByOne(batch, signals, correlated, findings)
    }
    for (const signal of signals) this.#metrics.signals.inc({ level: signal.level, detector: signal.detector })
    this.#observeLag(batch)
  }

  /**
   * One signal that cannot be stored must not hold up the stream. Each is written by itself (the same again changes nothing, so a
   * crash in the middle is harmless), the ones that fail are named. When the store takes nothing at all this throws, and the batch
   * is tried again.
   */
  async #storeOneByOne(
    batch: UndetectedBatch,
    signals: readonly Signal[],
    correlated: BatchCorrelations,
    findings: Findings,
  ): Promise<void> {
    const { store, triage, log } = this.#deps
    const failed: { signal: Signal; why: string }[] = []
    for (const signal of signals) {
      try {
        const outcome = await store.write(async (tx) => {
          const outcome = await triage.take(tx, [signal], findings)
          // The batch may be tried again, and what was stored by then is not seen once more.
          if (outcome.signals > 0) await this.#deps.further?.stored(tx, [signal])
          return outcome
        })
        triage.announce(outcome)
      } catch (thrown) {
        if (!store.healthy()) throw thrown
        failed.push({ signal, why: reasonOf(thrown) })
      }
    }
    await store.write((tx) => this.#markDetected(tx, batch, correlated))
    for (const { signal, why } of failed) {
      this.#metrics.signalFailures.inc()
      log.error('detect.signal.failed', { event_id: signal.eventId, rule_id: signal.ruleId, level: signal.level, why })
    }
  }

  async #markDetected(tx: Tx, batch: UndetectedBatch, correlated: BatchCorrelations): Promise<void> {
    await this.#correlations.keep(tx, correlated)
    await this.#deps.feed.markDetected(tx, batch.batchId)
  }

  #observeLag(batch: UndetectedBatch): void {
    const ingested = Date.parse(batch.events[0]?.event.event.ingested ?? '')
    if (Number.isFinite(ingested)) {
      this.#metrics.lagSeconds.observe(Math.max(0, this.#deps.clock.now() - ingested) / 1000)
    }
  }
}

/**
 * New indicators looked up in what is stored. The store keeps each hash, address and domain that was ever seen once (`seen`); these are
 * gone through value by value in their order, so that a hunt costs by what the fleet has seen and not by how much a feed names, and goes
 * on where it was after a restart. Events of a hit are searched then, bounded, the newest first.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import { knownValues } from '@firebreak/shared/indicators/event-values.ts'
import type { MatchTable } from '@firebreak/shared/indicators/match-table.ts'
import { newId } from '@firebreak/shared/ids.ts'
import { Fault, reasonOf } from '@firebreak/shared/result.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import type { Selectable } from 'kysely'
import type { Search } from '../search/index.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { SEEN } from '../store/telemetry/event-table.ts'
import type { StoredEvent, TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import type { Signal } from '../triage/index.ts'
import type { IndicatorsConfig } from './indicators-config.ts'
import type { IndicatorsLog, IndicatorsMetrics } from './log-names.ts'

/** In this order; `value` is what of an event the table is asked with. */
const KINDS = ['address', 'domain', 'hash'] as const
const VALUES_AT_ONCE = 20_000
const RETRY_MS = 30_000
const MOST_HITS = 10_000

export interface RetroHuntDeps {
  readonly state: StateStore
  readonly telemetry: Pick<TelemetryStore, 'select'>
  readonly search: Pick<Search, 'events'>
  readonly clock: Clock
  readonly log: IndicatorsLog
  readonly metrics: IndicatorsMetrics
  readonly table: () => MatchTable
  /** Signals of those of the events that an indicator from_n < n <= to_n names. */
  readonly signalsOf: (events: readonly StoredEvent[], fromN: number, toN: number) => Promise<readonly Signal[]>
  readonly raise: (signal: Signal) => Promise<void>
}

type HuntRow = Selectable<Tables['indicator_hunts']>

export class RetroHunt {
  readonly #deps: RetroHuntDeps
  readonly #config: Pick<IndicatorsConfig, 'hunt_delay_s' | 'hunt_events'>
  #stopping = new AbortController()
  #woken = Promise.withResolvers<void>()
  #running: Promise<void> | undefined

  constructor(deps: RetroHuntDeps, config: Pick<IndicatorsConfig, 'hunt_delay_s' | 'hunt_events'>) {
    this.#deps = deps
    this.#config = config
  }

  start(): void {
    this.#stopping = new AbortController()
    this.#running = this.#run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#woken.resolve()
    await this.#running
  }

  /** What came in since the last hunt becomes one. */
  async plan(): Promise<void> {
    const { state, clock } = this.#deps
    await state.write(async (tx) => {
      const last = await tx
        .selectFrom('indicator_hunts')
        .select((e) => e.fn.max('to_n').as('n'))
        .executeTakeFirst()
      const newest = await tx
        .selectFrom('indicators')
        .select((e) => e.fn.max('n').as('n'))
        .executeTakeFirst()
      const [fromN, toN] = [last?.n ?? 0, newest?.n ?? 0]
      if (toN <= fromN) return
      const now = new Date(clock.now()).toISOString()
      const skipped = await tx
        .selectFrom('indicators')
        .select((e) => e.fn.countAll<number>().as('count'))
        .where('n', '>', fromN)
        .where('n', '<=', toN)
        .where('type', 'in', ['ja3', 'email', 'url'])
        .executeTakeFirstOrThrow()
      await tx
        .insertInto('indicator_hunts')
        .values({
          id: newId(clock.now()),
          from_n: fromN,
          to_n: toN,
          state: 'waiting',
          kind: KINDS[0],
          after: '',
          looked_at: 0,
          hits: 0,
          skipped: skipped.count,
          why: null,
          created_at: now,
          updated_at: now,
        })
        .execute()
    })
    this.#woken.resolve()
  }

  async #run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.#woken = Promise.withResolvers<void>()
      try {
        const hunt = await this.#next()
        if (!hunt) {
          await this.#woken.promise
          continue
        }
        const ageMs = this.#deps.clock.now() - Date.parse(hunt.created_at)
        const waitMs = this.#config.hunt_delay_s * 1_000 - ageMs
        if (waitMs > 0) await this.#deps.clock.sleep(waitMs, stop)
        await this.#hunt(hunt, stop)
      } catch (thrown) {
        if (stop.aborted) return
        this.#deps.metrics.huntFailures.inc()
        this.#deps.log.error('indicators.hunt.failed', { why: reasonOf(thrown), retry_ms: RETRY_MS })
        await this.#deps.clock.sleep(RETRY_MS, stop).catch(() => undefined) // stopped: the loop ends
      }
    }
  }

  async #next(): Promise<HuntRow | undefined> {
    return await this.#deps.state.db
      .selectFrom('indicator_hunts')
      .selectAll()
      .where('state', 'in', ['waiting', 'running'])
      .orderBy('id')
      .executeTakeFirst()
  }

  async #hunt(hunt: HuntRow, stop: AbortSignal): Promise<void> {
    let { kind, after, looked_at: lookedAt, hits, skipped } = hunt
    for (const at of KINDS.slice(Math.max(0, KINDS.indexOf(kind as (typeof KINDS)[number])))) {
      if (at !== kind) after = ''
      kind = at
      for (;;) {
        if (stop.aborted) return
        const values = await this.#seen(at, after, stop)
        for (const value of values) {
          if (knownValues(asEvent(at, value), this.#deps.table()).length === 0) continue
          if (hits >= MOST_HITS) {
            skipped++
            continue
          }
          const found = await this.#eventsOf(at, value, hunt.from_n, hunt.to_n, stop)
          hits += found
        }
        lookedAt += values.length
        after = values.at(-1) ?? after
        await this.#note(hunt.id, { state: 'running', kind, after, looked_at: lookedAt, hits, skipped })
        if (values.length < VALUES_AT_ONCE) break
      }
    }
    await this.#note(hunt.id, { state: 'done', kind, after, looked_at: lookedAt, hits, skipped })
    this.#deps.log.info('indicators.hunt.ended', { hunt: hunt.id, looked_at: lookedAt, hits, skipped })
  }

  async #seen(kind: string, after: string, stop: AbortSignal): Promise<readonly string[]> {
    const rows = await this.#deps.telemetry.select<{ value: string }>(
      {
        sql: `select distinct value from ${SEEN} where kind = {kind:String} and value > {after:String} order by value limit ${VALUES_AT_ONCE}`,
        params: { kind, after },
      },
      { timeoutMs: 30_000 },
      stop,
    )
    if (!rows.ok) throw new Fault('hunt_failed', rows.why)
    return rows.value.map(({ value }) => value)
  }

  /** How many signals it made. Those that were made before, live or by the same hunt, are the same signals again. */
  async #eventsOf(kind: string, value: string, fromN: number, toN: number, stop: AbortSignal): Promise<number> {
    const { search, clock, signalsOf, raise } = this.#deps
    const fresh = await signalsOf([{ ...NOBODY, event: asEvent(kind, value) }], fromN, toN)
    if (fresh.length === 0) return 0
    const found = await search.events({
      user: 'indicators',
      query: JSON.stringify(value),
      order: 'newest',
      limit: this.#config.hunt_events,
      nowMs: clock.now(),
      signal: stop,
    })
    if (!found.ok) throw new Fault('hunt_failed', found.why)
    const events = found.value.map(({ key, event }) => ({ ...key, agentId: key.agentId as AgentId, event }))
    const signals = await signalsOf(events, fromN, toN)
    for (const signal of signals) await raise(signal)
    this.#deps.metrics.huntHits.inc(signals.length)
    return signals.length
  }

  async #note(id: string, values: Readonly<Record<string, string | number>>): Promise<void> {
    const updated_at = new Date(this.#deps.clock.now()).toISOString()
    await this.#deps.state.write(async (tx) => {
      await tx
        .updateTable('indicator_hunts')
        .set({ ...values, updated_at })
        .where('id', '=', id)
        .execute()
    })
  }
}

const NOBODY = { agentId: '' as AgentId, epoch: '', class: '', seq: 0 }

/** The value where the table looks for it. */
function asEvent(kind: string, value: string): StoredEvent['event'] {
  const event = {
    '@timestamp': '1970-01-01T00:00:00.000Z',
    event: { category: ['network' as const], type: ['info' as const], action: 'seen' },
  }
  if (kind === 'address') return { ...event, destination: { ip: value } }
  if (kind === 'domain') return { ...event, dns: { question: { name: value } } }
  return { ...event, file: { path: '', hash: { [hashOf(value)]: value } } }
}

function hashOf(value: string): 'md5' | 'sha1' | 'sha256' {
  return value.length === 32 ? 'md5' : value.length === 40 ? 'sha1' : 'sha256'
}

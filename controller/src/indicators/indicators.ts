/** The room: indicators kept, matched on the stream and in what is stored, and made into signals. */
import type { Clock } from '@firebreak/shared/clock.ts'
import { knownValues, type KnownValue } from '@firebreak/shared/indicators/event-values.ts'
import { type Observable, observableOf } from '@firebreak/shared/indicators/observable.ts'
import { ok, refuse } from '@firebreak/shared/result.ts'
import type { Registry } from 'prom-client'
import type { Audit } from '../audit/audit.ts'
import type { Search } from '../search/index.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { StoredEvent, TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import type { Signal } from '../triage/index.ts'
import { createFeeds } from './feed-runs.ts'
import { readWarningLists } from './feeds/warning-list.ts'
import type { HuntView, Indicators, IndicatorView } from './index.ts'
import type { IndicatorsConfig } from './indicators-config.ts'
import { LiveSet } from './live-set.ts'
import { type IndicatorsLog, indicatorsMetrics } from './log-names.ts'
import { RetroHunt } from './retro-hunt.ts'
import { type IndicatorRow, isInForce, putRows, rowsOfValues, viewOf } from './rows.ts'
import { signalOfHit } from './signals.ts'
import { FleetWarnings, WarningSet } from './warnings.ts'

export interface IndicatorsDeps {
  readonly state: StateStore
  readonly telemetry: Pick<TelemetryStore, 'select'>
  readonly search: Pick<Search, 'events'>
  readonly audit: Audit
  readonly clock: Clock
  readonly log: IndicatorsLog
  readonly metrics: Registry
  /** Told of the memory in which the values lie, whenever it is another. */
  readonly watch: (indicators: SharedArrayBuffer) => void
  readonly raise: (signal: Signal) => Promise<void>
}

/** Past it a value of an event that many indicators name is told by the first. */
const MOST_HITS_AN_EVENT = 16
/** A share of rows that are over, from which the memory is made anew. */
const STALE = 0.1
const MAX_LABELS = 64

export function createIndicators(deps: IndicatorsDeps, config: IndicatorsConfig): Indicators {
  const { state, audit, clock, log } = deps
  const figures = indicatorsMetrics(deps.metrics)
  const live = new LiveSet(state, (memory) => {
    figures.memory.set(memory.byteLength)
    deps.watch(memory)
  })
  const fleet = new FleetWarnings(state, () => clock.monotonic())
  let lists = WarningSet.shipped()
  /** The indicators that a signal rests on, for the count of their sightings. */
  const behind = new WeakMap<Signal, readonly number[]>()
  const now = () => new Date(clock.now()).toISOString()
  const hunt = new RetroHunt(
    {
      ...deps,
      metrics: figures,
      table: () => live.table,
      signalsOf: async (events, fromN, toN) => await signalsOf(events, true, (row) => row.n > fromN && row.n <= toN),
    },
    config,
  )

  async function warningOf(value: Observable): Promise<string | undefined> {
    return lists.of(value) ?? (await fleet.current()).of(value)
  }

  async function signalsOf(
    events: readonly StoredEvent[],
    inThePast: boolean,
    counts: (row: IndicatorRow) => boolean = () => true,
  ): Promise<readonly Signal[]> {
    const known: { readonly stored: StoredEvent; readonly value: KnownValue }[] = []
    for (const stored of events)
      for (const value of distinct(knownValues(stored.event, live.table)).slice(0, MOST_HITS_AN_EVENT))
        known.push({ stored, value })
    if (known.length === 0) return []
    const rows = Map.groupBy(
      await rowsOfValues(
        state,
        known.map(({ value }) => value),
      ),
      ({ type, value }) => `${type} ${value}`,
    )
    const at = now()
    const signals: Signal[] = []
    for (const { stored, value } of known) {
      // A fingerprint only proposes: the value itself, in force now, decides.
      const inForce = (rows.get(`${value.type} ${value.value}`) ?? []).filter((row) => isInForce(row, at))
      if (!inForce.some(counts)) continue
      const warning = (await warningOf(value)) ?? (await warningOfSeen(value))
      const signal = signalOfHit({ stored, known: value, rows: inForce, warning, inThePast })
      behind.set(
        signal,
        inForce.map(({ n }) => n),
      )
      signals.push(signal)
      figures.hits.inc({ warned: String(warning !== undefined) })
    }
    return signals
  }

  /** A block may name a bad network, and an address of the fleet lie in it. */
  async function warningOfSeen(value: KnownValue): Promise<string | undefined> {
    if (value.seen === value.value) return undefined
    const seen = observableOf(value.seen)
    return seen.ok ? await warningOf(seen.value) : undefined
  }

  async function views(rows: readonly IndicatorRow[]): Promise<IndicatorView[]> {
    const at = now()
    return await Promise.all(
      rows.map(async (row) =>
        viewOf(row, at, await warningOf({ type: row.type as Observable['type'], value: row.value })),
      ),
    )
  }

  async function row(n: number): Promise<IndicatorRow | undefined> {
    return await state.db.selectFrom('indicators').selectAll().where('n', '=', n).executeTakeFirst()
  }

  const room: Omit<Indicators, 'feeds'> = {
    async start() {
      lists = WarningSet.shipped()
      const read = readWarningLists(config.warning_list_dirs, (file, why) =>
        log.warn('indicators.warning_list.refused', { file, why }),
      )
      for (const list of read) lists.add(list)
      await live.load(now())
      figures.inForce.set(live.table.size)
      log.info('indicators.set.loaded', { values: live.table.size, warning_lists: read.length })
      await hunt.plan()
      hunt.start()
      feeds.start()
    },

    async stop() {
      await feeds.stop()
      await hunt.stop()
    },

    async take(part) {
      for (const { type, value } of part.indicators) {
        const same = observableOf(value, type === 'ja3' ? 'ja3' : undefined)
        if (!same.ok || same.value.type !== type || same.value.value !== value)
          return refuse('bad_indicator', `${JSON.stringify(value.slice(0, 80))} is no ${type} in its one spelling`)
      }
      if (live.table.size + part.indicators.length > config.max_indicators)
        return refuse(
          'too_many_indicators',
          `more than ${config.max_indicators} indicators (indicators.max_indicators)`,
        )
      const bounded = part.indicators.map((one) => ({ ...one, labels: (one.labels ?? []).slice(0, MAX_LABELS) }))
      await state.write(async (tx) => await putRows(tx, { ...part, indicators: bounded }, now()))
      await live.add(part.indicators)
      figures.inForce.set(live.table.size)
      return ok(part.indicators.length)
    },

    async complete({ source, importId, replace, revoked }, actor) {
      const at = now()
      const ended = await state.write(async (tx) => {
        const { indicators, added } = await tx
          .selectFrom('indicators')
          .select((e) => [
            e.fn.countAll<number>().as('indicators'),
            e.fn
              .sum<number | null>(e.case().when('created_at', '=', e.ref('updated_at')).then(1).else(0).end())
              .as('added'),
          ])
          .where('source', '=', source)
          .where('import_id', '=', importId)
          .executeTakeFirstOrThrow()
        if (replace && indicators === 0) return undefined
        const over = (e: 'import' | string[]) => {
          const open = tx
            .updateTable('indicators')
            .set({ valid_until: at, updated_at: at })
            .where('source', '=', source)
            .where((x) => x.or([x('valid_until', 'is', null), x('valid_until', '>', at)]))
          return e === 'import' ? open.where('import_id', '!=', importId) : open.where('reference', 'in', e)
        }
        let expired = 0
        if (replace) expired += Number((await over('import').executeTakeFirst()).numUpdatedRows)
        for (let from = 0; from < revoked.length; from += 500)
          expired += Number((await over(revoked.slice(from, from + 500)).executeTakeFirst()).numUpdatedRows)
        const counts = { indicators, added: added ?? 0, expired }
        await audit.append(tx, {
          actor,
          action: 'indicators.import.completed',
          objectType: 'indicator_source',
          objectId: source,
          detail: { import_id: importId, replace, ...counts },
        })
        return counts
      })
      if (!ended)
        return refuse('import_empty', 'an import without an indicator does not replace what the source said before')
      log.info('indicators.import.completed', { source, ...ended })
      if (ended.expired > live.table.size * STALE) await live.load(now())
      figures.inForce.set(live.table.size)
      await hunt.plan()
      return ok(ended)
    },

    async expire(n, actor, reason) {
      const at = now()
      const done = await state.write(async (tx) => {
        const before = await tx.selectFrom('indicators').selectAll().where('n', '=', n).executeTakeFirst()
        if (!before) return false
        await tx.updateTable('indicators').set({ valid_until: at, updated_at: at }).where('n', '=', n).execute()
        await audit.append(tx, {
          actor,
          action: 'indicators.indicator.expired',
          objectType: 'indicator',
          objectId: String(n),
          detail: { type: before.type, value: before.value, source: before.source, before: before.valid_until, reason },
        })
        return true
      })
      const [view] = done ? await views([await row(n)].filter((one) => one !== undefined)) : []
      return view ? ok(view) : refuse('not_found', 'no such indicator')
    },

    async list({ type, source, expired, before, limit }) {
      let rows = state.db.selectFrom('indicators').selectAll().orderBy('n', 'desc').limit(limit)
      if (type !== undefined) rows = rows.where('type', '=', type)
      if (source !== undefined) rows = rows.where('source', '=', source)
      if (before !== undefined) rows = rows.where('n', '<', before)
      const at = now()
      if (expired === true) rows = rows.where('valid_until', '<=', at)
      if (expired === false) rows = rows.where((e) => e.or([e('valid_until', 'is', null), e('valid_until', '>', at)]))
      return await views(await rows.execute())
    },

    async get(n) {
      const found = await row(n)
      return found && (await views([found]))[0]
    },

    async lookup(written) {
      const value = observableOf(written)
      if (!value.ok) return refuse('bad_indicator', value.why)
      const { value: wanted } = value
      const near = distinct(knownValues(eventWith(wanted), live.table))
      const rows = await rowsOfValues(state, [wanted, ...near])
      const known = [...new Map(rows.map((one) => [one.n, one])).values()]
      return ok({ value: wanted, indicators: await views(known) })
    },

    async patterns(limit) {
      return await state.db
        .selectFrom('indicator_patterns')
        .select(['source', 'reference', 'pattern', 'code', 'why'])
        .orderBy('source')
        .orderBy('reference')
        .limit(limit)
        .execute()
    },

    async hunts(limit) {
      const rows = await state.db.selectFrom('indicator_hunts').selectAll().orderBy('id', 'desc').limit(limit).execute()
      return rows.map((one) => ({
        id: one.id,
        state: one.state as HuntView['state'],
        indicators: one.to_n - one.from_n,
        lookedAt: one.looked_at,
        hits: one.hits,
        skipped: one.skipped,
        why: one.why,
        createdAt: one.created_at,
        updatedAt: one.updated_at,
      }))
    },

    async counts() {
      return await state.db
        .selectFrom('indicators')
        .select((e) => ['source', 'type', e.fn.countAll<number>().as('indicators')])
        .groupBy(['source', 'type'])
        .orderBy('source')
        .orderBy('type')
        .execute()
    },

    signalsOf: async (events) => await signalsOf(events, false),

    async stored(tx, signals) {
      const counts = new Map<number, number>()
      for (const signal of signals) for (const n of behind.get(signal) ?? []) counts.set(n, (counts.get(n) ?? 0) + 1)
      const at = now()
      for (const [n, times] of counts)
        await tx
          .updateTable('indicators')
          .set((e) => ({ sightings: e('sightings', '+', times), last_sighted_at: at }))
          .where('n', '=', n)
          .execute()
    },
  }
  const feeds = createFeeds({ state, audit, clock, log, failures: figures.feedFailures, indicators: room }, config)
  return { ...room, feeds }
}

/** One of each value, wherever in the event it stands. */
function distinct(values: readonly KnownValue[]): KnownValue[] {
  return [...new Map(values.toReversed().map((one) => [`${one.type} ${one.value}`, one])).values()].toReversed()
}

function eventWith({ type, value }: Observable): StoredEvent['event'] {
  const event = {
    '@timestamp': '1970-01-01T00:00:00.000Z',
    event: { category: ['network' as const], type: ['info' as const], action: 'looked-up' },
  }
  if (type === 'ipv4' || type === 'ipv6') return { ...event, destination: { ip: value } }
  if (type === 'domain') return { ...event, dns: { question: { name: value } } }
  return type === 'url' ? { ...event, url: { full: value } } : event
}

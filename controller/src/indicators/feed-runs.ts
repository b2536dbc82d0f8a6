/**
 * Feeds that are fetched again and again, one after the other. A feed is read to its end and checked before anything of it is taken, so
 * one that is broken, hostile, slow or huge leaves in force what it said before, and says why.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '@firebreak/shared/clock.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { Counter } from 'prom-client'
import type { Selectable } from 'kysely'
import type { Audit } from '../audit/audit.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { Tables } from '../store/state/tables.ts'
import { fetchFeed, type FetchLimits } from './feeds/fetch-feed.ts'
import { parseText } from './feeds/formats.ts'
import { fetchMispFeed } from './feeds/misp-feed.ts'
import { fetchTaxii } from './feeds/taxii.ts'
import { FEED_KINDS, type FeedContent, type FeedOptions, type Feeds, type FeedView, type Indicators } from './index.ts'
import type { IndicatorsConfig } from './indicators-config.ts'
import type { IndicatorsLog } from './log-names.ts'
import { takeContent } from './take-content.ts'

export interface FeedsDeps {
  readonly state: StateStore
  readonly audit: Audit
  readonly clock: Clock
  readonly log: IndicatorsLog
  readonly failures: Counter<'feed'>
  readonly indicators: Pick<Indicators, 'take' | 'complete'>
}

const MAX_FEEDS = 200
const LOOK_EVERY_MS = 30_000
const MAX_SECRET_BYTES = 8_192
const DAY_MS = 86_400_000

export function createFeeds(
  deps: FeedsDeps,
  config: Pick<IndicatorsConfig, 'feed_dir' | 'feed_max_bytes' | 'feed_timeout_s'>,
): Feeds {
  const { state, audit, clock, log } = deps
  const limits: FetchLimits = { maxBytes: config.feed_max_bytes, timeoutMs: config.feed_timeout_s * 1_000 }
  let stopping = new AbortController()
  let running: Promise<void> | undefined
  let turn: Promise<unknown> = Promise.resolve()

  return {
    start() {
      stopping = new AbortController()
      running = run(stopping.signal)
    },
    async stop() {
      stopping.abort()
      await running
      await turn
    },
    async list() {
      return (await state.db.selectFrom('indicator_feeds').selectAll().orderBy('name').execute()).map(viewOf)
    },
    async add(feed, actor) {
      const done = await state.write(async (tx) => {
        const rows = await tx.selectFrom('indicator_feeds').select('name').execute()
        if (rows.some(({ name }) => name === feed.name)) return 'feed_exists' as const
        if (rows.length >= MAX_FEEDS) return 'too_many_feeds' as const
        await tx
          .insertInto('indicator_feeds')
          .values({
            name: feed.name,
            kind: feed.kind,
            url: feed.url,
            options: JSON.stringify(feed.options),
            every_s: feed.everyS,
            added_after: null,
            created_by: actor,
            created_at: now(),
            last_run_at: null,
            last_ok_at: null,
            last_error: null,
            last_counts: null,
          })
          .execute()
        await audit.append(tx, {
          actor,
          action: 'indicators.feed.added',
          objectType: 'indicator_feed',
          objectId: feed.name,
          detail: { kind: feed.kind, url: feed.url, every_s: feed.everyS, options: feed.options },
        })
        return undefined
      })
      if (done !== undefined)
        return refuse(done, done === 'feed_exists' ? 'there is a feed of that name' : `there are ${MAX_FEEDS} feeds`)
      const row = await rowOf(feed.name)
      if (!row) throw new Error('the feed was taken away while it was added')
      return ok(viewOf(row))
    },
    async remove(name, actor) {
      return await state.write(async (tx) => {
        const { numDeletedRows } = await tx.deleteFrom('indicator_feeds').where('name', '=', name).executeTakeFirst()
        if (numDeletedRows === 0n) return false
        const detail = { note: 'what it said stays in force until it is over' }
        await audit.append(tx, {
          actor,
          action: 'indicators.feed.removed',
          objectType: 'indicator_feed',
          objectId: name,
          detail,
        })
        return true
      })
    },
    begin(name) {
      inTurn(name, stopping.signal).catch((thrown: unknown) =>
        log.error('indicators.feed.failed', { feed: name, why: reasonOf(thrown) }),
      )
    },
    async fetch(name) {
      await inTurn(name, stopping.signal)
      const row = await rowOf(name)
      return row ? ok(viewOf(row)) : refuse('not_found', 'no such feed')
    },
  }

  function now(): string {
    return new Date(clock.now()).toISOString()
  }

  async function rowOf(name: string) {
    return await state.db.selectFrom('indicator_feeds').selectAll().where('name', '=', name).executeTakeFirst()
  }

  async function run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      try {
        const rows = await state.db.selectFrom('indicator_feeds').selectAll().where('every_s', '>', 0).execute()
        for (const row of rows) {
          const dueMs = row.last_run_at === null ? 0 : Date.parse(row.last_run_at) + row.every_s * 1_000
          if (dueMs <= clock.now() && !stop.aborted) await inTurn(row.name, stop)
        }
      } catch (thrown) {
        log.error('indicators.feed.failed', { why: reasonOf(thrown) })
      }
      await clock.sleep(LOOK_EVERY_MS, stop).catch(() => undefined) // stopped: the loop ends
    }
  }

  async function inTurn(name: string, stop: AbortSignal): Promise<void> {
    const before = turn
    const mine = (async () => {
      await before
      const row = await rowOf(name)
      if (row) await fetchOne(row, stop)
    })()
    turn = mine.catch(() => undefined) // told to whoever asked
    await mine
  }

  async function fetchOne(row: Selectable<Tables['indicator_feeds']>, stop: AbortSignal): Promise<void> {
    const startedAt = now()
    const outcome = await contentOf(row, stop).catch((thrown: unknown) => refuse('failed', reasonOf(thrown)))
    let error: string | null = null
    let counts: FeedView['lastCounts'] = null
    if (!outcome.ok) error = `${outcome.code}: ${outcome.why}`
    else if (outcome.value.content) {
      const { content } = outcome.value
      const replace = ['list', 'csv'].includes(row.kind)
      const taken = await takeContent(
        deps.indicators,
        { source: row.name, importId: randomUUID(), content, replace },
        'system',
      )
      if (taken.ok) {
        const refused = content.refused.reduce((sum, { entries }) => sum + entries, 0)
        counts = { ...taken.value, patterns: content.patterns.length, refused }
      } else error = `${taken.code}: ${taken.why}`
    }
    await state.write(async (tx) => {
      const told = { last_run_at: startedAt, last_error: error?.slice(0, 1_000) ?? null }
      const good =
        error === null
          ? {
              last_ok_at: startedAt,
              ...(counts ? { last_counts: JSON.stringify(counts) } : {}),
              ...(outcome.ok ? { added_after: outcome.value.addedAfter ?? null } : {}),
            }
          : {}
      await tx
        .updateTable('indicator_feeds')
        .set({ ...told, ...good })
        .where('name', '=', row.name)
        .execute()
    })
    if (error === null) log.info('indicators.feed.fetched', { feed: row.name, ...counts })
    else {
      deps.failures.inc({ feed: row.name })
      log.warn('indicators.feed.failed', { feed: row.name, why: error })
    }
  }

  async function contentOf(
    row: Selectable<Tables['indicator_feeds']>,
    stop: AbortSignal,
  ): Promise<Result<{ readonly content: FeedContent | undefined; readonly addedAfter: string | undefined }, string>> {
    const { url, kind, added_after: addedAfter } = row
    const options = JSON.parse(row.options) as FeedOptions
    const secret = secretOf(options)
    if (!secret.ok) return secret
    const details = {
      confidence: options.confidence ?? 50,
      ...(options.tlp === undefined ? {} : { tlp: options.tlp }),
      ...(options.labels === undefined ? {} : { labels: options.labels }),
      ...(options.valid_days === undefined
        ? {}
        : { validUntil: new Date(clock.now() + options.valid_days * DAY_MS).toISOString() }),
    }
    const request = {
      url,
      ...(secret.value === undefined ? {} : { authorization: secret.value }),
      ...(addedAfter === null ? {} : { addedAfter }),
      ...(options.collection === undefined ? {} : { collection: options.collection }),
    }
    const of = FEED_KINDS.find((one) => one === kind)
    if (of === 'taxii') return await fetchTaxii(request, details, limits, stop)
    if (of === 'misp-feed') return await fetchMispFeed(request, details, limits, stop)
    if (of === undefined) return refuse('unknown_kind', `there is no kind ${kind}`)
    const fetched = await fetchFeed(request, limits, stop)
    if (!fetched.ok) return fetched
    const content = parseText(of, fetched.value.text, {
      details,
      ...(options.columns ? { columns: options.columns } : {}),
    })
    return content.ok ? ok({ content: content.value, addedAfter: undefined }) : content
  }

  /** The file's content never leaves this function but in a header. */
  function secretOf({ secret_file: name, auth }: FeedOptions): Result<string | undefined, 'no_secret'> {
    if (name === undefined) return ok(undefined)
    try {
      const path = join(config.feed_dir, name)
      if (statSync(path).size > MAX_SECRET_BYTES) return refuse('no_secret', `the secret file ${name} is too large`)
      const secret = readFileSync(path, 'utf8').trim()
      if (secret === '' || /[^\x20-\x7e]/.test(secret))
        return refuse('no_secret', `the secret file ${name} holds no secret`)
      return ok(auth === 'basic' ? `Basic ${Buffer.from(secret).toString('base64')}` : `Bearer ${secret}`)
    } catch (thrown) {
      return refuse('no_secret', `the secret file ${name} cannot be read: ${reasonOf(thrown)}`)
    }
  }
}

function viewOf(row: Selectable<Tables['indicator_feeds']>): FeedView {
  return {
    name: row.name,
    kind: FEED_KINDS.find((kind) => kind === row.kind) ?? 'list',
    url: row.url,
    everyS: row.every_s,
    options: JSON.parse(row.options) as FeedOptions,
    createdBy: row.created_by,
    createdAt: row.created_at,
    lastRunAt: row.last_run_at,
    lastOkAt: row.last_ok_at,
    lastError: row.last_error,
    lastCounts: row.last_counts === null ? null : (JSON.parse(row.last_counts) as NonNullable<FeedView['lastCounts']>),
  }
}

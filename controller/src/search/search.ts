/**
 * Searches of events on behalf of people: a query in, pages, files and answers out. Bounded in time, memory and number, so that no
 * search keeps events from coming in; what was too much is said, never cut silently.
 */
import { ok, type Refused, type Result, refuse } from '@firebreak/shared/result.ts'
import type { Conditions } from '../store/telemetry/conditions.ts'
import { EVENTS } from '../store/telemetry/event-table.ts'
import { readStats } from '../store/telemetry/stats.ts'
import type {
  EventKey,
  ExportFormat,
  FoundEvent,
  QueryRefusal,
  Statement,
  TelemetryStore,
} from '../store/telemetry/telemetry-store.ts'
import { compileQuery } from './compile.ts'
import type { RefusedQuery } from './kql/query.ts'
import { lookUp, type Sighting } from './sightings.ts'
import type { SearchConfig } from './search-config.ts'
import { parseBound } from './times.ts'
import { type AmbiguousPid, type ProcessTree, readTree, type TreeRefusal, type TreeRequest } from './tree.ts'
import { Turns } from './turns.ts'

/** Who asks; the limits are per name. */
interface Asked {
  readonly user: string
  readonly signal?: AbortSignal
}

export interface SearchRequest extends Asked {
  readonly query: string
  readonly agentId?: string
  /** A time as people write it, inclusive. */
  readonly since?: string
  readonly until?: string
  /** What `now` and `7d` are reckoned from; a next page has to say the same as the first. */
  readonly nowMs: number
}

export interface PageRequest extends SearchRequest {
  readonly order: 'newest' | 'oldest'
  readonly after?: EventKey
  readonly limit: number
}

export type SearchRefusal = QueryRefusal | 'too_many_searches'
/** A time beside the query that is none; `field` names it. */
export interface RefusedBound {
  readonly ok: false
  readonly code: 'bad_time'
  readonly field: 'since' | 'until'
  readonly why: string
}
type Answer<T> = Result<T, SearchRefusal> | RefusedQuery | RefusedBound

export interface StartedExport {
  /** How many events it will hold. */
  readonly events: number
  /** More match than the limit that was asked for. */
  readonly more: boolean
  readonly bytes: AsyncIterable<Uint8Array>
}

/** A class of events that is not kept as far back as was asked for. */
export interface NotKept {
  readonly class: string
  /** YYYY-MM-DD: the first day of arrival that is there. */
  readonly keptSince: string
}

export interface Search {
  events(request: PageRequest): Promise<Answer<readonly FoundEvent[]>>
  /**
   * Of which classes an answer says nothing for a part of the time that was asked for: it has expired, or nobody sent yet. Without
   * `since` nothing was asked for that could be missing.
   */
  notKept(request: Pick<SearchRequest, 'since' | 'nowMs'>): Promise<readonly NotKept[]>
  /** Newest first. Without a `limit` more than an export may hold is refused. */
  export(
    request: SearchRequest & { readonly format: ExportFormat; readonly limit?: number },
  ): Promise<Answer<StartedExport>>
  tree(request: Asked & TreeRequest): Promise<Result<ProcessTree, SearchRefusal | TreeRefusal> | AmbiguousPid>
  /** How common a value of a field was, before a time: on how many hosts, in how many events. */
  prevalence(
    request: Asked & { readonly field: string; readonly value: string; readonly before: string },
  ): Promise<Result<{ readonly events: number; readonly hosts: number }, SearchRefusal>>
  /** Where a hash, an address, a domain or a program was seen; what it is is told by its form. */
  seen(request: Asked & { readonly value: string }): Promise<Result<Sighting, SearchRefusal | 'unknown_kind'>>
}

export function createSearch(telemetry: TelemetryStore, config: SearchConfig): Search {
  const turns = new Turns({
    running: config.running,
    waitingPerUser: config.waiting_per_user,
    waiting: config.waiting,
  })
  const limits = { timeoutMs: config.timeout_s * 1_000 }
  let exporting = 0

  return {
    async events(request) {
      const where = whereOf(request)
      if (!where.ok) return where
      const { order, after, limit, signal } = request
      const near = boundOf(request, order === 'newest' ? 'until' : 'since')
      const nearMs = near?.ok === true ? (order === 'newest' ? near.value.toMs : near.value.fromMs) : undefined
      const search = {
        where: where.value,
        order,
        limit,
        ...(after && { after }),
        ...(nearMs !== undefined && { nearMs }),
      }
      return await inTurn(request, async () => await telemetry.find(search, limits, signal))
    },

    async notKept(request) {
      const since = request.since === undefined ? undefined : parseBound(request.since, request.nowMs)
      if (since?.ok !== true || !(Math.abs(since.value.fromMs) < 8.64e15)) return []
      const day = new Date(since.value.fromMs).toISOString().slice(0, 10)
      const { retainedSince } = await readStats(telemetry)
      return Object.entries(retainedSince)
        .filter(([, kept]) => day < kept)
        .map(([name, kept]) => ({ class: name, keptSince: kept }))
    },

    async export(request) {
      const where = whereOf(request)
      if (!where.ok) return where
      if (exporting >= config.exports)
        return refuse('too_many_searches', 'another export is running; try again when it has ended')
      const { format, signal } = request
      const most = Math.min(request.limit ?? config.export_events, config.export_events)
      const counted = await inTurn(request, async () => await count(where.value, most + 1, signal))
      if (!counted.ok) return counted
      if (request.limit === undefined && counted.value > most)
        return refuse(
          'too_much',
          `more than ${most} events match, which is the most that an export may hold; narrow the query or the time, or give a limit`,
        )
      const events = Math.min(counted.value, most)
      const search = { where: where.value, order: 'newest', limit: most } as const
      return ok({
        events,
        more: counted.value > most,
        bytes: held(telemetry.export(search, format, signal)),
      })
    },

    async tree(request) {
      return await inTurn(
        request,
        async () =>
          await readTree(telemetry, request, { ...limits, ...(request.signal && { signal: request.signal }) }),
      )
    },

    async prevalence({ field, value, before, ...asked }) {
      return await inTurn(asked, async () => ok(await telemetry.prevalence(field, value, before)))
    },

    async seen(request) {
      return await inTurn(request, async () => await lookUp(telemetry, request.value, limits, request.signal))
    },
  }

  /** Counts as running from the first byte to the last, or until nobody reads any more. */
  async function* held(bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    exporting++
    try {
      yield* bytes
    } finally {
      exporting--
    }
  }

  async function inTurn<Answered>(
    { user, signal }: Asked,
    work: () => Promise<Answered>,
  ): Promise<Answered | Refused<'too_many_searches' | 'cancelled'>> {
    const turn = await turns.take(user, signal, work)
    return turn.ok ? turn.value : turn
  }

  /** At most `limit`, so that a query that everything matches costs no more than one that is just too large. */
  async function count(
    where: Statement,
    limit: number,
    signal: AbortSignal | undefined,
  ): Promise<Result<number, QueryRefusal>> {
    const rows = await telemetry.select<{ events: number }>(
      {
        sql: `select toFloat64(count()) as events from (select 1 from ${EVENTS} where ${where.sql} limit ${limit})`,
        params: where.params,
      },
      limits,
      signal,
    )
    return rows.ok ? ok(rows.value[0]?.events ?? 0) : rows
  }

  function whereOf(
    request: SearchRequest,
  ): { readonly ok: true; readonly value: Statement } | RefusedQuery | RefusedBound {
    const since = boundOf(request, 'since')
    if (since && !since.ok) return since
    const until = boundOf(request, 'until')
    if (until && !until.ok) return until
    return compileQuery(request.query, request.nowMs, (conditions: Conditions) => [
      ...(request.agentId === undefined ? [] : [conditions.equals('host.id', request.agentId)]),
      ...(since ? [conditions.compareTime('@timestamp', '>=', since.value.fromMs)] : []),
      ...(until ? [conditions.compareTime('@timestamp', '<', until.value.toMs)] : []),
    ])
  }
}

function boundOf(request: SearchRequest, field: 'since' | 'until') {
  const text = request[field]
  if (text === undefined) return undefined
  const moment = parseBound(text, request.nowMs)
  return moment.ok ? moment : ({ ...moment, field } as const)
}

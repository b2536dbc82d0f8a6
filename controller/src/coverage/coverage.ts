/** The room: what the hosts say of their sources, their lives and their losses → windows in which rules were blind (design 6). */
import type { Clock } from '@firebreak/shared/clock.ts'
import type { EventClass } from '@firebreak/shared/events/classes.ts'
import type { AgentId } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import type { SourceStatus } from '@firebreak/shared/events/coverage.ts'
import type { AgentRun } from '@firebreak/shared/wire/messages.ts'
import type { Registry } from 'prom-client'
import type { StateStore, Tx } from '../store/state/state-store.ts'
import type { CoverageConfig } from './coverage-config.ts'
import { followGaps } from './gap-windows.ts'
import type { Before, Coverage, CoverageWindow, LifeReason, Lost } from './index.ts'
import { type CoverageLog, type CoverageMetrics, coverageMetrics } from './log-names.ts'
import { addWindow, closeWindow, insertWindow, windowOf } from './windows.ts'

export interface CoverageDeps {
  readonly state: StateStore
  readonly clock: Clock
  readonly log: CoverageLog
  readonly metrics: Registry
}

const FOLLOW_MS = 1_000
const PRUNE_MS = 3_600_000
/** Gap rows kept of one host: windows say the same in less. */
const MAX_GAPS_PER_HOST = 20_000
/** A stop that is over this soon is no window: what starts meanwhile is found when the agent looks around. */
const SHORT_STOP_MS = 1_000
/** A clock that is further off puts events where no rule looks for them. */
const CLOCK_OFF_MS = 5 * 60_000

export function createCoverage(deps: CoverageDeps, config: CoverageConfig): Coverage {
  return new CoverageRoom(deps, config)
}

class CoverageRoom implements Coverage {
  readonly #deps: CoverageDeps
  readonly #config: CoverageConfig
  readonly #metrics: CoverageMetrics
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  /** Highest gap that was seen to have its window. */
  #followed: number | undefined
  #prunedAt = Number.NEGATIVE_INFINITY

  constructor(deps: CoverageDeps, config: CoverageConfig) {
    this.#deps = deps
    this.#config = config
    this.#metrics = coverageMetrics(deps.metrics)
  }

  async start(): Promise<void> {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async lived(tx: Tx, agentId: AgentId, run: AgentRun, before: Before): Promise<void> {
    if (run.id === before.runId || run.last_alive_ms === undefined) return
    const { last_alive_ms: lastAlive, booted_ms: booted, started_ms: started } = run
    const isSameBoot = booted <= lastAlive
    if (!isSameBoot) await this.#asleep(tx, agentId, 'host_down', lastAlive, Math.min(booted, started))
    await this.#asleep(tx, agentId, 'agent_stopped', isSameBoot ? lastAlive : booted, started)
  }

  async reported(
    tx: Tx,
    agentId: AgentId,
    sources: readonly SourceStatus[],
    offsetMs: number | undefined,
  ): Promise<void> {
    const open = await tx
      .selectFrom('coverage_windows')
      .selectAll()
      .where('agent_id', '=', agentId)
      .where('to_at', 'is', null)
      .execute()
    const now = this.#deps.clock.now()
    for (const status of sources) {
      const at = iso(Math.min(status.since_ms, now))
      const reason = status.quality === 'full' ? null : (status.reason ?? null)
      const before = open.find((row) => row.class === status.class)
      const isSame = before?.source === status.source && before.quality === status.quality && before.reason === reason
      if (isSame) continue
      if (before) await closeWindow(tx, before.id, before.from_at, at)
      await insertWindow(tx, {
        agentId,
        class: status.class,
        source: status.source,
        quality: status.quality,
        reason,
        why: status.why ?? null,
        from: at,
        to: null,
        events: 0,
      })
    }
    if (offsetMs === undefined) return
    const off = open.find((row) => row.class === '*' && row.reason === ('clock' satisfies LifeReason))
    const isOff = Math.abs(offsetMs) > CLOCK_OFF_MS
    if (off && !isOff) await closeWindow(tx, off.id, off.from_at, iso(now))
    if (!off && isOff) {
      const why = `its clock is ${Math.round(Math.abs(offsetMs) / 1_000)} s ${offsetMs > 0 ? 'ahead' : 'behind'}`
      await insertWindow(tx, { ...wholeHost(agentId, 'clock', 'partial'), why, from: iso(now), to: null, events: 0 })
    }
  }

  async lost(tx: Tx, agentId: AgentId, eventClass: EventClass, { from, to, events, why }: Lost): Promise<void> {
    const window = { ...wholeHost(agentId, 'epoch_lost', 'blind'), class: eventClass, why, events }
    await addWindow(tx, { ...window, from: from < to ? from : to, to })
  }

  async ofHost(agentId: AgentId, since: string, limit: number): Promise<readonly CoverageWindow[]> {
    await this.#follow()
    const rows = await this.#deps.state.db
      .selectFrom('coverage_windows')
      .selectAll()
      .where('agent_id', '=', agentId)
      .where((e) => e.or([e('to_at', 'is', null), e('to_at', '>=', since)]))
      .orderBy('from_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    return rows.map(windowOf)
  }

  async ofClasses(classes: readonly EventClass[], since: string, limit: number): Promise<readonly CoverageWindow[]> {
    await this.#follow()
    const rows = await this.#deps.state.db
      .selectFrom('coverage_windows')
      .innerJoin('hosts', 'hosts.agent_id', 'coverage_windows.agent_id')
      .selectAll('coverage_windows')
      .where('hosts.revoked_at', 'is', null)
      .where('coverage_windows.class', 'in', [...classes, '*'])
      .where('quality', '!=', 'full')
      .where((e) => e.or([e('to_at', 'is', null), e('to_at', '>=', since)]))
      .orderBy('from_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    return rows.map(windowOf)
  }

  async #asleep(tx: Tx, agentId: AgentId, reason: LifeReason, fromMs: number, toMs: number): Promise<void> {
    const to = Math.min(toMs, this.#deps.clock.now())
    if (to - fromMs < SHORT_STOP_MS) return
    const quality = reason === 'host_down' ? 'partial' : 'blind'
    const why = reason === 'host_down' ? 'its last sign of life is not the moment in which it went down' : null
    await addWindow(tx, { ...wholeHost(agentId, reason, quality), why, from: iso(fromMs), to: iso(to), events: 0 })
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.#follow()
        if (clock.monotonic() - this.#prunedAt >= PRUNE_MS) await this.#prune()
      } catch (thrown) {
        log.error('coverage.gaps.failed', { why: reasonOf(thrown) })
      }
      await clock.sleep(FOLLOW_MS, signal).catch(() => undefined) // stopped: the loop ends
    }
  }

  /** Makes windows of every gap that was committed before. */
  async #follow(): Promise<void> {
    const { state } = this.#deps
    const newest = await state.db.selectFrom('gaps').select('id').orderBy('id', 'desc').limit(1).executeTakeFirst()
    if (newest === undefined || newest.id === this.#followed) return
    for (;;) {
      const hosts = await state.write(async (tx) => {
        const hosts = await followGaps(tx, this.#metrics)
        for (const host of hosts) await this.#keepFew(tx, host)
        return hosts
      })
      if (hosts.size === 0) break
    }
    this.#followed = newest.id
  }

  /** However much a host has to tell, it takes so much and no more. */
  async #keepFew(tx: Tx, host: string): Promise<void> {
    const { max_windows_per_host: max } = this.#config
    const windows = await tx
      .selectFrom('coverage_windows')
      .select('id')
      .where('agent_id', '=', host)
      .where('to_at', 'is not', null)
      .orderBy('to_at', 'desc')
      .limit(1)
      .offset(max)
      .executeTakeFirst()
    if (windows)
      await tx
        .deleteFrom('coverage_windows')
        .where('agent_id', '=', host)
        .where('to_at', 'is not', null)
        .where('id', 'not in', (q) =>
          q
            .selectFrom('coverage_windows')
            .select('id')
            .where('agent_id', '=', host)
            .where('to_at', 'is not', null)
            .orderBy('to_at', 'desc')
            .limit(max),
        )
        .execute()
    const gap = await tx
      .selectFrom('gaps')
      .select('id')
      .where('agent_id', '=', host)
      .orderBy('id', 'desc')
      .limit(1)
      .offset(MAX_GAPS_PER_HOST)
      .executeTakeFirst()
    if (gap) await tx.deleteFrom('gaps').where('agent_id', '=', host).where('id', '<=', gap.id).execute()
  }

  async #prune(): Promise<void> {
    const { state, clock, log } = this.#deps
    const before = iso(clock.now() - this.#config.keep_days * 86_400_000)
    const pruned = await state.write(async (tx) => {
      const windows = await tx.deleteFrom('coverage_windows').where('to_at', '<', before).executeTakeFirst()
      const gaps = await tx.deleteFrom('gaps').where('recorded_at', '<', before).executeTakeFirst()
      await tx.deleteFrom('epoch_ends').where('recorded_at', '<', before).execute()
      await tx.deleteFrom('accounting_differences').where('closed_at', '<', before).execute()
      return { windows: Number(windows.numDeletedRows), gaps: Number(gaps.numDeletedRows) }
    })
    this.#prunedAt = clock.monotonic()
    if (pruned.windows + pruned.gaps > 0) log.info('coverage.windows.pruned', { ...pruned, before })
  }
}

function wholeHost(agentId: AgentId, reason: LifeReason, quality: 'partial' | 'blind') {
  return { agentId, class: '*', source: 'none', quality, reason } as const
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

/**
 * Packs committed batches into blocks of the telemetry store. A block is planned in the state first (its rows carry its name) and then
 * inserted under that name, so that after a crash the same rows go in under the same name and are stored once.
 */
import type { Clock } from '@firebreak/shared/clock.ts'
import { uuidv7 } from '@firebreak/shared/ids.ts'
import { reasonOf } from '@firebreak/shared/result.ts'
import { MiB } from '@firebreak/shared/wire/units.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { EventLine, TelemetryStore } from '../store/telemetry/telemetry-store.ts'
import { linesOf } from './batch-body.ts'
import { type FeedDeps, readAgain } from './feed.ts'
import type { HeldBatches } from './held-batches.ts'
import type { IngestConfig } from './ingest-config.ts'
import type { IngestLog, IngestMetrics } from './log-names.ts'

const MAX_BLOCK_BATCHES = 1_000
const MAX_BLOCK_BYTES = 64 * MiB
const RETRY_MS = 1_000
/** When nothing came for one of them, nothing more is waited for. */
const PIECES_OF_A_WAIT = 8

export interface MoverDeps extends Pick<FeedDeps, 'reader' | 'setAside'> {
  readonly state: StateStore
  readonly telemetry: Pick<TelemetryStore, 'insert'>
  readonly held: Pick<HeldBatches, 'text' | 'dropText'>
  readonly clock: Clock
  readonly log: IngestLog
  readonly metrics: IngestMetrics
}

export class Mover {
  readonly #deps: MoverDeps
  readonly #config: Pick<IngestConfig, 'block_events' | 'block_wait_ms'>
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  /** Events committed and not yet in a block, as far as known here. */
  #waitingEvents = 0
  #commits = 0
  #wake: (() => void) | undefined
  #backlog = 0
  /** A block may have been planned of which it is not known whether it went in. */
  #unsure = true

  constructor(deps: MoverDeps, config: Pick<IngestConfig, 'block_events' | 'block_wait_ms'>) {
    this.#deps = deps
    this.#config = config
  }

  async start(): Promise<void> {
    await this.#count()
    this.#running = this.#run()
  }

  /** After the block at hand; what is left waits in the state. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake?.()
    await this.#running
  }

  committed(events: number): void {
    this.#backlog++
    this.#commits++
    this.#waitingEvents += events
    if (this.#waitingEvents >= this.#config.block_events) this.#wake?.()
  }

  /** Batches that are not yet both detected upon and moved. */
  backlog(): number {
    return this.#backlog
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        const moved = (this.#unsure && (await this.#unfinished())) || (await this.#plan())
        await this.#count()
        if (!moved || this.#waitingEvents < this.#config.block_events) await this.#linger()
      } catch (thrown) {
        this.#unsure = true
        this.#deps.metrics.moveFailures.inc()
        this.#deps.log.error('ingest.block.failed', { why: reasonOf(thrown) })
        await this.#pause(RETRY_MS, false)
      }
    }
  }

  /** Inserts a block that was planned before a crash or a failure; false when there is none any more. */
  async #unfinished(): Promise<boolean> {
    const row = await this.#deps.state.db
      .selectFrom('ingest_batches')
      .select('block_id')
      .where('stored', '=', 0)
      .where('block_id', 'is not', null)
      .orderBy('id')
      .limit(1)
      .executeTakeFirst()
    this.#unsure = row !== undefined
    if (!row || row.block_id === null) return false
    await this.#insert(row.block_id)
    return true
  }

  /** Until a block is full, its time is over, or nothing more comes for a part of that time. */
  async #linger(): Promise<void> {
    const { block_events, block_wait_ms } = this.#config
    const until = this.#deps.clock.monotonic() + block_wait_ms
    let seen: number
    do {
      seen = this.#commits
      await this.#pause(Math.ceil(block_wait_ms / PIECES_OF_A_WAIT), true)
    } while (
      !this.#stopping.signal.aborted &&
      this.#waitingEvents < block_events &&
      this.#deps.clock.monotonic() < until &&
      (this.#waitingEvents === 0 || this.#commits !== seen)
    )
  }

  async #plan(): Promise<boolean> {
    const { state, clock } = this.#deps
    const rows = await state.db
      .selectFrom('ingest_batches')
      .select(['id', 'count', 'body_bytes'])
      .where('stored', '=', 0)
      .where('block_id', 'is', null)
      .orderBy('id')
      .limit(MAX_BLOCK_BATCHES)
      .execute()
    const ids: number[] = []
    let events = 0
    let bytes = 0
    for (const row of rows) {
      if (ids.length > 0 && (events >= this.#config.block_events || bytes + row.body_bytes > MAX_BLOCK_BYTES)) break
      ids.push(row.id)
      events += row.count
      bytes += row.body_bytes
    }
    if (ids.length === 0) {
      this.#waitingEvents = 0
      return false
    }
    const blockId = uuidv7(clock.now())
    await state.write((tx) =>
      tx.updateTable('ingest_batches').set({ block_id: blockId }).where('id', 'in', ids).execute(),
    )
    this.#waitingEvents = Math.max(0, this.#waitingEvents - events)
    await this.#insert(blockId)
    return true
  }

  async #insert(blockId: string): Promise<void> {
    const { state, telemetry, held, clock, metrics } = this.#deps
    const started = clock.monotonic()
    const rows = await state.db
      .selectFrom('ingest_batches')
      .selectAll()
      .where('stored', '=', 0)
      .where('block_id', '=', blockId)
      .orderBy('id')
      .execute()
    const lines: EventLine[] = []
    let events = 0
    for (const row of rows) {
      const text = held.text(row.id) ?? (await readAgain(this.#deps, row.id))?.text
      if (!text) continue
      lines.push(linesOf(row, text))
      events += row.count
    }
    await telemetry.insert(blockId, lines)
    await state.write(async (tx) => {
      await tx
        .deleteFrom('ingest_batches')
        .where('stored', '=', 0)
        .where('block_id', '=', blockId)
        .where('detected', '=', 1)
        .execute()
      await tx
        .updateTable('ingest_batches')
        .set({ stored: 1 })
        .where('stored', '=', 0)
        .where('block_id', '=', blockId)
        .execute()
    })
    for (const { id } of rows) held.dropText(id)
    metrics.moved.inc(events)
    metrics.blockSeconds.observe((clock.monotonic() - started) / 1_000)
  }

  async #count(): Promise<void> {
    const { count } = await this.#deps.state.db
      .selectFrom('ingest_batches')
      .select((row) => row.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
    this.#backlog = count
    this.#deps.metrics.backlog.set(count)
  }

  async #pause(ms: number, wakeable: boolean): Promise<void> {
    const woken = new AbortController()
    const signal = AbortSignal.any([woken.signal, this.#stopping.signal])
    if (wakeable) this.#wake = () => woken.abort()
    try {
      await this.#deps.clock.sleep(ms, signal)
    } catch (thrown) {
      if (!signal.aborted) throw thrown
    } finally {
      this.#wake = undefined
    }
  }
}

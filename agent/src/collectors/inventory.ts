/**
 * What the host is made of: all of it at first and daily (`present`, then `complete`), and every difference as soon as it is seen. What was
 * told is kept on disk, so that a restart tells the differences of the time between and nothing twice.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { InventoryKind } from '@firebreak/shared/events/inventory.ts'
import { uuidv7 } from '@firebreak/shared/ids.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { InventoryConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import { type Change, completeEvent, itemEvent } from './inventory/events.ts'
import { hostFields } from './inventory/host.ts'
import { type Known, knownOf, type Snapshot, SnapshotFile } from './inventory/snapshot.ts'
import type { InventorySource, Item, Reading } from './inventory/source.ts'
import { inventorySources, type SourcesDeps } from './inventory/sources.ts'
import { SourceWatcher } from './inventory/watcher.ts'
import { PollLoop } from './poll-loop.ts'

const HOUR_MS = 3_600_000
/** After something happened: package managers write their data base many times in a row. */
const SETTLE_MS = 1_000
/** A place that is written without pause is read this much of the time at most. */
const READ_DUTY = 0.05
/** The event loop is given back after so many events. */
const TOLD_AT_ONCE = 200

export interface InventoryDeps extends SourcesDeps {
  readonly clock: Clock
  readonly stateFolder: string | undefined
}

export function createInventoryCollector(deps: InventoryDeps, config: Static<typeof InventoryConfig>): Collector {
  return new InventoryCollector(deps, config)
}

class InventoryCollector implements Collector {
  readonly name = 'inventory'
  readonly classes = ['inventory'] as const
  readonly source = 'polling'
  readonly #deps: InventoryDeps
  readonly #config: Static<typeof InventoryConfig>
  readonly #out = new EmitTally()
  readonly #loop: PollLoop
  readonly #file: SnapshotFile
  readonly #versions = new Map<string, string>()
  readonly #leftOut = new Map<string, number>()
  readonly #troubles = new Map<string, readonly string[]>()
  readonly #stopping = new AbortController()
  readonly #happened = new Set<InventorySource>()
  #sources: readonly InventorySource[] = []
  #watcher: SourceWatcher | undefined
  #snapshot: Snapshot | undefined
  #isDirty = false
  #slowAtMs = Number.NEGATIVE_INFINITY
  #readMs = 0
  #turn: Promise<void> = Promise.resolve()
  #settling: Promise<void> | undefined

  constructor(deps: InventoryDeps, config: Static<typeof InventoryConfig>) {
    this.#deps = deps
    this.#config = config
    this.#file = new SnapshotFile(deps.stateFolder)
    const everyS = Math.min(config.change_check_s, config.fast_check_s)
    this.#loop = new PollLoop(deps.clock, everyS * 1_000, () => this.#inTurn(() => this.#lookAtDue()))
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.inventory.enabled is false')
    if (this.#deps.platform !== 'linux') return ok()
    const etc = join(this.#deps.root, 'etc')
    return existsSync(etc) ? ok() : refuse('missing_source', `${etc} does not exist`)
  }

  async start(emit: Emit): Promise<void> {
    this.#sources = inventorySources(this.#deps, this.#config)
    this.#out.open(emit)
    this.#watcher = new SourceWatcher(this.#deps.root, this.#sources, (source) => this.#sawChange(source))
    this.#watcher.arm()
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    this.#stopping.abort()
    this.#watcher?.close()
    await this.#loop.stop()
    await this.#settling
    await this.#turn
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    const troubles = [...this.#troubles].map(([name, why]) => `${name}: ${why.join(', ')}`)
    if (this.#loop.trouble !== undefined) troubles.push(this.#loop.trouble)
    if (this.#deps.platform !== 'linux') troubles.push('only the host itself is read on this system')
    return troubles.length > 0
      ? this.#out.health('degraded', troubles.join('; '))
      : this.#out.health('running', undefined)
  }

  /** One look at a time: a source must not be compared with what it was before the look before. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work)
    this.#turn = turn.catch(() => undefined)
    return turn
  }

  #sawChange(source: InventorySource): void {
    this.#happened.add(source)
    this.#settling ??= this.#settle().finally(() => {
      this.#settling = undefined
      const [again] = this.#happened
      if (again && this.#out.isOpen) this.#sawChange(again)
    })
  }

  async #settle(): Promise<void> {
    try {
      await this.#deps.clock.sleep(Math.max(SETTLE_MS, this.#readMs / READ_DUTY), this.#stopping.signal)
    } catch {
      return // stopped
    }
    await this.#inTurn(async () => {
      const sources = [...this.#happened]
      this.#happened.clear()
      // Before the first telling there is nothing that could differ.
      if (!this.#snapshot) return
      for (const source of sources) await this.#lookAt(source)
      await this.#save()
    }).catch((error: unknown) => this.#troubles.set('inventory', [reasonOf(error)]))
  }

  async #lookAtDue(): Promise<void> {
    if (!this.#out.isOpen) return
    const snapshot = (this.#snapshot ??= await this.#readSnapshot())
    if (this.#isWholeDue(snapshot)) await this.#tellWhole(snapshot)
    else {
      const nowMs = this.#deps.clock.monotonic()
      const isSlowDue = nowMs - this.#slowAtMs >= this.#config.change_check_s * 1_000
      if (isSlowDue) {
        this.#slowAtMs = nowMs
        this.#watcher?.rearm()
      }
      for (const source of this.#sources) if (source.fast || isSlowDue) await this.#lookAt(source)
    }
    await this.#save()
  }

  async #readSnapshot(): Promise<Snapshot> {
    const { snapshot, why } = await this.#file.read()
    if (why !== undefined) this.#troubles.set('snapshot', [`${why}; everything is told again`])
    return snapshot
  }

  /** Also for a source that was never told, and after the clock was set back. */
  #isWholeDue({ wholeAtMs, sources }: Snapshot): boolean {
    const sinceMs = this.#deps.clock.now() - wholeAtMs
    if (sinceMs < -HOUR_MS || sinceMs >= this.#config.interval_h * HOUR_MS) return true
    return this.#sources.some(({ name }) => !sources.has(name))
  }

  async #tellWhole(snapshot: Snapshot): Promise<void> {
    const id = uuidv7(this.#deps.clock.now())
    for (const kind of new Set(this.#sources.map((source) => source.kind))) {
      let items = 0
      const troubles: string[] = []
      for (const source of this.#sources.filter((one) => one.kind === kind)) {
        const read = await this.#lookAt(source, true)
        troubles.push(...(this.#troubles.get(source.name) ?? []))
        items += await this.#tellPresent(kind, source, read, id)
      }
      if (!this.#out.isOpen) return
      this.#tell(completeEvent(kind, { snapshot: id, items, troubles }))
    }
    snapshot.wholeAtMs = this.#deps.clock.now()
    this.#slowAtMs = this.#deps.clock.monotonic()
    this.#isDirty = true
  }

  /** Also what could not be found again because not all could be read: nobody said that it is gone. */
  async #tellPresent(
    kind: InventoryKind,
    source: InventorySource,
    read: ReadonlyMap<string, Item>,
    id: string,
  ): Promise<number> {
    const known = this.#snapshot?.sources.get(source.name) ?? new Map()
    let n = 0
    for (const [key, { label, facts }] of known) {
      if (!this.#out.isOpen) return n
      this.#tell(itemEvent(kind, 'present', read.get(key) ?? { key, label, facts }, { snapshot: id }))
      if (++n % TOLD_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    return n
  }

  /** Tells what differs; a source that cannot be read now is tried again at the next look, and hides no other. */
  async #lookAt(source: InventorySource, isWhole = false): Promise<ReadonlyMap<string, Item>> {
    const none = new Map<string, Item>()
    if (!this.#out.isOpen || !this.#snapshot) return none
    const { name } = source
    try {
      const version = await source.version()
      if (!isWhole && version === this.#versions.get(name)) return none
      const startedMs = this.#deps.clock.monotonic()
      const reading = version === '' ? { items: [], troubles: [] } : await source.read()
      this.#readMs = this.#deps.clock.monotonic() - startedMs
      this.#versions.set(name, version)
      if (reading.troubles.length > 0) this.#troubles.set(name, reading.troubles)
      else this.#troubles.delete(name)
      this.#take(source, reading)
      return new Map(reading.items.map((item) => [item.key, item]))
    } catch (error) {
      this.#troubles.set(name, [reasonOf(error).slice(0, 200)])
      this.#versions.delete(name)
      if (!this.#snapshot.sources.has(name)) this.#snapshot.sources.set(name, new Map())
      return none
    }
  }

  #take(source: InventorySource, { items, troubles, leftOut = 0 }: Reading): void {
    if (!this.#snapshot || !this.#out.isOpen) return
    const before = this.#snapshot.sources.get(source.name)
    const now = knownOf(items)
    const after = before && troubles.length > 0 ? new Map([...before, ...now]) : now
    this.#out.lost('inventory', leftOut - (this.#leftOut.get(source.name) ?? 0))
    this.#leftOut.set(source.name, leftOut)
    if (before && this.#tellDifferences(source.kind, before, after, items)) this.#isDirty = true
    this.#snapshot.sources.set(source.name, after)
  }

  #tellDifferences(kind: InventoryKind, before: Known, after: Known, items: readonly Item[]): boolean {
    let isDifferent = false
    const tell = (change: Change, item: Item, was?: Item['facts']) => {
      isDifferent = true
      this.#tell(itemEvent(kind, change, item, { before: was }))
    }
    for (const item of items) {
      const earlier = before.get(item.key)
      if (!earlier) tell('added', item)
      else if (JSON.stringify(earlier.facts) !== JSON.stringify(item.facts)) tell('changed', item, earlier.facts)
    }
    for (const [key, { label, facts }] of before) if (!after.has(key)) tell('removed', { key, label, facts })
    return isDifferent
  }

  #tell(event: Omit<Event, '@timestamp' | 'host'>): void {
    const at = new Date(this.#deps.clock.now()).toISOString()
    const isHost = event.firebreak?.inventory?.kind === 'host'
    this.#out.event({
      '@timestamp': at,
      host: isHost ? hostFields(this.#deps) : { name: this.#deps.hostName },
      ...event,
    })
  }

  async #save(): Promise<void> {
    if (!this.#isDirty || !this.#snapshot) return
    try {
      await this.#file.write(this.#snapshot)
      this.#isDirty = false
      this.#troubles.delete('snapshot')
    } catch (error) {
      this.#troubles.set('snapshot', [`it cannot be written: ${reasonOf(error)}`])
    }
  }
}

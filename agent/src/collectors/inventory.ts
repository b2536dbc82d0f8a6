/** System, packages, accounts, groups and listening ports: all of it at the start, then differences when a source changed, and at least daily. */
import os from 'node:os'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Event } from '@firebreak/shared/events/event.ts'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { hostAddresses, osTypeOf } from '../facts/host-facts.ts'
import { readOsRelease } from '../facts/os-release.ts'
import { AccountNames, readAccounts, readGroups, versionOf } from './accounts.ts'
import type { Blindness, Collector, CollectorHealth, Emit } from './collector.ts'
import type { InventoryConfig } from './collectors-config.ts'
import { EmitTally } from './emit-tally.ts'
import {
  type Change,
  type Item,
  accountItem,
  groupItem,
  hostItem,
  listeningItem,
  packageItem,
} from './inventory-events.ts'
import { readListeningPorts } from './listening-ports.ts'
import { packageSources } from './packages.ts'
import { PollLoop } from './poll-loop.ts'
import { present } from './present.ts'
import { ProcessLookup } from './process-lookup.ts'

const HOUR_MS = 3_600_000
/** Accounts, groups or ports told at most; packages have a limit of their own. */
const MAX_ITEMS = 10_000

export interface InventoryDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  readonly procRoot: string
  readonly root: string
}

interface Source {
  readonly name: string
  readonly limit: number
  /** Changes when it must be read again; always another one when only reading tells. */
  version(): string
  read(): Promise<readonly Item[]>
}

export function createInventoryCollector(deps: InventoryDeps, config: Static<typeof InventoryConfig>): Collector {
  return new InventoryCollector(deps, config)
}

class InventoryCollector implements Collector {
  readonly name = 'inventory'
  readonly classes = ['inventory'] as const
  readonly #deps: InventoryDeps
  readonly #config: Static<typeof InventoryConfig>
  readonly #out = new EmitTally()
  readonly #loop: PollLoop
  readonly #versions = new Map<string, string>()
  readonly #items = new Map<string, ReadonlyMap<string, Item>>()
  readonly #troubles = new Map<string, string>()
  #sources: readonly Source[] = []
  #looks = 0
  #wholeAtMs = Number.NEGATIVE_INFINITY

  constructor(deps: InventoryDeps, config: Static<typeof InventoryConfig>) {
    this.#deps = deps
    this.#config = config
    this.#loop = new PollLoop(deps.clock, config.change_check_s * 1_000, (signal) => this.#look(signal))
  }

  async canRun(): Promise<Result<void, Blindness>> {
    if (!this.#config.enabled) return refuse('switched_off', 'collectors.inventory.enabled is false')
    if (this.#deps.platform !== 'linux') return ok()
    return existsSync(join(this.#deps.root, 'etc'))
      ? ok()
      : refuse('missing_source', `${join(this.#deps.root, 'etc')} does not exist`)
  }

  async start(emit: Emit): Promise<void> {
    this.#sources = this.#makeSources()
    this.#out.open(emit)
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#out.close()
    await this.#loop.stop()
  }

  health(): CollectorHealth {
    if (!this.#out.isOpen) return this.#out.health('off', 'not started')
    const troubles = [...this.#troubles].map(([name, why]) => `${name}: ${why}`)
    if (this.#loop.trouble !== undefined) troubles.push(this.#loop.trouble)
    if (this.#deps.platform !== 'linux') troubles.push('packages, groups and ports are not read on this system')
    return troubles.length > 0
      ? this.#out.health('degraded', troubles.join('; '))
      : this.#out.health('running', undefined)
  }

  #makeSources(): Source[] {
    const { platform, root, procRoot, clock } = this.#deps
    const host: Source = {
      name: 'host',
      limit: 1,
      version: () => JSON.stringify(this.#host()),
      read: async () => [hostItem(this.#host())],
    }
    if (platform !== 'linux') return [host]
    const passwd = join(root, 'etc/passwd')
    const group = join(root, 'etc/group')
    const processes = new ProcessLookup(clock, new AccountNames(clock, root), procRoot)
    return [
      host,
      ...packageSources(root).map((source) => ({
        name: source.type,
        limit: this.#config.max_packages,
        version: () => source.version(),
        read: async () => (source.version() === '' ? [] : (await source.read()).map(packageItem)),
      })),
      {
        name: 'accounts',
        limit: MAX_ITEMS,
        version: () => versionOf(passwd),
        read: async () => readAccounts(passwd).map(accountItem),
      },
      {
        name: 'groups',
        limit: MAX_ITEMS,
        version: () => versionOf(group),
        read: async () => readGroups(group).map(groupItem),
      },
      {
        name: 'ports',
        limit: MAX_ITEMS,
        version: () => `look ${this.#looks}`,
        read: async () => readListeningPorts(procRoot, processes).map(listeningItem),
      },
    ]
  }

  async #look(signal: AbortSignal): Promise<void> {
    this.#looks += 1
    const nowMs = this.#deps.clock.monotonic()
    const isWhole = nowMs - this.#wholeAtMs >= this.#config.interval_h * HOUR_MS
    if (isWhole) this.#wholeAtMs = nowMs
    for (const source of this.#sources) {
      if (signal.aborted) return
      try {
        await this.#lookAt(source, isWhole)
        this.#troubles.delete(source.name)
      } catch (error) {
        // The others are still told; this one is tried again at the next look.
        this.#troubles.set(source.name, reasonOf(error).slice(0, 200))
        this.#versions.delete(source.name)
      }
    }
  }

  async #lookAt(source: Source, isWhole: boolean): Promise<void> {
    const version = source.version()
    if (!isWhole && version === this.#versions.get(source.name)) return
    const all = await source.read()
    this.#versions.set(source.name, version)
    const kept = new Map(all.slice(0, source.limit).map((item) => [item.key, item]))
    const before = this.#items.get(source.name)
    this.#items.set(source.name, kept)
    if (!before) {
      this.#out.lost('inventory', Math.max(0, all.length - source.limit))
      for (const item of kept.values()) this.#tell(item, 'present')
      return
    }
    this.#tellDifferences(before, kept)
    // Once a day the host is told again, so that its uptime and addresses are never older.
    if (isWhole && source.name === 'host') for (const item of kept.values()) this.#tell(item, 'present')
  }

  #tellDifferences(before: ReadonlyMap<string, Item>, after: ReadonlyMap<string, Item>): void {
    for (const [key, item] of after) {
      const earlier = before.get(key)
      if (!earlier) this.#tell(item, 'added')
      else if (earlier.value !== item.value) this.#tell(item, 'changed')
    }
    for (const [key, item] of before) if (!after.has(key)) this.#tell(item, 'removed')
  }

  #tell(item: Item, change: Change): void {
    const at = new Date(this.#deps.clock.now()).toISOString()
    const host =
      item.key === 'host' ? { ...this.#host(), uptime: Math.trunc(os.uptime()) } : { name: this.#deps.hostName }
    this.#out.event({ '@timestamp': at, host, ...item.event(change) })
  }

  /** Without the uptime, which is another at each look. */
  #host(): NonNullable<Event['host']> {
    const { platform, root, procRoot } = this.#deps
    const release = platform === 'linux' ? readOsRelease(root) : { name: os.version(), version: os.release() }
    const bootId = platform === 'linux' ? readOptional(`${procRoot}/sys/kernel/random/boot_id`) : undefined
    return {
      name: this.#deps.hostName,
      hostname: os.hostname(),
      ip: hostAddresses(),
      os: {
        type: osTypeOf(platform),
        kernel: os.release(),
        ...present({ name: release.name, version: release.version }),
      },
      architecture: os.machine(),
      ...present({ boot: bootId === undefined ? undefined : { id: bootId } }),
    }
  }
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}

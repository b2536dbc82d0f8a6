/** The table of all sources; `agent.ts` alone imports it, asks each `canRun` and supervises. */
import os from 'node:os'
import type { Clock } from '@firebreak/shared/clock.ts'
import type { Collector } from './collector.ts'
import type { CollectorsConfig } from './collectors-config.ts'
import { createFileCollector } from './file.ts'
import { createInventoryCollector } from './inventory.ts'
import { createLoginsCollector } from './logins.ts'
import { createNetworkCollector } from './network.ts'
import { createPortableProcessCollector } from './process-portable.ts'
import { createProcessCollector } from './process.ts'

export interface CollectorDeps {
  readonly clock: Clock
  /** `host.name` of every event. */
  readonly hostName?: string
  /** Where a source may keep its place over a restart of the agent; left out: it begins with what is new. */
  readonly stateFolder?: string
  readonly platform?: NodeJS.Platform
  /** The host's own /proc and / where the agent sees them elsewhere, as in tests and sidecars. */
  readonly procRoot?: string
  readonly root?: string
  readonly journalctl?: string
}

export function createCollectors(deps: CollectorDeps, config: CollectorsConfig): readonly Collector[] {
  const {
    clock,
    hostName = os.hostname(),
    platform = process.platform,
    root = '/',
    procRoot = '/proc',
    journalctl = 'journalctl',
    stateFolder,
  } = deps
  return [
    createProcessCollector({ clock, hostName, platform, procRoot, root }, config.process),
    createPortableProcessCollector({ clock, hostName, platform }, config.process),
    createFileCollector({ clock, hostName, root }, config.file),
    createNetworkCollector({ clock, hostName, platform, procRoot, root }, config.network),
    createLoginsCollector(
      { clock, hostName, root, architecture: process.arch, journalctl, stateFolder },
      config.logins,
    ),
    createInventoryCollector({ clock, hostName, platform, procRoot, root }, config.inventory),
  ]
}

/** The table of all sources; `agent.ts` alone imports it, asks each `canRun` and supervises. */
import { statSync } from 'node:fs'
import os from 'node:os'
import type { Clock } from '@firebreak/shared/clock.ts'
import { createAuditCollector } from './audit.ts'
import type { Collector } from './collector.ts'
import type { CollectorsConfig } from './collectors-config.ts'
import { createFileCollector } from './file.ts'
import { createInventoryCollector } from './inventory.ts'
import { createLoginsCollector } from './logins.ts'
import { createNetworkCollector } from './network.ts'
import { createPortableProcessCollector } from './process-portable.ts'
import { ExecutableIdentities } from './executable-identities.ts'
import { createKernelCollector } from './kernel/kernel-collector.ts'
import type { SensorTiming } from './kernel/sensor-process.ts'
import { createPackageOwners } from './package-owners.ts'
import { ProcessTable } from './process-table.ts'
import { createProcessCollector } from './process.ts'
import { Sources } from './sources.ts'

export interface CollectorDeps {
  readonly clock: Clock
  /** Who speaks for which class; the status shows it. */
  readonly sources?: Sources
  /** `host.name` of every event. */
  readonly hostName?: string
  /** Where a source may keep its place over a restart of the agent; left out: it begins with what is new. */
  readonly stateFolder?: string
  readonly platform?: NodeJS.Platform
  /** The host's own /proc and / where the agent sees them elsewhere, as in tests and sidecars. */
  readonly procRoot?: string
  readonly root?: string
  readonly journalctl?: string
  /** Shorter in tests. */
  readonly sensorTiming?: Partial<SensorTiming>
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
    sources = new Sources(clock),
  } = deps
  const table = new ProcessTable({ clock, procRoot, root })
  const mountNamespace = mountNamespaceOf(procRoot)
  const executables = new ExecutableIdentities(
    { clock, owners: createPackageOwners(root), mountNamespace },
    { max_bytes: config.process.hash_max_bytes, bytes_per_s: config.process.hash_bytes_per_s },
  )
  const processes = { table, executables, sources }
  return [
    createKernelCollector(
      { clock, hostName, platform, root, mountNamespace, timing: deps.sensorTiming, ...processes },
      config,
    ),
    createAuditCollector({ clock, hostName, platform, root, ...processes }, config.audit),
    createProcessCollector({ clock, hostName, platform, ...processes }, config.process),
    createPortableProcessCollector({ clock, hostName, platform }, config.process),
    createFileCollector({ clock, hostName, root, sources }, config.file),
    createNetworkCollector({ clock, hostName, platform, procRoot, root, sources }, config.network),
    createLoginsCollector(
      { clock, hostName, root, architecture: process.arch, journalctl, stateFolder },
      config.logins,
    ),
    createInventoryCollector({ clock, hostName, platform, procRoot, root, stateFolder }, config.inventory),
  ]
}

/** Inode number of the agent's own mount namespace; undefined where there are none. */
function mountNamespaceOf(procRoot: string): number | undefined {
  try {
    return statSync(`${procRoot}/self/ns/mnt`).ino
  } catch {
    return undefined
  }
}

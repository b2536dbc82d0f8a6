/** The table of everything that an inventory is read from. */
import type { Static } from 'typebox'
import type { Clock } from '@firebreak/shared/clock.ts'
import { AccountNames } from '../accounts.ts'
import type { InventoryConfig } from '../collectors-config.ts'
import { ProcessLookup } from '../process-lookup.ts'
import { apkSource } from './apk.ts'
import { containersSource } from './containers.ts'
import { cronJobsSource } from './cron-jobs.ts'
import { dpkgSource } from './dpkg.ts'
import { groupsSource } from './groups.ts'
import { hostSource } from './host.ts'
import { modulesSource } from './modules.ts'
import { mountsSource } from './mounts.ts'
import { npmSource } from './npm.ts'
import { portsSource } from './ports.ts'
import { pythonSource } from './python-sites.ts'
import { rpmSource } from './rpm.ts'
import type { InventorySource } from './source.ts'
import { sshKeysSource } from './ssh-keys.ts'
import { sudoersSource } from './sudoers.ts'
import { unitsSource } from './units.ts'
import { usersSource } from './users.ts'

/** Items of one source at most; packages have a limit of their own. */
const MAX_ITEMS = 10_000

export interface SourcesDeps {
  readonly clock: Clock
  readonly hostName: string
  readonly platform: NodeJS.Platform
  readonly procRoot: string
  readonly root: string
}

export function inventorySources(
  deps: SourcesDeps,
  config: Static<typeof InventoryConfig>,
): readonly InventorySource[] {
  const host = hostSource(deps)
  if (deps.platform !== 'linux') return [host]
  const { clock, root, procRoot } = deps
  const processes = () => new ProcessLookup(clock, new AccountNames(clock, root), procRoot)
  return [
    host,
    usersSource(deps, MAX_ITEMS),
    groupsSource(deps, MAX_ITEMS),
    sudoersSource(deps, MAX_ITEMS),
    sshKeysSource(deps, MAX_ITEMS),
    portsSource(procRoot, processes(), MAX_ITEMS),
    modulesSource(procRoot, MAX_ITEMS),
    mountsSource(procRoot, MAX_ITEMS),
    unitsSource(deps, MAX_ITEMS),
    cronJobsSource(deps, MAX_ITEMS),
    containersSource(deps, MAX_ITEMS),
    dpkgSource(deps, config.max_packages),
    rpmSource(deps, config.max_packages),
    apkSource(deps, config.max_packages),
    npmSource(deps, config.npm_sites, config.max_packages),
    pythonSource(deps, config.python_sites, config.max_packages),
  ]
}

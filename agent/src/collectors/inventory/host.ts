/** The system itself: distribution, kernel, addresses, the running boot. */
import os from 'node:os'
import type { Event } from '@firebreak/shared/events/event.ts'
import { hostAddresses, osTypeOf } from '../../facts/host-facts.ts'
import { readOsRelease } from '../../facts/os-release.ts'
import { readBootId } from '../../platform/linux/process-identity.ts'
import { present } from '../present.ts'
import type { InventorySource, Roots } from './source.ts'

export interface HostSource extends Roots {
  readonly hostName: string
  readonly platform: NodeJS.Platform
}

export function hostSource(of: HostSource): InventorySource {
  return {
    name: 'host',
    kind: 'host',
    watch: ['/etc/os-release', '/etc/hostname'],
    version: () => JSON.stringify(hostFields(of)),
    async read() {
      const { hostname = '', ip, os: system, architecture, boot } = hostFields(of)
      const facts = present({
        hostname,
        os_type: system?.type,
        os_name: system?.name,
        os_version: system?.version,
        kernel: system?.kernel,
        architecture,
        addresses: ip,
        boot_id: boot?.id,
      })
      const label = [hostname, system?.name, system?.version, system?.kernel].filter(Boolean).join(' ')
      return { items: [{ key: 'host', label, facts, loose: { uptime_s: Math.trunc(os.uptime()) } }], troubles: [] }
    },
  }
}

/** ECS host.*, without the uptime, which is another at each look. */
export function hostFields({ hostName, platform, root, procRoot }: HostSource): NonNullable<Event['host']> {
  const release = platform === 'linux' ? readOsRelease(root) : { name: os.version(), version: os.release() }
  return {
    name: hostName,
    hostname: os.hostname(),
    ip: hostAddresses(),
    os: {
      type: osTypeOf(platform),
      kernel: os.release(),
      ...present({ name: release.name, version: release.version }),
    },
    architecture: os.machine(),
    ...present({ boot: bootOf(platform, procRoot) }),
  }
}

function bootOf(platform: NodeJS.Platform, procRoot: string): { id: string } | undefined {
  if (platform !== 'linux') return undefined
  try {
    return { id: readBootId(procRoot) }
  } catch {
    return undefined
  }
}

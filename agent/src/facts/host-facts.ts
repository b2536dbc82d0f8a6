/** What lets a person recognise a host, for enrolment and hello; never its identity. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import type { HostFacts } from '@firebreak/shared/wire/messages.ts'
import { AGENT_VERSION } from '../identity/version.ts'
import { readOsRelease } from './os-release.ts'

const MAX_ADDRESSES = 64
/** A hello must stay below 4 KiB, so not every address of a container host is told in it. */
const MAX_TOLD_ADDRESSES = 16

export interface HostFactsSource {
  readonly platform?: NodeJS.Platform
  /** Where the host's /etc is; another root in tests. */
  readonly root?: string
  readonly interfaces?: ReturnType<typeof os.networkInterfaces>
}

export function readHostFacts({
  platform = process.platform,
  root = '/',
  interfaces,
}: HostFactsSource = {}): HostFacts {
  const release = platform === 'linux' ? readOsRelease(root) : { name: os.version(), version: os.release() }
  const machineId = readMachineId(root)
  return {
    hostname: os.hostname().slice(0, 255),
    os: osTypeOf(platform),
    kernel: os.release().slice(0, 128),
    architecture: os.machine().slice(0, 32),
    addresses: hostAddresses(interfaces).slice(0, MAX_TOLD_ADDRESSES),
    agent_version: AGENT_VERSION,
    ...(release.name === undefined ? {} : { os_name: release.name.slice(0, 128) }),
    ...(release.version === undefined ? {} : { os_version: release.version.slice(0, 128) }),
    // The id itself is confidential (machine-id(5)); a digest of our own is enough to see two agents on one machine.
    ...(machineId === undefined
      ? {}
      : { machine_id_sha256: createHash('sha256').update(`firebreak:${machineId}`).digest('hex') }),
  }
}

/** ECS host.os.type. */
export function osTypeOf(platform: NodeJS.Platform): string {
  if (platform === 'win32') return 'windows'
  return platform === 'darwin' ? 'macos' : platform
}

/** Addresses under which others may know the host: no loopback; link-local ones last. */
export function hostAddresses(interfaces: ReturnType<typeof os.networkInterfaces> = os.networkInterfaces()): string[] {
  const addresses = Object.values(interfaces)
    .flatMap((addresses) => addresses ?? [])
    .filter((address) => !address.internal)
    .map((address) => address.address.slice(0, 64))
  const isLinkLocal = (address: string) => /^(?:fe80:|169\.254\.)/i.test(address)
  const ordered = [...addresses.filter((a) => !isLinkLocal(a)), ...addresses.filter(isLinkLocal)]
  return [...new Set(ordered)].slice(0, MAX_ADDRESSES)
}

function readMachineId(root: string): string | undefined {
  try {
    const id = readFileSync(join(root, 'etc/machine-id'), 'latin1').trim()
    return /^[0-9a-f]{32}$/.test(id) ? id : undefined
  } catch {
    // Other systems, and images that have not booted yet, have none.
    return undefined
  }
}

/** What helps a person to recognise this host. Never its identity. */
import { createHash } from 'node:crypto'
import { arch, hostname, networkInterfaces, release, type } from 'node:os'
import type { HostFacts } from '@firebreak/shared/wire/messages.ts'
import { readIfThere } from '../disk/atomic-file.ts'
import { AGENT_VERSION } from './version.ts'

/** A hello must stay below 4 KiB, so not every address of a container host is told. */
const MAX_ADDRESSES = 16
const SYSTEMS: Readonly<Record<string, string>> = { Linux: 'linux', Windows_NT: 'windows', Darwin: 'macos' }

export function readHostFacts(): HostFacts {
  const release_ = osRelease()
  const machineId = readIfThere('/etc/machine-id')?.toString('latin1').trim()
  return {
    hostname: hostname().slice(0, 255),
    os: SYSTEMS[type()] ?? type().slice(0, 64),
    ...(release_.name === undefined ? {} : { os_name: release_.name }),
    ...(release_.version === undefined ? {} : { os_version: release_.version }),
    kernel: release().slice(0, 128),
    architecture: arch(),
    addresses: addresses(),
    // The id itself is confidential (machine-id(5)); its digest is enough to see two agents on one machine.
    ...(machineId ? { machine_id_sha256: createHash('sha256').update(`firebreak:${machineId}`).digest('hex') } : {}),
    agent_version: AGENT_VERSION,
  }
}

function addresses(): string[] {
  return Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
    .map(({ address }) => address)
    .slice(0, MAX_ADDRESSES)
}

/** os-release(5). */
function osRelease(): { readonly name: string | undefined; readonly version: string | undefined } {
  const text = (readIfThere('/etc/os-release') ?? readIfThere('/usr/lib/os-release'))?.toString('utf8') ?? ''
  const field = (name: string) =>
    new RegExp(`^${name}=["']?([^"'\\n]*)["']?$`, 'm').exec(text)?.[1]?.slice(0, 128) || undefined
  return { name: field('NAME'), version: field('VERSION_ID') }
}

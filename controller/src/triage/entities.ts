/** What an event is about, and by what of it two alerts can belong together. */
import { isIP } from 'node:net'
import type { Event } from '@firebreak/shared/events/event.ts'
import type { Entities } from './index.ts'

/** Members of one list at most; an alert of ten thousand processes is told by its first ones. */
export const MAX_ENTITIES = 64
const MAX_ADDRESSES_IN_TEXT = 8

export const NO_ENTITIES: Entities = { processes: [], users: [], hashes: [], addresses: [], files: [] }

/**
 * Ancestors of everything: a shared one ties nothing together. Service managers, container shims and the daemons that start
 * sessions for unrelated people.
 */
const ROOT_PROCESSES = new Set([
  'systemd',
  'init',
  'kthreadd',
  'sshd',
  'cron',
  'crond',
  'atd',
  'login',
  'containerd-shim',
  'containerd-shim-runc-v2',
  'dockerd',
  'containerd',
  'runc',
  'systemd-nspawn',
  'gdm',
  'services.exe',
  'wininit.exe',
  'explorer.exe',
  'launchd',
])
/** Files that are the same on every host: their hash says nothing about an attack. */
const DISTRIBUTION = /^\/(usr\/)?(s?bin|lib(32|64|exec)?)\/|^\/snap\/|^[a-z]:\\windows\\/i
const IPV4_IN_TEXT = /(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])/g

export function entitiesOf(event: Event): Entities {
  const { process } = event
  const processes = [
    process && lineageMember(process),
    process?.parent && lineageMember(process.parent),
    ...(process?.ancestors ?? []).map(lineageMember),
  ]
  const hashes = [
    isDistribution(process?.executable) ? undefined : process?.hash?.sha256,
    isDistribution(event.file?.path) ? undefined : event.file?.hash?.sha256,
  ]
  const addresses = [event.source?.ip, event.destination?.ip, ...addressesIn(process?.command_line ?? '')].filter(
    (address) => address !== undefined && isTelling(address),
  )
  return {
    processes: distinct(processes),
    users: distinct([event.user?.name, process?.user?.name, process?.user?.effective?.name]),
    hashes: distinct(hashes),
    addresses: distinct(addresses),
    files: distinct([event.file?.path, event.file?.previous?.path, process?.executable]),
  }
}

export function mergeEntities(first: Entities, second: Entities): Entities {
  return {
    processes: distinct([...first.processes, ...second.processes]),
    users: distinct([...first.users, ...second.users]),
    hashes: distinct([...first.hashes, ...second.hashes]),
    addresses: distinct([...first.addresses, ...second.addresses]),
    files: distinct([...first.files, ...second.files]),
  }
}

export function sameEntities(first: Entities, second: Entities): boolean {
  return (Object.keys(NO_ENTITIES) as (keyof Entities)[]).every((kind) => first[kind].length === second[kind].length)
}

/** Accounts that every host has and many programs share are no tie between two alerts. */
export function isPersonal(user: string): boolean {
  return user !== 'root' && user !== 'nobody' && user !== 'SYSTEM' && !user.startsWith('systemd-')
}

function lineageMember(process: {
  readonly entity_id?: string
  readonly name?: string
  readonly pid?: number
}): string | undefined {
  if (process.pid === 1 || ROOT_PROCESSES.has(process.name ?? '')) return undefined
  return process.entity_id
}

function isDistribution(path: string | undefined): boolean {
  return path !== undefined && DISTRIBUTION.test(path)
}

function addressesIn(text: string): string[] {
  return (text.match(IPV4_IN_TEXT) ?? []).filter((address) => isIP(address) === 4).slice(0, MAX_ADDRESSES_IN_TEXT)
}

/** Loopback, unspecified, link-local, multicast and broadcast addresses mean another thing on each host (RFC 6890). */
function isTelling(address: string): boolean {
  if (isIP(address) === 4) {
    const [first = 0, second = 0] = address.split('.').map(Number)
    return first !== 0 && first !== 127 && first < 224 && !(first === 169 && second === 254)
  }
  const lower = address.toLowerCase()
  return isIP(address) === 6 && lower !== '::' && lower !== '::1' && !/^(fe[89ab]|ff)/.test(lower)
}

function distinct(values: readonly (string | undefined)[]): string[] {
  const found = new Set<string>()
  for (const value of values) {
    if (value !== undefined && value !== '') found.add(value)
    if (found.size === MAX_ENTITIES) break
  }
  return [...found]
}

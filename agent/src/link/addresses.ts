/** Where controllers are. Remembers the last answers of DNS on disk, since a host that is cut off must find its controller without it. */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { reasonOf } from '@firebreak/shared/result.ts'
import { readIfThere, writeAtomic } from '../disk/atomic-file.ts'
import type { Log } from '../log.ts'
import type { ControllerAddress } from './controller-link.ts'
import { LINK_LOG } from './log-names.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** `host:port`, `[v6]:port` or a URL; `undefined` when it is none of these. */
export function parseHostPort(text: string): HostPort | undefined {
  const url = URL.parse(text.includes('://') ? text.replace(/^wss:/, 'https:') : `https://${text}`)
  if (url?.protocol !== 'https:' || url.hostname === '') return undefined
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: url.port === '' ? 443 : Number(url.port) }
}

/** An IPv4 address that came over an IPv6 socket, as IPv4 (RFC 4291, 2.5.5.2). */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}

export interface AddressBook {
  /** Every address of a name; the last known ones when DNS does not answer. Never throws. */
  resolve(target: HostPort): Promise<readonly ControllerAddress[]>
}

type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>
const LOOKUP_MS = 3_000
const MAX_ADDRESSES = 32

export function openAddressBook(deps: {
  readonly log: Log
  readonly stateDir: string
  readonly lookup?: Lookup
}): AddressBook {
  const path = join(deps.stateDir, 'addresses.json')
  const known = readBook(path)
  const ask: Lookup = deps.lookup ?? ((host) => lookup(host, { all: true, verbatim: true }))
  return {
    async resolve({ host, port }) {
      if (isIP(host) !== 0) return [{ ip: host, port }]
      try {
        const found = (await within(ask(host), LOOKUP_MS))
          .map(({ address }) => plainAddress(address))
          .slice(0, MAX_ADDRESSES)
        const before = known.get(host)
        if (found.length > 0 && before?.join() !== found.join()) {
          known.set(host, found)
          writeAtomic(path, JSON.stringify(Object.fromEntries(known)))
        }
      } catch (thrown) {
        deps.log.warn(LINK_LOG.resolveFailed, { host, reason: reasonOf(thrown), remembered: known.has(host) })
      }
      return (known.get(host) ?? []).map((ip) => ({ ip, port }))
    },
  }
}

function readBook(path: string): Map<string, readonly string[]> {
  const text = readIfThere(path)?.toString('utf8')
  if (text === undefined) return new Map()
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return new Map() // it only saves a question to DNS; the next answer writes it anew
  }
  if (typeof parsed !== 'object' || parsed === null) return new Map()
  const isList = (value: unknown): value is string[] =>
    Array.isArray(value) && value.every((ip) => typeof ip === 'string' && isIP(ip) !== 0)
  return new Map(Object.entries(parsed).filter((entry): entry is [string, string[]] => isList(entry[1])))
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Warning lists: values that an alert must never rest on alone, whatever a feed says. Asked only of hits, so a list costs the stream
 * nothing. An entry that is an address, a block or a name also covers what lies in it; a value that covers an entry (a block around
 * one's own address) is covered too.
 */
import {
  maskIpv4,
  maskIpv6,
  ipv4Of,
  ipv6Of,
  ipv4Text,
  ipv6Text,
  mappedIpv4,
} from '@firebreak/shared/indicators/address.ts'
import { domainName, type Observable } from '@firebreak/shared/indicators/observable.ts'
import type { StateStore } from '../store/state/state-store.ts'
import type { WarningList } from './feeds/warning-list.ts'
import { EMPTY_FILE, SPECIAL_BLOCKS, TOP_SITES } from './own-lists.ts'

const FLEET_FOR_MS = 60_000

export class WarningSet {
  /** Name, digest, URL, address → list. */
  readonly #exact = new Map<string, string>()
  /** Names below which everything is covered → list. */
  readonly #below = new Map<string, string>()
  /** `4/24/<masked>` → list. */
  readonly #blocks = new Map<string, string>()
  readonly #lengths4 = new Set<number>()
  readonly #lengths6 = new Set<number>()
  readonly #substrings: { readonly text: string; readonly list: string }[] = []
  readonly #regexes: { readonly test: (text: string) => boolean; readonly list: string }[] = []

  static shipped(): WarningSet {
    const set = new WarningSet()
    for (const [list, blocks] of Object.entries(SPECIAL_BLOCKS)) for (const block of blocks) set.#block(block, list)
    for (const site of TOP_SITES) set.#exact.set(site, 'top sites')
    for (const digest of EMPTY_FILE) set.#exact.set(digest, 'empty file')
    return set
  }

  add(list: WarningList): void {
    for (const { test } of list.regexes) this.#regexes.push({ test, list: list.name })
    for (const entry of list.entries) {
      const text = entry.toLowerCase()
      if (list.type === 'cidr') this.#block(text, list.name)
      else if (list.type === 'substring') this.#substrings.push({ text, list: list.name })
      else if (list.type === 'hostname') this.#below.set(domainName(text) ?? text, list.name)
      else if (!this.#block(text, list.name)) this.#exact.set(domainName(text) ?? text, list.name)
    }
  }

  ownAddress(address: string): void {
    this.#block(address, 'addresses of the fleet')
  }

  ownName(name: string): void {
    const own = domainName(name)
    if (own !== undefined) this.#below.set(own, 'names of the fleet')
  }

  /** Why the value must raise nothing by itself. `seen`: as the event says it, which may lie below or within the value. */
  of({ type, value }: Observable): string | undefined {
    switch (type) {
      case 'ipv4':
      case 'ipv6':
        return this.#covers(value, type === 'ipv4' ? 32 : 128)
      case 'cidr': {
        const [address = '', bits = ''] = value.split('/')
        return this.#covers(address, Number(bits)) ?? this.#within(address, Number(bits))
      }
      case 'url': {
        const whole = this.#text(value)
        if (whole !== undefined) return whole
        const url = URL.parse(value)
        if (!url || url.pathname !== '/' || url.search !== '') return undefined
        const host = url.hostname.replace(/^\[|\]$/g, '')
        return this.#covers(host, host.includes(':') ? 128 : 32) ?? this.#name(host)
      }
      case 'domain':
        return this.#name(value)
      case 'email':
        return this.#text(value) ?? this.#name(value.slice(value.indexOf('@') + 1))
      case 'md5':
      case 'sha1':
      case 'sha256':
      case 'ja3':
        return this.#text(value)
      default:
        throw new Error(`unhandled type ${String(type satisfies never)}`)
    }
  }

  #name(name: string): string | undefined {
    const found = this.#text(name)
    if (found !== undefined) return found
    for (let rest = name; rest !== ''; rest = rest.includes('.') ? rest.slice(rest.indexOf('.') + 1) : '') {
      const list = this.#below.get(rest)
      if (list !== undefined) return list
    }
    return undefined
  }

  #text(text: string): string | undefined {
    return (
      this.#exact.get(text) ??
      this.#substrings.find((one) => text.includes(one.text))?.list ??
      this.#regexes.find((one) => one.test(text))?.list
    )
  }

  /** `false`: it is no address and no block. */
  #block(text: string, list: string): boolean {
    const [address = '', length] = text.split('/')
    const key = blockKey(address, length === undefined ? undefined : Number(length))
    if (key === undefined) return false
    ;(key.family === 4 ? this.#lengths4 : this.#lengths6).add(key.bits)
    this.#blocks.set(key.text, list)
    return true
  }

  /** A block of a list that the whole of `address/bits` lies in. */
  #covers(address: string, bits: number): string | undefined {
    for (const length of address.includes(':') ? this.#lengths6 : this.#lengths4) {
      if (length > bits) continue
      const key = blockKey(address, length)
      const list = key && this.#blocks.get(key.text)
      if (list !== undefined) return list
    }
    return undefined
  }

  /** A block of a list that lies in `address/bits`. */
  #within(address: string, bits: number): string | undefined {
    const wanted = blockKey(address, bits)?.text
    for (const [key, list] of this.#blocks) {
      const [family = '', length = '', ...rest] = key.split('/')
      if (Number(length) < bits || (family === '4') === address.includes(':')) continue
      if (blockKey(rest.join('/'), bits)?.text === wanted) return list
    }
    return undefined
  }
}

function blockKey(
  address: string,
  bits: number | undefined,
): { text: string; family: 4 | 6; bits: number } | undefined {
  const ipv6 = ipv6Of(address)
  const mapped = ipv6 ? mappedIpv4(ipv6) : -1
  const ipv4 = mapped >= 0 ? mapped : ipv4Of(address)
  if (ipv4 >= 0) {
    const length = bits === undefined ? 32 : mapped >= 0 ? bits - 96 : bits
    if (!(length >= 0 && length <= 32)) return undefined
    return { text: `4/${length}/${ipv4Text(maskIpv4(ipv4, length))}`, family: 4, bits: length }
  }
  const length = bits ?? 128
  if (!ipv6 || !(length >= 0 && length <= 128)) return undefined
  return { text: `6/${length}/${ipv6Text(maskIpv6(ipv6, length))}`, family: 6, bits: length }
}

/** What the fleet itself is called and where it lives, asked again after a minute. */
export class FleetWarnings {
  readonly #state: Pick<StateStore, 'db'>
  readonly #monotonic: () => number
  #set = new WarningSet()
  #until = -1

  constructor(state: Pick<StateStore, 'db'>, monotonic: () => number) {
    this.#state = state
    this.#monotonic = monotonic
  }

  async current(): Promise<WarningSet> {
    if (this.#monotonic() < this.#until) return this.#set
    const hosts = await this.#state.db
      .selectFrom('hosts')
      .select(['hostname', 'facts'])
      .where('revoked_at', 'is', null)
      .execute()
    const set = new WarningSet()
    for (const { hostname, facts } of hosts) {
      set.ownName(hostname)
      const { addresses } = JSON.parse(facts) as { readonly addresses?: unknown }
      if (Array.isArray(addresses)) for (const address of addresses) set.ownAddress(String(address))
    }
    this.#set = set
    this.#until = this.#monotonic() + FLEET_FOR_MS
    return set
  }
}

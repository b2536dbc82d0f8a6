/** What an indicator names, in one spelling: however a feed writes it (defanged, in capitals, in Unicode), the same thing is the same text. */
import { domainToASCII } from 'node:url'
import { type Result, ok, refuse } from '../result.ts'
import { ipv4Of, ipv4Text, ipv6Of, ipv6Text, mappedIpv4, maskIpv4, maskIpv6 } from './address.ts'

export const OBSERVABLE_TYPES = [
  'ipv4',
  'ipv6',
  'cidr',
  'domain',
  'url',
  'md5',
  'sha1',
  'sha256',
  'ja3',
  'email',
] as const
export type ObservableType = (typeof OBSERVABLE_TYPES)[number]

export interface Observable {
  readonly type: ObservableType
  readonly value: string
}

export type ObservableRefusal = 'empty' | 'too_long' | 'unknown_form' | 'wrong_form' | 'too_wide'
export const MAX_VALUE = 2_048

const HASH_OF_LENGTH: Readonly<Record<number, ObservableType>> = { 32: 'md5', 40: 'sha1', 64: 'sha256' }
const HEX = /^[0-9a-f]+$/
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
const EMAIL = /^[^\s@<>"]{1,64}@([^\s@<>"]{3,253})$/
const SCHEME = /^[a-z][a-z0-9+.-]{1,15}:\/\//i
/** A block wider than this names a good part of the Internet, and is a mistake of the feed. */
const WIDEST = { ipv4: 8, ipv6: 19 } as const

/** Tells by the form what it is, or takes it for `type`. An address in a block of one is that address. */
export function observableOf(written: string, type?: ObservableType): Result<Observable, ObservableRefusal> {
  if (written.length > MAX_VALUE) return refuse('too_long', `longer than ${MAX_VALUE} characters`)
  const text = refang(written.trim())
  if (text === '') return refuse('empty', 'there is no value')
  const found = type === undefined ? guess(text) : normal(text, type)
  if (found) return found
  return type === undefined
    ? refuse('unknown_form', `${quoted(text)} is no address, domain, URL, hash or e-mail address`)
    : refuse('wrong_form', `${quoted(text)} is no ${type}`)
}

/** `hxxp://evil[.]example` as it was meant. */
export function refang(text: string): string {
  if (!/[[\](){}]|^h..ps?:|^fxp/i.test(text)) return text
  return text
    .replace(/^h(?:xx|\*\*|XX)p(s?)(\[?:\/\/\]?|\[:\]\/\/|:\/\/)/i, 'http$1://')
    .replace(/^fxp(s?):\/\//i, 'ftp$1://')
    .replaceAll(/\[:\/\/\]/g, '://')
    .replaceAll(/[[({]:[\])}]/g, ':')
    .replaceAll(/\s?[[({](?:\.|dot)[\])}]\s?/gi, '.')
    .replaceAll(/\s?[[({](?:@|at)[\])}]\s?/gi, '@')
}

type Found = Result<Observable, ObservableRefusal> | undefined

function guess(text: string): Found {
  if (SCHEME.test(text)) return url(text)
  if (text.includes('@')) return email(text)
  const lower = text.toLowerCase()
  const hash = HEX.test(lower) ? HASH_OF_LENGTH[lower.length] : undefined
  if (hash) return ok({ type: hash, value: lower })
  return address(text) ?? domain(text)
}

function normal(text: string, type: ObservableType): Found {
  switch (type) {
    case 'ipv4':
    case 'ipv6':
    case 'cidr':
      return address(text)
    case 'domain': {
      const found = address(text)
      return found ? undefined : domain(text)
    }
    case 'url':
      return url(SCHEME.test(text) ? text : `http://${text}`)
    case 'email':
      return email(text)
    case 'md5':
    case 'sha1':
    case 'sha256':
    case 'ja3': {
      const lower = text.toLowerCase()
      const wanted = type === 'ja3' ? 32 : Number(Object.keys(HASH_OF_LENGTH).find((n) => HASH_OF_LENGTH[+n] === type))
      return HEX.test(lower) && lower.length === wanted ? ok({ type, value: lower }) : undefined
    }
    default:
      throw new Error(`unhandled type ${String(type satisfies never)}`)
  }
}

function address(text: string): Found {
  const slash = text.indexOf('/')
  const bare = unbracketed(slash < 0 ? text : text.slice(0, slash))
  const written = slash < 0 ? undefined : text.slice(slash + 1)
  if (written !== undefined && !/^\d{1,3}$/.test(written)) return undefined
  const ipv4 = ipv4Of(bare)
  if (ipv4 >= 0) return blockOf4(ipv4, written === undefined ? 32 : Number(written))
  const ipv6 = ipv6Of(bare)
  if (!ipv6) return undefined
  const mapped = mappedIpv4(ipv6)
  const bits = written === undefined ? 128 : Number(written)
  if (mapped >= 0 && bits >= 96) return blockOf4(mapped, bits - 96)
  if (bits > 128) return undefined
  if (bits < WIDEST.ipv6) return refuse('too_wide', `${quoted(text)} is wider than /${WIDEST.ipv6}`)
  if (bits === 128) return ok({ type: 'ipv6', value: ipv6Text(ipv6) })
  return ok({ type: 'cidr', value: `${ipv6Text(maskIpv6(ipv6, bits))}/${bits}` })
}

function blockOf4(ipv4: number, bits: number): Found {
  if (bits > 32) return undefined
  if (bits < WIDEST.ipv4) return refuse('too_wide', `${ipv4Text(ipv4)}/${bits} is wider than /${WIDEST.ipv4}`)
  if (bits === 32) return ok({ type: 'ipv4', value: ipv4Text(ipv4) })
  return ok({ type: 'cidr', value: `${ipv4Text(maskIpv4(ipv4, bits))}/${bits}` })
}

function domain(text: string): Found {
  const value = domainName(text)
  return value === undefined ? undefined : ok({ type: 'domain', value })
}

/** Lower case, punycode, without the dots at its ends and a `*.` before it; `undefined` when it is none, or has one label only. */
export function domainName(text: string): string | undefined {
  if (text.length > 1_024) return undefined
  const bare = text.replace(/^\*?\./, '').replace(/\.$/, '')
  const isPlain = /^[\w.-]+$/.test(bare)
  const name = isPlain ? bare.toLowerCase() : domainToASCII(bare)
  if (name === '' || name.length > 253) return undefined
  const labels = name.split('.')
  if (labels.length < 2 || !labels.every((label) => LABEL.test(label))) return undefined
  // A last label of digits makes an address of it (RFC 1123, 2.1).
  return /^\d+$/.test(labels.at(-1) ?? '') ? undefined : name
}

function url(text: string): Found {
  const value = urlText(text)
  return value === undefined ? undefined : ok({ type: 'url', value })
}

/** Scheme, host, port where it is not the usual one, path and query as WHATWG URL writes them; no account and no fragment. */
export function urlText(text: string): string | undefined {
  const parsed = URL.parse(text)
  if (!parsed || parsed.hostname === '' || !/^(https?|ftps?|wss?|tcp|udp|ssh|ldaps?|rmi|smb):$/.test(parsed.protocol))
    return undefined
  return `${parsed.protocol}//${parsed.host.replace(/\.(?=:|$)/, '')}${parsed.pathname}${parsed.search}`
}

function email(text: string): Found {
  const bare = text.replace(/^mailto:/i, '')
  const host = EMAIL.exec(bare)?.[1]
  const name = host === undefined ? undefined : domainName(host)
  if (name === undefined) return undefined
  return ok({ type: 'email', value: `${bare.slice(0, bare.lastIndexOf('@')).toLowerCase()}@${name}` })
}

function unbracketed(text: string): string {
  return text.startsWith('[') && text.endsWith(']') ? text.slice(1, -1) : text
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text)
}

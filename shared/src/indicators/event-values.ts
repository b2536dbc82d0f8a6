/**
 * What of an event an indicator can name: addresses, names that were asked for or spoken to, digests of files, URLs, also those in
 * command lines. `isKnown` is for the reader, which asks it of every event; `knownValues` is for who makes signals of the few.
 */
import type { Event } from '../events/event.ts'
import { type Ipv6, ipv4Text, ipv6Text, maskIpv4, maskIpv6 } from './address.ts'
import type { MatchTable } from './match-table.ts'
import { type Observable, refang, urlText } from './observable.ts'

/** A value of an event whose fingerprint is in the table. */
export interface KnownValue extends Observable {
  /** ECS name of the field it stands in. */
  readonly field: string
  /** As the event says it. */
  readonly seen: string
}

type Found = (value: KnownValue) => void

export function isKnown(event: Event, table: MatchTable): boolean {
  if (table.isEmpty) return false
  return look(event, table, undefined)
}

export function knownValues(event: Event, table: MatchTable): KnownValue[] {
  const values: KnownValue[] = []
  if (!table.isEmpty) look(event, table, (value) => values.push(value))
  return values
}

/** Without `found` it is over with the first hit. */
function look(event: Event, table: MatchTable, found: Found | undefined): boolean {
  const { source, destination, dns, process, file, dll, url, tls } = event
  let any = false
  if (source?.ip !== undefined && address(table, source.ip, 'source.ip', found)) any = true
  if (destination?.ip !== undefined && address(table, destination.ip, 'destination.ip', found)) any = true
  if (any && !found) return true
  if (source?.domain !== undefined && domain(table, source.domain, 'source.domain', found)) any = true
  if (destination?.domain !== undefined && domain(table, destination.domain, 'destination.domain', found)) any = true
  if (dns !== undefined && names(dns, table, found)) any = true
  if (any && !found) return true
  if (process?.hash && hashes(process.hash, table, 'process.hash', found)) any = true
  if (process?.parent?.hash && hashes(process.parent.hash, table, 'process.parent.hash', found)) any = true
  if (file?.hash && hashes(file.hash, table, 'file.hash', found)) any = true
  if (dll?.hash && hashes(dll.hash, table, 'dll.hash', found)) any = true
  if (any && !found) return true
  if (url?.full !== undefined && wholeUrl(table, url.full, 'url.full', found)) any = true
  if (tls?.client?.ja3 !== undefined && text(table, 'ja3', tls.client.ja3, 'tls.client.ja3', found)) any = true
  if (process?.command_line?.includes('://') === true && urlsIn(process.command_line, table, found)) any = true
  return any
}

function names(dns: NonNullable<Event['dns']>, table: MatchTable, found: Found | undefined): boolean {
  let any = false
  const asked = dns.question?.name
  if (asked !== undefined && domain(table, asked, 'dns.question.name', found)) any = true
  for (const ip of dns.resolved_ip ?? []) if (address(table, ip, 'dns.resolved_ip', found)) any = true
  for (const { name, type, data } of dns.answers ?? []) {
    if (name !== undefined && name !== asked && domain(table, name, 'dns.answers.name', found)) any = true
    if (data === undefined) continue
    if (type === 'A' || type === 'AAAA') {
      if (dns.resolved_ip?.includes(data) !== true && address(table, data, 'dns.answers.data', found)) any = true
    } else if (type === 'CNAME' && domain(table, data, 'dns.answers.data', found)) any = true
  }
  return any
}

function address(table: MatchTable, seen: string, field: string, found: Found | undefined): boolean {
  if (!found) return table.hasAddress(seen)
  return table.hasAddress(seen, (bits, ipv4, ipv6) => found({ ...known(bits, ipv4, ipv6), field, seen }))
}

function known(bits: number, ipv4: number, ipv6: Ipv6 | undefined): Observable {
  if (ipv6)
    return bits === 128
      ? { type: 'ipv6', value: ipv6Text(ipv6) }
      : { type: 'cidr', value: `${ipv6Text(maskIpv6(ipv6, bits))}/${bits}` }
  return bits === 32
    ? { type: 'ipv4', value: ipv4Text(ipv4) }
    : { type: 'cidr', value: `${ipv4Text(maskIpv4(ipv4, bits))}/${bits}` }
}

function domain(table: MatchTable, seen: string, field: string, found: Found | undefined): boolean {
  if (!found) return table.hasDomain(seen)
  return table.hasDomain(seen, (from) => {
    found({ type: 'domain', value: seen.slice(from).replace(/\.$/, '').toLowerCase(), field, seen })
  })
}

function hashes(
  hash: { readonly sha256?: string; readonly sha1?: string; readonly md5?: string },
  table: MatchTable,
  field: string,
  found: Found | undefined,
): boolean {
  let any = false
  if (hash.sha256 !== undefined && text(table, 'sha256', hash.sha256, `${field}.sha256`, found)) any = true
  if (hash.sha1 !== undefined && text(table, 'sha1', hash.sha1, `${field}.sha1`, found)) any = true
  if (hash.md5 !== undefined && text(table, 'md5', hash.md5, `${field}.md5`, found)) any = true
  return any
}

function text(
  table: MatchTable,
  type: 'md5' | 'sha1' | 'sha256' | 'ja3' | 'url',
  value: string,
  field: string,
  found: Found | undefined,
): boolean {
  if (!table.hasText(type, value)) return false
  found?.({ type, value, field, seen: value })
  return true
}

/** The URL, the same without its query, and the host in it. */
function wholeUrl(table: MatchTable, seen: string, field: string, found: Found | undefined): boolean {
  const whole = urlText(refang(seen))
  if (whole === undefined) return false
  const noted: Found | undefined = found && ((value) => found({ ...value, seen }))
  let any = text(table, 'url', whole, field, noted)
  const query = whole.indexOf('?')
  if (query > 0 && text(table, 'url', whole.slice(0, query), field, noted)) any = true
  const host = new URL(whole).hostname
  const bare = host.startsWith('[') ? host.slice(1, -1) : host
  if (domain(table, bare, field, noted)) any = true
  if (address(table, bare, field, noted)) any = true
  return any
}

const URL_IN_TEXT = /[a-z][a-z0-9+.-]{1,9}:\/\/[^\s"'`<>|;\\^{}]{3,2000}/gi
const MOST_URLS = 16

function urlsIn(commandLine: string, table: MatchTable, found: Found | undefined): boolean {
  if (!table.holds('url') && !table.holds('domain') && !table.holds('ipv4') && !table.holds('cidr')) return false
  let any = false
  for (const url of (commandLine.match(URL_IN_TEXT) ?? []).slice(0, MOST_URLS)) {
    if (wholeUrl(table, url.replace(/[),.\]]+$/, ''), 'process.command_line', found)) any = true
    if (any && !found) return true
  }
  return any
}

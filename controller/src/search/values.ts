/** What a value looks like, so that "have we seen this" needs no field: a hash, an address, a domain, or the path of a program. */
import { isIP } from 'node:net'
import type { SeenKind } from '../store/telemetry/event-table.ts'

const HASH_LENGTHS = new Set([32, 40, 64])
/** Labels of letters, digits, hyphens and underscores, two at least; RFC 1035 2.3.4 for the lengths. */
const DOMAIN = /^(?=.{4,253}$)(?:[\p{L}\p{N}_](?:[\p{L}\p{N}_-]{0,61}[\p{L}\p{N}_])?\.)+[\p{L}\p{N}-]{2,63}$/u

/** `undefined`: it looks like none of them. */
export function kindOf(value: string): SeenKind | undefined {
  if (/^[0-9a-f]+$/i.test(value) && HASH_LENGTHS.has(value.length)) return 'hash'
  if (isIP(value) !== 0) return 'address'
  if (/^(\/|[a-z]:\\|\\\\)/i.test(value)) return 'executable'
  return DOMAIN.test(withoutDot(value)) ? 'domain' : undefined
}

/** A domain may end with the dot of the root. */
export function withoutDot(value: string): string {
  return value.endsWith('.') ? value.slice(0, -1) : value
}

/** Addresses as numbers, so that equal ones are equal however they are written. */

const ZERO = 48
const DOT = 46

/** -1: it is no dotted quad. Leading zeros are refused: some readers take them for octal. */
export function ipv4Of(text: string): number {
  const { length } = text
  if (length < 7 || length > 15) return -1
  let address = 0
  let part = -1
  let dots = 0
  for (let at = 0; at < length; at++) {
    const code = text.charCodeAt(at)
    if (code === DOT) {
      if (part < 0 || ++dots > 3) return -1
      address = address * 256 + part
      part = -1
      continue
    }
    const digit = code - ZERO
    if (digit < 0 || digit > 9 || part === 0) return -1
    part = part < 0 ? digit : part * 10 + digit
    if (part > 255) return -1
  }
  return dots === 3 && part >= 0 ? address * 256 + part : -1
}

/** Four words of 32 bits, the first the highest. A zone (`%eth0`) is left out. */
export type Ipv6 = readonly [number, number, number, number]

/** `undefined`: it is no IPv6 address (RFC 4291, 2.2). */
export function ipv6Of(written: string): Ipv6 | undefined {
  const zone = written.indexOf('%')
  const text = zone < 0 ? written : written.slice(0, zone)
  if (text.length < 2 || text.length > 45 || !text.includes(':')) return undefined
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = groupsOf(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? '', true) : []
  if (!head || !tail) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...tail]
  const word = (at: number) => (((groups[at] ?? 0) << 16) | (groups[at + 1] ?? 0)) >>> 0
  return [word(0), word(2), word(4), word(6)]
}

function groupsOf(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [at, part] of parts.entries()) {
    if (part.includes('.')) {
      const ipv4 = isEnd && at === parts.length - 1 ? ipv4Of(part) : -1
      if (ipv4 < 0) return undefined
      groups.push(ipv4 >>> 16, ipv4 & 0xffff)
    } else {
      if (!/^[0-9a-f]{1,4}$/i.test(part)) return undefined
      groups.push(Number.parseInt(part, 16))
    }
  }
  return groups.length <= 8 ? groups : undefined
}

/** The IPv4 address in `::ffff:a.b.c.d`, or -1. */
export function mappedIpv4(address: Ipv6): number {
  return address[0] === 0 && address[1] === 0 && address[2] === 0xffff ? address[3] : -1
}

export function ipv4Text(address: number): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`
}

/** As RFC 5952 wants it: lower case, the longest run of zeros (of two groups or more, the first of equals) as `::`. */
export function ipv6Text(address: Ipv6): string {
  const groups = address.flatMap((word) => [word >>> 16, word & 0xffff])
  let best = { from: -1, length: 1 }
  for (let from = 0; from < 8; from++) {
    let length = 0
    while (from + length < 8 && groups[from + length] === 0) length++
    if (length > best.length) best = { from, length }
  }
  const hex = (some: readonly number[]) => some.map((group) => group.toString(16)).join(':')
  if (best.from < 0) return hex(groups)
  return `${hex(groups.slice(0, best.from))}::${hex(groups.slice(best.from + best.length))}`
}

/** The first `bits` (0..32) of an address. */
export function maskIpv4(address: number, bits: number): number {
  return bits === 0 ? 0 : (address & (-1 << (32 - bits))) >>> 0
}

/** The first `bits` (0..128) of an address. */
export function maskIpv6(address: Ipv6, bits: number): Ipv6 {
  const word = (at: number) => maskIpv4(address[at] ?? 0, Math.min(32, Math.max(0, bits - at * 32)))
  return [word(0), word(1), word(2), word(3)]
}

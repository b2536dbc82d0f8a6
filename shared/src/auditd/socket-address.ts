/** `saddr` of a SOCKADDR record: the bytes of a `struct sockaddr`, in hexadecimal. Source: ip(7), ipv6(7), unix(7). */
import { textOfBytes } from '../events/escaped-bytes.ts'

export type SocketAddress =
  | { readonly family: 'ipv4' | 'ipv6'; readonly ip: string; readonly port: number }
  | { readonly family: 'unix'; readonly path: string }
  | { readonly family: 'other'; readonly number: number }

const AF_UNIX = 1
const AF_INET = 2
const AF_INET6 = 10

/** `undefined` when it is no address, or cut short. */
export function parseSocketAddress(hex: string): SocketAddress | undefined {
  if (hex.length < 4 || hex.length > 512 || hex.length % 2 !== 0 || !/^[0-9A-Fa-f]+$/.test(hex)) return undefined
  const bytes = Buffer.from(hex, 'hex')
  // The family is in the order of the machine, and all that have an audit system in use are little endian.
  const family = bytes.readUInt16LE(0)
  if (family === AF_INET) {
    if (bytes.length < 8) return undefined
    return { family: 'ipv4', ip: [...bytes.subarray(4, 8)].join('.'), port: bytes.readUInt16BE(2) }
  }
  if (family === AF_INET6) {
    if (bytes.length < 24) return undefined
    return { family: 'ipv6', ip: ipv6Text(bytes.subarray(8, 24)), port: bytes.readUInt16BE(2) }
  }
  if (family === AF_UNIX) return { family: 'unix', path: unixPath(bytes.subarray(2)) }
  return { family: 'other', number: family }
}

/** The form of RFC 5952: the longest run of two or more zeros is left out. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2))
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return `::ffff:${[...bytes.subarray(12, 16)].join('.')}`
  let best = { at: -1, length: 1 }
  for (let at = 0; at < 8; at++) {
    let end = at
    while (end < 8 && groups[end] === 0) end++
    if (end - at > best.length) best = { at, length: end - at }
    if (end > at) at = end
  }
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':')
  if (best.at === -1) return text(groups)
  return `${text(groups.slice(0, best.at))}::${text(groups.slice(best.at + best.length))}`
}

/** Abstract names begin with a NUL, written as @ (ss(8) does so). */
function unixPath(bytes: Buffer): string {
  if (bytes[0] === 0) {
    const end = bytes.subarray(1).indexOf(0)
    return `@${textOfBytes(bytes.subarray(1, end === -1 ? undefined : end + 1))}`
  }
  const end = bytes.indexOf(0)
  return textOfBytes(bytes.subarray(0, end === -1 ? undefined : end))
}

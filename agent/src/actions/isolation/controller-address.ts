/** Addresses as the rules need them: one spelling each, checked, so that nothing but an address and a port reaches nft. */
import { isIP } from 'node:net'
import type { ControllerAddress } from '../../link/controller-link.ts'

export interface OpenAddress {
  readonly family: 4 | 6
  readonly ip: string
  readonly port: number
  /** The interface of an IPv6 link-local address. */
  readonly link?: string
}

/** Interface names as the kernel takes them (dev_valid_name), narrowed to what needs no quoting. */
const LINK = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/

/** Undefined: not an address anyone can be reached at (malformed, unspecified, multicast, broadcast), or no port. */
export function openAddressOf(address: ControllerAddress): OpenAddress | undefined {
  const { port } = address
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return undefined
  const [text = '', link] = address.ip.split('%', 2)
  if (isIP(text) === 4) return link === undefined ? ipv4(text, port) : undefined
  if (isIP(text) !== 6) return undefined
  const ip = new URL(`http://[${text}]`).hostname.slice(1, -1)
  const mapped = MAPPED.exec(ip)
  if (mapped) {
    const word = (Number.parseInt(mapped[1] ?? '', 16) << 16) | Number.parseInt(mapped[2] ?? '', 16)
    return ipv4([24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.'), port)
  }
  if (ip === '::' || ip.startsWith('ff')) return undefined
  const linkLocal = /^fe[89ab]/.test(ip)
  if (linkLocal !== (link !== undefined) || (link !== undefined && !LINK.test(link))) return undefined
  return link === undefined ? { family: 6, ip, port } : { family: 6, ip, port, link }
}

/** Each once, in a fixed order, so that the same controllers always give the same rules. */
export function openAddressesOf(addresses: readonly ControllerAddress[]): readonly OpenAddress[] {
  const found = addresses.map(openAddressOf).filter((address) => address !== undefined)
  const byText = new Map(found.map((address) => [textOf(address), address]))
  return [...byText.keys()].sort().map((text) => byText.get(text) as OpenAddress)
}

/** `10.0.0.1:443`, `[fe80::1%eth0]:443`. */
export function textOf({ family, ip, port, link }: OpenAddress): string {
  return family === 4 ? `${ip}:${port}` : `[${ip}${link === undefined ? '' : `%${link}`}]:${port}`
}

function ipv4(ip: string, port: number): OpenAddress | undefined {
  const first = Number(ip.split('.')[0])
  return first === 0 || first >= 224 ? undefined : { family: 4, ip, port }
}

/** Addresses and blocks of them, as people write them. Source: RFC 4291, RFC 4632, RFC 5952. */
import { isIP } from 'node:net'

/** Every spelling under which hosts may have written the address; the first is the usual one. `undefined`: no address. */
export function spellingsOf(text: string): readonly string[] | undefined {
  switch (isIP(text)) {
    case 4:
      return [text, `::ffff:${text}`]
    case 6: {
      const usual = shortened(text)
      const mapped = mappedV4(usual)
      // What a host wrote may hold a zone, which belongs to the address and not to its text.
      return mapped === undefined ? [usual] : [mapped, `::ffff:${mapped}`]
    }
    default:
      return undefined
  }
}

/** `10.0.0.0/8` or `2001:db8::/32`; the bits after the prefix need not be zero. */
export function isAddressBlock(text: string): boolean {
  const [address = '', prefix = '', ...more] = text.split('/')
  const version = isIP(address)
  return version !== 0 && more.length === 0 && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128)
}

/** URL parsing shortens an IPv6 address as RFC 5952 says; it takes no zone. */
function shortened(text: string): string {
  return text.includes('%') ? text.toLowerCase() : new URL(`http://[${text}]`).hostname.slice(1, -1)
}

function mappedV4(text: string): string | undefined {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text) ?? []
  if (high === undefined || low === undefined) return undefined
  return [high, low]
    .map((group) => Number.parseInt(group, 16))
    .flatMap((bits) => [bits >> 8, bits & 255])
    .join('.')
}

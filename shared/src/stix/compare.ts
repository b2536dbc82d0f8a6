/** One value of an object against one comparison of a pattern (STIX 2.1, 9.6). Values of different types are unequal, and nothing else. */
import { ipv4Of, ipv6Of, maskIpv4, maskIpv6 } from '../indicators/address.ts'
import { type CompiledRegex, compileRegex } from '../sigma/regex.ts'
import type { Comparison, Literal } from './pattern.ts'
import { timeOf } from './tokens.ts'

export class MatchError extends Error {}

/** A value as it stands in an object; of properties that hold bytes, the bytes. */
export type Found = string | number | boolean | Uint8Array

/** The bytes of properties whose names say so (STIX 2.1, 2.1 and 2.6). */
export function foundOf(value: unknown, property: string): Found | undefined {
  if (typeof value === 'number' || typeof value === 'boolean') return value
  if (typeof value !== 'string') return undefined
  if (property.endsWith('_hex')) return Buffer.from(value, 'hex')
  if (property.endsWith('_bin')) return Buffer.from(value, 'base64')
  return value
}

export function holds(comparison: Comparison, value: Found): boolean {
  return compared(comparison, value) !== comparison.negated
}

function compared({ operator, values }: Comparison, value: Found): boolean {
  const [literal] = values
  if (operator === 'IN') return values.some((one) => order(value, one) === 0)
  if (literal === undefined) return false
  switch (operator) {
    case '=':
      return order(value, literal) === 0
    case '!=':
      return order(value, literal) !== 0
    case '<':
      return ordered(value, literal, (n) => n < 0)
    case '<=':
      return ordered(value, literal, (n) => n <= 0)
    case '>':
      return ordered(value, literal, (n) => n > 0)
    case '>=':
      return ordered(value, literal, (n) => n >= 0)
    case 'LIKE':
      return isText(literal) && isLike(literal.value, value)
    case 'MATCHES':
      return isText(literal) && isMatch(literal.value, value)
    case 'ISSUBSET':
      return isText(literal) && typeof value === 'string' && within(value, literal.value)
    case 'ISSUPERSET':
      return isText(literal) && typeof value === 'string' && within(literal.value, value)
    default:
      throw new Error(`unhandled operator ${String(operator satisfies never)}`)
  }
}

function isText(literal: Literal): literal is Extract<Literal, { kind: 'string' }> {
  return literal.kind === 'string'
}

function ordered(value: Found, literal: Literal, test: (order: number) => boolean): boolean {
  if (typeof value === 'boolean') return false
  const found = order(value, literal)
  return found !== undefined && test(found)
}

/** Below 0, 0, above 0; `undefined`: they cannot be compared. */
function order(value: Found, literal: Literal): number | undefined {
  switch (literal.kind) {
    case 'number':
      return typeof value === 'number' ? value - literal.value : undefined
    case 'boolean':
      return typeof value === 'boolean' ? Number(value) - Number(literal.value) : undefined
    case 'time': {
      if (typeof value !== 'string') return undefined
      const time = timeOf(value)
      if (time === undefined) throw new MatchError(`${JSON.stringify(value)} is compared with a time and is none`)
      return time < literal.value ? -1 : time > literal.value ? 1 : 0
    }
    case 'string':
      if (typeof value === 'string') return textOrder(value.normalize('NFC'), literal.value.normalize('NFC'))
      return value instanceof Uint8Array ? byteOrder(value, bytesOf(literal.value)) : undefined
    case 'binary':
      if (typeof value === 'string') return byteOrder(bytesOf(value), literal.value)
      return value instanceof Uint8Array ? byteOrder(value, literal.value) : undefined
    default:
      throw new Error(`unhandled literal ${String(literal satisfies never)}`)
  }
}

/** By code points, as STIX wants it; JavaScript compares UTF-16 units. */
function textOrder(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function byteOrder(a: Uint8Array | undefined, b: Uint8Array | undefined): number | undefined {
  return a && b ? Buffer.compare(a, b) : undefined
}

/** A text as bytes when each of its characters is one (STIX 2.1, 9.6.1). */
function bytesOf(text: string): Uint8Array | undefined {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0xff) return undefined
  return Buffer.from(text, 'latin1')
}

function subject(value: Found): string | undefined {
  if (typeof value === 'string') return value.normalize('NFC')
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : undefined
}

/** `%` is any text, `_` one character. Walked from left to right, back only to the last `%`. */
function isLike(pattern: string, value: Found): boolean {
  const text = subject(value)
  if (text === undefined) return false
  const wanted = Array.from(pattern.normalize('NFC'))
  const chars = Array.from(text)
  let at = 0
  let from = 0
  let star = -1
  let mark = 0
  while (at < chars.length) {
    if (wanted[from] === '%') {
      star = from++
      mark = at
    } else if (from < wanted.length && (wanted[from] === '_' || wanted[from] === chars[at])) {
      from++
      at++
    } else if (star >= 0) {
      from = star + 1
      at = ++mark
    } else return false
  }
  while (wanted[from] === '%') from++
  return from === wanted.length
}

const compiled = new Map<string, CompiledRegex>()
const MOST_COMPILED = 256

/** In time linear in the value, whatever the expression. */
function isMatch(pattern: string, value: Found): boolean {
  const text = subject(value)
  if (text === undefined) return false
  let regex = compiled.get(pattern)
  if (!regex) {
    const made = compileRegex(pattern.normalize('NFC'), { i: false, m: false, s: true })
    if (!made.ok) throw new MatchError(made.why)
    regex = made.value
    if (compiled.size >= MOST_COMPILED) compiled.clear()
    compiled.set(pattern, regex)
  }
  return regex.test(text)
}

/** Whether an address or a block lies in an address or a block. */
function within(inner: string, outer: string): boolean {
  const a = blockOf(inner)
  const b = blockOf(outer)
  if (!a || !b || a.bits < b.bits) return false
  if (a.family === 4) return b.family === 4 && maskIpv4(a.ipv4, b.bits) === maskIpv4(b.ipv4, b.bits)
  if (b.family === 4) return false
  const [first, second] = [maskIpv6(a.ipv6, b.bits), maskIpv6(b.ipv6, b.bits)]
  return first.every((word, at) => word === second[at])
}

type Block =
  | { readonly family: 4; readonly ipv4: number; readonly bits: number }
  | { readonly family: 6; readonly ipv6: NonNullable<ReturnType<typeof ipv6Of>>; readonly bits: number }

function blockOf(text: string): Block | undefined {
  const [address = '', length, more] = text.split('/')
  if (more !== undefined || (length !== undefined && !/^\d{1,3}$/.test(length))) return undefined
  const ipv4 = ipv4Of(address)
  const ipv6 = ipv6Of(address)
  const most = ipv4 >= 0 ? 32 : 128
  const bits = length === undefined ? most : Number(length)
  if (bits > most) return undefined
  if (ipv4 >= 0) return { family: 4, ipv4, bits }
  return ipv6 ? { family: 6, ipv6, bits } : undefined
}

/**
 * Millions of values in memory that all threads share: an open hash table of 64-bit fingerprints (8 bytes a slot, at most four fifths
 * full), a little memory before it that says which types and which lengths of address blocks there are. It only chooses: who finds
 * a fingerprint asks the store for the value itself. Values are added while others read; nothing is taken out, a table with too much
 * that is over is built anew. The seeds are drawn for each table, so that nobody can make values that collide.
 */
import { randomBytes } from 'node:crypto'
import { type Ipv6, ipv4Of, ipv6Of, mappedIpv4, maskIpv4, maskIpv6 } from './address.ts'
import { OBSERVABLE_TYPES, type ObservableType } from './observable.ts'

/** Words before the slots: seeds, types, entries, block lengths of IPv4 (0..32 in two words) and IPv6 (0..128 in five). */
const SEED_A = 0
const SEED_B = 1
const TYPES = 2
const COUNT = 3
const BLOCKS4 = 4
const BLOCKS6 = 6
const HEADER = 16
const FULL = 0.8

export const TYPE_CODE = Object.fromEntries(OBSERVABLE_TYPES.map((type, at) => [type, at + 1])) as Readonly<
  Record<ObservableType, number>
>
const CIDR6 = 15

/** Memory for so many values. `like`: what that table holds can be copied into it. */
export function tableMemory(values: number, like?: MatchTable): SharedArrayBuffer {
  let slots = 1_024
  while (slots * FULL < values) slots *= 2
  const shared = new SharedArrayBuffer((HEADER + slots * 2) * 4)
  const words = new Uint32Array(shared)
  if (like) words.set(new Uint32Array(like.shared, 0, HEADER))
  else words.set(new Uint32Array(new Uint8Array(randomBytes(8)).buffer), SEED_A)
  words[COUNT] = 0
  return shared
}

export class MatchTable {
  readonly shared: SharedArrayBuffer
  readonly #words: Uint32Array
  readonly #mask: number
  readonly #seedA: number
  readonly #seedB: number
  /** The fingerprint made last: two words, kept here so that none is allocated. */
  #low = 0
  #high = 0

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared
    this.#words = new Uint32Array(shared)
    this.#mask = (this.#words.length - HEADER) / 2 - 1
    this.#seedA = this.#words[SEED_A] ?? 0
    this.#seedB = this.#words[SEED_B] ?? 0
  }

  get size(): number {
    return this.#words[COUNT] ?? 0
  }

  get isFull(): boolean {
    return this.size >= (this.#mask + 1) * FULL
  }

  /** Whether there is any value of the type at all. */
  holds(type: ObservableType): boolean {
    return ((this.#words[TYPES] ?? 0) & (1 << TYPE_CODE[type])) !== 0
  }

  get isEmpty(): boolean {
    return this.#words[TYPES] === 0
  }

  /** The value in its one spelling. `false`: the table is full, and a larger one is needed. */
  add(type: ObservableType, value: string): boolean {
    if (this.isFull) return false
    if (type === 'ipv4') this.#print4(TYPE_CODE.ipv4, ipv4Of(value), 32)
    else if (type === 'ipv6') this.#print6(TYPE_CODE.ipv6, ipv6Of(value) ?? NONE, 128)
    else if (type === 'cidr') this.#printBlock(value)
    else this.#printText(type, value)
    this.#insert()
    this.#words[TYPES] = (this.#words[TYPES] ?? 0) | (1 << TYPE_CODE[type])
    return true
  }

  hasText(type: Exclude<ObservableType, 'ipv4' | 'ipv6' | 'cidr'>, value: string): boolean {
    if (!this.holds(type)) return false
    this.#printText(type, value)
    return this.#find()
  }

  /** A name or any name above it. `found`: from where in the name the part that is known begins. */
  hasDomain(name: string, found?: (from: number) => void): boolean {
    if (!this.holds('domain')) return false
    // From its end on, so that one way through the name gives the fingerprint of every name above it.
    let a = this.#seedA ^ TYPE_CODE.domain
    let b = this.#seedB
    const end = name.charCodeAt(name.length - 1) === 46 ? name.length - 1 : name.length
    let any = false
    for (let at = end - 1; at >= 0; at--) {
      const code = lowered(name.charCodeAt(at))
      if (code === 46 && this.#finds(a, b)) {
        any = true
        if (!found) return true
        found(at + 1)
      }
      a = Math.imul(a ^ code, 0x0100_0193)
      b = Math.imul((b << 13) | (b >>> 19), 5) + Math.imul(code + 0x9e37, 0x85eb_ca6b)
    }
    if (end > 0 && this.#finds(a, b)) {
      any = true
      found?.(0)
    }
    return any
  }

  /** An address by itself or in a block. `found`: the bits of the block; 32 or 128 for the address itself. */
  hasAddress(text: string, found?: (bits: number, ipv4: number, ipv6: Ipv6 | undefined) => void): boolean {
    const ipv4 = ipv4Of(text)
    if (ipv4 >= 0) return this.#has4(ipv4, found)
    const ipv6 = ipv6Of(text)
    if (!ipv6) return false
    const mapped = mappedIpv4(ipv6)
    return mapped >= 0 ? this.#has4(mapped, found) : this.#has6(ipv6, found)
  }

  /** All of it into a table whose memory was made `like` this one, so many slots at a time; the caller gives the thread back in between. */
  *copyTo(larger: MatchTable, slotsAtOnce: number): Generator<void> {
    for (let slot = 0; slot <= this.#mask; slot++) {
      const low = this.#words[HEADER + slot * 2] ?? 0
      if (low !== 0) {
        larger.#low = low
        larger.#high = this.#words[HEADER + slot * 2 + 1] ?? 0
        larger.#insert()
      }
      if (slot % slotsAtOnce === slotsAtOnce - 1) yield
    }
  }

  #has4(ipv4: number, found?: (bits: number, ipv4: number, ipv6: undefined) => void): boolean {
    let any = false
    if (this.holds('ipv4')) {
      this.#print4(TYPE_CODE.ipv4, ipv4, 32)
      if (this.#find()) {
        any = true
        found?.(32, ipv4, undefined)
      }
    }
    const lengths = this.#words[BLOCKS4] ?? 0
    for (let left = lengths; left !== 0; left &= left - 1) {
      if (any && !found) return true
      const bits = 31 - Math.clz32(left & -left)
      this.#print4(TYPE_CODE.cidr, maskIpv4(ipv4, bits), bits)
      if (this.#find()) {
        any = true
        found?.(bits, ipv4, undefined)
      }
    }
    return any
  }

  #has6(ipv6: Ipv6, found?: (bits: number, ipv4: number, ipv6: Ipv6) => void): boolean {
    let any = false
    if (this.holds('ipv6')) {
      this.#print6(TYPE_CODE.ipv6, ipv6, 128)
      if (this.#find()) {
        any = true
        found?.(128, -1, ipv6)
      }
    }
    for (let word = 0; word < 5; word++)
      for (let left = this.#words[BLOCKS6 + word] ?? 0; left !== 0; left &= left - 1) {
        if (any && !found) return true
        const bits = word * 32 + 31 - Math.clz32(left & -left)
        this.#print6(CIDR6, maskIpv6(ipv6, bits), bits)
        if (this.#find()) {
          any = true
          found?.(bits, -1, ipv6)
        }
      }
    return any
  }

  #printBlock(value: string): void {
    const slash = value.indexOf('/')
    const bits = Number(value.slice(slash + 1))
    const ipv4 = ipv4Of(value.slice(0, slash))
    if (ipv4 >= 0) {
      this.#words[BLOCKS4] = (this.#words[BLOCKS4] ?? 0) | (1 << bits)
      this.#print4(TYPE_CODE.cidr, ipv4, bits)
      return
    }
    const word = BLOCKS6 + (bits >>> 5)
    this.#words[word] = (this.#words[word] ?? 0) | (1 << (bits & 31))
    this.#print6(CIDR6, ipv6Of(value.slice(0, slash)) ?? NONE, bits)
  }

  #print4(code: number, ipv4: number, bits: number): void {
    this.#finish(
      Math.imul(ipv4 ^ this.#seedA, 0x9e37_79b1) ^ code,
      Math.imul(ipv4 + this.#seedB, 0x85eb_ca6b) + bits * 64,
    )
  }

  #print6(code: number, [first, second, third, fourth]: Ipv6, bits: number): void {
    let a = this.#seedA ^ code
    let b = this.#seedB + bits * 64
    a = Math.imul(a ^ first, 0x9e37_79b1)
    a = Math.imul((a ^ (a >>> 15)) + second, 0x85eb_ca6b)
    a = Math.imul((a ^ (a >>> 13)) + third, 0xc2b2_ae35)
    a = Math.imul((a ^ (a >>> 15)) + fourth, 0x9e37_79b1)
    b = Math.imul(b ^ fourth, 0xc2b2_ae35)
    b = Math.imul((b ^ (b >>> 16)) + third, 0x9e37_79b1)
    b = Math.imul((b ^ (b >>> 13)) + second, 0x85eb_ca6b)
    b = Math.imul((b ^ (b >>> 15)) + first, 0xc2b2_ae35)
    this.#finish(a, b)
  }

  #printText(type: ObservableType, value: string): void {
    let a = this.#seedA ^ TYPE_CODE[type]
    let b = this.#seedB
    for (let at = value.length - 1; at >= 0; at--) {
      const code = value.charCodeAt(at)
      a = Math.imul(a ^ code, 0x0100_0193)
      b = Math.imul((b << 13) | (b >>> 19), 5) + Math.imul(code + 0x9e37, 0x85eb_ca6b)
    }
    this.#finish(a, b)
  }

  #finds(a: number, b: number): boolean {
    this.#finish(a, b)
    return this.#find()
  }

  /** The finaliser of MurmurHash3 (Appleby, public domain) on both words; the low one is never 0, which means an empty slot. */
  #finish(a: number, b: number): void {
    let low = a ^ Math.imul(b, 0x9e37_79b1)
    low = Math.imul(low ^ (low >>> 16), 0x85eb_ca6b)
    low = Math.imul(low ^ (low >>> 13), 0xc2b2_ae35)
    let high = b ^ (a >>> 7)
    high = Math.imul(high ^ (high >>> 15), 0x2c1b_3c6d)
    high = Math.imul(high ^ (high >>> 12), 0x297a_2d39)
    this.#low = ((low ^ (low >>> 16)) | 1) >>> 0
    this.#high = (high ^ (high >>> 15)) >>> 0
  }

  #find(): boolean {
    const words = this.#words
    for (let slot = this.#high & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const low = words[HEADER + slot * 2]
      if (low === 0) return false
      if (low === this.#low && words[HEADER + slot * 2 + 1] === this.#high) return true
    }
  }

  #insert(): void {
    const words = this.#words
    for (let slot = this.#high & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = HEADER + slot * 2
      if (words[at] === 0) {
        words[at + 1] = this.#high
        // Last, so that other threads see a whole fingerprint or none.
        Atomics.store(words, at, this.#low)
        words[COUNT] = this.size + 1
        return
      }
      if (words[at] === this.#low && words[at + 1] === this.#high) return
    }
  }
}

const NONE: Ipv6 = [0, 0, 0, 0]

function lowered(code: number): number {
  return code >= 65 && code <= 90 ? code + 32 : code
}

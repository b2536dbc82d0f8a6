/** One frame on the wire, as far as a test asks. `length` counts the whole frame in bytes. */
export interface Packet {
  /** When the kernel saw it, Unix milliseconds with a fraction (microseconds). */
  readonly atMs: number
  readonly sourceMac: string
  readonly destinationMac: string
  readonly proto: Protocol
  /** IP addresses; for ARP the sender's and the wanted one; absent for other frames. */
  readonly source?: string
  readonly destination?: string
  readonly sourcePort?: number
  readonly destinationPort?: number
  /** TCP: letters of FIN SYN RST PSH ACK URG in that order, such as `SA`. */
  readonly flags?: string
  /** ICMP and ICMPv6 type. */
  readonly icmpType?: number
  /** Bytes of TCP or UDP data; they tell data from bare acknowledgements. */
  readonly payloadLength?: number
  readonly length: number
}

export type Protocol = 'arp' | 'tcp' | 'udp' | 'icmp' | 'icmp6' | 'ip-other' | 'other'

const GLOBAL_HEADER = 24
const RECORD_HEADER = 16
const TCP_FLAGS = ['F', 'S', 'R', 'P', 'A', 'U']
const MAX_RECORD = 1024 * 1024

/** Reads a pcap stream (little endian, microseconds, Ethernet: what tcpdump writes on this kind of machine) in whatever pieces it arrives.
 * Layout: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap (sections 4 and 5). */
export class PcapReader {
  #rest: Buffer = Buffer.alloc(0)
  #started = false

  push(chunk: Buffer): Packet[] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    if (!this.#started) {
      if (this.#rest.length < GLOBAL_HEADER) return []
      const linkType = this.#rest.readUInt32LE(20) & 0xffff
      if (this.#rest.readUInt32LE(0) !== 0xa1b2c3d4 || linkType !== 1) throw new Error('not a pcap of Ethernet frames')
      this.#rest = this.#rest.subarray(GLOBAL_HEADER)
      this.#started = true
    }
    const packets: Packet[] = []
    while (this.#rest.length >= RECORD_HEADER) {
      const captured = this.#rest.readUInt32LE(8)
      if (captured > MAX_RECORD) throw new Error(`pcap record of ${captured} bytes`)
      if (this.#rest.length < RECORD_HEADER + captured) break
      const atMs = this.#rest.readUInt32LE(0) * 1000 + this.#rest.readUInt32LE(4) / 1000
      packets.push(
        readFrame(this.#rest.subarray(RECORD_HEADER, RECORD_HEADER + captured), atMs, this.#rest.readUInt32LE(12)),
      )
      this.#rest = this.#rest.subarray(RECORD_HEADER + captured)
    }
    return packets
  }
}

function readFrame(frame: Buffer, atMs: number, length: number): Packet {
  const link = { atMs, length, destinationMac: macAt(frame, 0), sourceMac: macAt(frame, 6) }
  const body = frame.subarray(14)
  switch (frame.length < 14 ? 0 : frame.readUInt16BE(12)) {
    case 0x0806:
      return body.length < 28
        ? { ...link, proto: 'other' }
        : { ...link, proto: 'arp', source: ipv4At(body, 14), destination: ipv4At(body, 24) }
    case 0x0800: {
      const headerLength = ((body[0] ?? 0) & 0x0f) * 4
      if (body.length < headerLength || headerLength < 20) return { ...link, proto: 'other' }
      const addresses = { source: ipv4At(body, 12), destination: ipv4At(body, 16) }
      // Only the first fragment carries the ports.
      const later = (body.readUInt16BE(6) & 0x1fff) !== 0
      const data = body.subarray(headerLength)
      return {
        ...link,
        ...addresses,
        ...(later ? { proto: 'ip-other' } : readTransport(body[9] ?? 0, data, body.readUInt16BE(2) - headerLength)),
      }
    }
    case 0x86dd: {
      if (body.length < 40) return { ...link, proto: 'other' }
      const addresses = { source: ipv6At(body, 8), destination: ipv6At(body, 24) }
      let next = body[6] ?? 0
      let at = 40
      // Hop-by-hop, routing and destination options: next header, then length in units of 8 bytes not counting the first (RFC 8200, 4.3 to 4.6).
      while ((next === 0 || next === 43 || next === 60) && body.length >= at + 8) {
        next = body[at] ?? 0
        at += ((body[at + 1] ?? 0) + 1) * 8
      }
      return { ...link, ...addresses, ...readTransport(next, body.subarray(at), body.readUInt16BE(4) + 40 - at) }
    }
    default:
      return { ...link, proto: 'other' }
  }
}

type Transport = Pick<Packet, 'proto' | 'sourcePort' | 'destinationPort' | 'flags' | 'icmpType' | 'payloadLength'>

function readTransport(protocol: number, data: Buffer, dataLength: number): Transport {
  const enough = (bytes: number): boolean => data.length >= bytes
  const ports = (): Pick<Transport, 'sourcePort' | 'destinationPort'> => ({
    sourcePort: data.readUInt16BE(0),
    destinationPort: data.readUInt16BE(2),
  })
  switch (protocol) {
    case 6: {
      if (!enough(20)) return { proto: 'tcp' }
      const bits = data[13] ?? 0
      const flags = TCP_FLAGS.filter((_, bit) => (bits & (1 << bit)) !== 0).join('')
      return { proto: 'tcp', ...ports(), flags, payloadLength: dataLength - ((data[12] ?? 0) >> 4) * 4 }
    }
    case 17:
      return enough(8) ? { proto: 'udp', ...ports(), payloadLength: dataLength - 8 } : { proto: 'udp' }
    case 1:
      return { proto: 'icmp', ...(enough(1) ? { icmpType: data.readUInt8(0) } : {}) }
    case 58:
      return { proto: 'icmp6', ...(enough(1) ? { icmpType: data.readUInt8(0) } : {}) }
    default:
      return { proto: 'ip-other' }
  }
}

function macAt(frame: Buffer, at: number): string {
  return [...frame.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function ipv4At(data: Buffer, at: number): string {
  return [...data.subarray(at, at + 4)].join('.')
}

/** In the form of RFC 5952, so that it can be compared with a host's `address6`. */
function ipv6At(data: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => data.readUInt16BE(at + index * 2).toString(16))
  let best = { start: 0, length: 0 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === '0') length++
    if (length > best.length) best = { start, length }
  }
  if (best.length < 2) return groups.join(':')
  return `${groups.slice(0, best.start).join(':')}::${groups.slice(best.start + best.length).join(':')}`
}

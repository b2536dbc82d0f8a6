import { describe, expect, it } from 'vitest'
import { PcapReader } from './packet.ts'

function pcap(...frames: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt32LE(65_536, 16)
  header.writeUInt32LE(1, 20)
  const records = frames.map((frame) => {
    const record = Buffer.alloc(16)
    record.writeUInt32LE(1_700_000_000, 0)
    record.writeUInt32LE(250_500, 4)
    record.writeUInt32LE(frame.length, 8)
    record.writeUInt32LE(frame.length, 12)
    return Buffer.concat([record, frame])
  })
  return Buffer.concat([header, ...records])
}

const ethernet = '02fb0000000b02fb0000000a'
const hex = (...parts: readonly string[]): Buffer => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')

// IPv4 10.66.0.10 → 10.66.0.11, total length 45: TCP 40000 → 443, PSH ACK, 5 bytes of data.
const tcp4 = hex(
  ethernet,
  '0800',
  '4500002d000040004006 0000 0a42000a 0a42000b',
  '9c40 01bb 00000001 00000002 5018 ffff 0000 0000',
  '68656c6c6f',
)
// IPv6 fd66::a → fd66::b with an empty hop-by-hop header before UDP 5353 → 53, 3 bytes of data.
const udp6 = hex(
  ethernet,
  '86dd',
  '60000000 0013 00 40',
  'fd66000000000000000000000000000a',
  'fd66000000000000000000000000000b',
  '1100010400000000',
  '14e9 0035 000b 0000',
  '010203',
)
// The wanted address is 10.66.0.11.
const arp = hex(ethernet, '0806', '0001 0800 06 04 0001', '02fb0000000a 0a42000a', '000000000000 0a42000b')
// A later fragment: no ports, whatever its first bytes look like.
const fragment = hex(
  ethernet,
  '0800',
  '4500002800010010 4006 0000 0a42000a 0a42000b',
  '9c40 01bb 00000001 00000002 5018 ffff 0000 0000',
)

describe('what a capture says about a frame', () => {
  it('names addresses, ports, flags and the amount of data', () => {
    const [packet] = new PcapReader().push(pcap(tcp4))
    expect(packet).toEqual({
      atMs: 1_700_000_000_250.5,
      length: tcp4.length,
      sourceMac: '02:fb:00:00:00:0a',
      destinationMac: '02:fb:00:00:00:0b',
      proto: 'tcp',
      source: '10.66.0.10',
      destination: '10.66.0.11',
      sourcePort: 40_000,
      destinationPort: 443,
      flags: 'PA',
      payloadLength: 5,
    })
  })

  it('looks behind the extension headers of IPv6 and shortens its addresses', () => {
    expect(new PcapReader().push(pcap(udp6))).toMatchObject([
      {
        proto: 'udp',
        source: 'fd66::a',
        destination: 'fd66::b',
        sourcePort: 5353,
        destinationPort: 53,
        payloadLength: 3,
      },
    ])
  })

  it('shows who asks for whose address', () => {
    expect(new PcapReader().push(pcap(arp))).toMatchObject([
      { proto: 'arp', source: '10.66.0.10', destination: '10.66.0.11' },
    ])
  })

  it('makes up no ports for a later fragment or a frame that is too short', () => {
    const packets = new PcapReader().push(
      pcap(fragment, hex('02fb'), hex(ethernet, '0800', '45'), hex(ethernet, '86dd', '60'), tcp4.subarray(0, 40)),
    )
    expect(packets.map(({ proto, sourcePort }) => [proto, sourcePort])).toEqual([
      ['ip-other', undefined],
      ['other', undefined],
      ['other', undefined],
      ['other', undefined],
      ['tcp', undefined],
    ])
  })

  it('is the same in whatever pieces the stream arrives', () => {
    const stream = pcap(tcp4, udp6, arp)
    const reader = new PcapReader()
    const packets = Array.from(stream, (_, at) => reader.push(stream.subarray(at, at + 1))).flat()
    expect(packets).toEqual(new PcapReader().push(stream))
    expect(packets).toHaveLength(3)
  })

  it('refuses what is not a pcap of Ethernet frames', () => {
    expect(() => new PcapReader().push(Buffer.alloc(24))).toThrow('not a pcap')
  })
})

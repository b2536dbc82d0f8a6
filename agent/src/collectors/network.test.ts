import { connect, createServer } from 'node:net'
import { createSocket } from 'node:dgram'
import { userInfo } from 'node:os'
import { systemClock } from '@firebreak/shared/clock.ts'
import { afterEach, describe, expect, it } from 'vitest'
import { RecordedEmit } from './collector.fake.ts'
import type { Collector } from './collector.ts'
import { createNetworkCollector } from './network.ts'
import { Sources } from './sources.ts'
import { FakeProcfs } from './procfs.fake.ts'
import { ipv6Text, parseAddress } from './procfs-sockets.ts'

const running: Collector[] = []
const closers: (() => void)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) close()
  for (const collector of running.splice(0)) await collector.stop()
})

async function watch(roots: { procRoot: string; root: string }, changes: { loopback?: boolean } = {}) {
  const collector = createNetworkCollector(
    { clock: systemClock, hostName: 'web-1', platform: 'linux', sources: new Sources(systemClock), ...roots },
    { enabled: true, interval_ms: 50, loopback: true, ...changes },
  )
  running.push(collector)
  const emit = new RecordedEmit()
  await collector.start(emit)
  return { collector, emit }
}

async function listen(host: string): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => undefined)).listen(0, host)
  await new Promise((resolve) => server.once('listening', resolve))
  closers.push(() => server.close())
  return (server.address() as { port: number }).port
}

describe('on the sockets of this host', { skip: process.platform !== 'linux' }, () => {
  const host = { procRoot: '/proc', root: '/' }

  it.each(['127.0.0.1', '::1'])('tells both ends of a connection over %s, with the process', async (address) => {
    const port = await listen(address)
    const { emit } = await watch(host)
    await emit.find(
      'the listening port',
      (event) => event.source?.port === port && event.event.action === 'listening-existing',
    )
    const client = connect(port, address)
    closers.push(() => client.destroy())
    const outbound = await emit.find(
      'the client',
      (e) => e.destination?.port === port && e.network?.direction === 'egress',
    )
    expect(outbound).toMatchObject({
      event: { action: 'connection-attempted', type: ['connection', 'start'] },
      destination: { ip: address },
      network: { transport: 'tcp', type: address.includes(':') ? 'ipv6' : 'ipv4' },
      process: { pid: process.pid, executable: process.execPath },
      user: { id: String(userInfo().uid), name: userInfo().username },
    })
    expect(outbound.process?.entity_id).toMatch(/^[0-9a-f]{8}-\d+-\d+$/)
    const inbound = await emit.find(
      'the server',
      (e) => e.destination?.port === port && e.network?.direction === 'ingress',
    )
    expect(inbound).toMatchObject({ event: { action: 'connection-accepted' }, source: { port: outbound.source?.port } })
  })

  it('tells a port that starts to listen, and a UDP socket with a peer', async () => {
    const { emit } = await watch(host)
    await emit.find('anything', () => true).catch(() => undefined)
    const port = await listen('127.0.0.1')
    const event = await emit.find(
      'the new port',
      (e) => e.source?.port === port && e.event.action === 'listening-started',
    )
    expect(event.process?.pid).toBe(process.pid)
    const udp = createSocket('udp4')
    closers.push(() => udp.close())
    udp.connect(9_953, '127.0.0.1')
    const sent = await emit.find('the UDP peer', (e) => e.destination?.port === 9_953)
    expect(sent).toMatchObject({ network: { transport: 'udp', direction: 'egress' }, event: { outcome: 'unknown' } })
  })
})

describe('on recorded tables', () => {
  const line = (local: string, remote: string, state: string, inode: number, uid = 1000) =>
    `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000000000000000 100 0 0 10 0`

  it('shows an IPv4 connection through an IPv6 socket as IPv4', async () => {
    using fake = new FakeProcfs()
    fake.setTable('tcp6', [])
    const { emit } = await watch(fake)
    const mapped = '0000000000000000FFFF0000010200C0'
    fake.setTable('tcp6', [line(`${mapped}:01BB`, '0000000000000000FFFF000007640AC6:C000', '01', 77)])
    const event = await emit.find('the connection', () => true)
    expect(event).toMatchObject({
      source: { ip: '192.0.2.1', port: 443 },
      destination: { ip: '198.10.100.7' },
      network: { type: 'ipv4' },
    })
    expect(event.user).toEqual({ id: '1000', name: 'alice' })
  })

  it('tells a connection that was over before it was seen by the TIME_WAIT it left, once and without a process', async () => {
    using fake = new FakeProcfs()
    fake.setTable('tcp', [])
    const { emit } = await watch(fake)
    fake.setTable('tcp', [line('0100007F:9C40', '0200007F:115C', '06', 0, 0)])
    const event = await emit.find('the connection', () => true)
    expect(event).toMatchObject({ destination: { ip: '127.0.0.2', port: 4444 }, event: { outcome: 'success' } })
    expect(event.user).toBeUndefined()
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(emit.events.length).toBe(1)
  })

  it('is not flooded by half-open connections from outside, and leaves loopback out when told', async () => {
    using fake = new FakeProcfs()
    fake.setTable('tcp', [])
    const { emit } = await watch(fake, { loopback: false })
    const flood = Array.from({ length: 50 }, (_, n) =>
      line('0100A8C0:0050', `0200A8C0:${(40_000 + n).toString(16)}`, '03', 0, 0),
    )
    fake.setTable('tcp', [
      ...flood,
      line('0100007F:9C40', '0100007F:115C', '01', 5),
      line('0100A8C0:9C40', '0300A8C0:115C', '01', 6),
    ])
    await emit.find('the real one', () => true)
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(emit.events.map((event) => event.destination?.ip)).toEqual(['192.168.0.3'])
  })

  it('reads past lines that are none', async () => {
    using fake = new FakeProcfs()
    fake.setTable('tcp', [])
    const { emit } = await watch(fake)
    fake.setTable('tcp', [
      'garbage',
      '',
      line('ZZ:1', '0100007F:0001', '01', 1),
      line('0100007F:9C40', '0300A8C0:115C', '01', 6),
    ])
    await emit.find('the real one', (event) => event.destination?.ip === '192.168.0.3')
    expect(emit.events.length).toBe(1)
  })
})

it('writes addresses as RFC 5952 says', () => {
  const text = (hex: string) => ipv6Text([...Buffer.from(hex, 'hex')])
  expect(text('20010db8000000000000000000000001')).toBe('2001:db8::1')
  expect(text('20010db8000000010000000000000001')).toBe('2001:db8:0:1::1')
  expect(text('20010db8000100010001000100010000')).toBe('2001:db8:1:1:1:1:1:0')
  expect(text('00000000000000000000000000000000')).toBe('::')
  expect(text('fe800000000000000000000000000000')).toBe('fe80::')
  expect(parseAddress('00000000000000000000000001000000:1F90')).toEqual({ ip: '::1', port: 8080 })
  expect(parseAddress('0100007F')).toBeUndefined()
  expect(parseAddress('0100007F:FFFFF')).toBeUndefined()
})

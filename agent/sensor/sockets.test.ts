import { spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EVERYTHING, noSensor, type RunningSensor, startSensor } from '../src/collectors/kernel/sensor.fixture.ts'

const why = noSensor()
const IPV4 = [127, 0, 0, 1]

describe.skipIf(why)(`the kernel sensor on sockets${why ? ` (skipped: ${why})` : ''}`, () => {
  let sensor: RunningSensor
  beforeAll(async () => {
    sensor = await startSensor({
      switches: { ...EVERYTHING.switches, process: false, file: false, kernelCalls: false },
    })
  }, 30_000)
  afterAll(async () => await sensor?.[Symbol.asyncDispose]())

  it.each([['127.0.0.1'], ['::1']])(
    'tells a connection over %s from both ends, with the bytes each way',
    async (host) => {
      const server = createServer((socket) => socket.resume().on('end', () => socket.end('y'.repeat(333))))
      server.listen(0, host)
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const client = connect(port, host)
      await once(client, 'connect')
      const { localPort } = client
      client.end('x'.repeat(100_000))
      client.resume()
      await once(client, 'close')
      server.close()
      await once(server, 'close')
      const isClient = (one: { remotePort: number }) => one.remotePort === port
      const connected = await sensor.next('tcp-connect', isClient)
      const established = await sensor.next('tcp-established', isClient)
      const closed = await sensor.next('tcp-close', (one) => isClient(one) && one.localPort === localPort)
      const listening = await sensor.next('tcp-listen', (one) => one.localPort === port)
      const accepted = await sensor.next('tcp-accept', (one) => one.localPort === port)
      const servedEnd = await sensor.next('tcp-close', (one) => one.localPort === port && one.remotePort === localPort)
      const family = host === '::1' ? 'ipv6' : 'ipv4'
      const address = new Uint8Array(family === 'ipv6' ? [...Array.from({ length: 15 }, () => 0), 1] : IPV4)
      expect(connected).toMatchObject({ family, protocol: 'tcp', actor: { pid: process.pid }, remoteAddress: address })
      expect(established).toMatchObject({ localPort, socketId: connected.socketId, localAddress: address })
      expect(closed).toMatchObject({ socketId: connected.socketId, bytesSent: 100_000, bytesReceived: 333, error: 0 })
      expect(closed.durationNs).toBeGreaterThan(0n)
      expect(listening.actor?.pid).toBe(process.pid)
      expect(accepted).toMatchObject({ remotePort: localPort, actor: { pid: process.pid } })
      expect(servedEnd).toMatchObject({ socketId: accepted.socketId, bytesSent: 333, bytesReceived: 100_000 })
    },
  )

  it('tells an attempt that is refused, with the reason', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    const client = connect(port, '127.0.0.1')
    await once(client, 'error')
    const closed = await sensor.next('tcp-close', (one) => one.remotePort === port && one.oldState === 2)
    // ECONNREFUSED; SYN_SENT.
    expect(closed).toMatchObject({ error: 111, oldState: 2, actor: { pid: process.pid }, bytesSent: 0 })
  })

  it('tells the first datagram to a peer, once', async () => {
    const peer = createSocket('udp4')
    peer.bind(0, '127.0.0.1')
    await once(peer, 'listening')
    const { port } = peer.address()
    const from = sensor.records.length
    const socket = createSocket('udp4')
    for (let n = 0; n < 5; n++) await new Promise((resolve) => socket.send('hello', port, '127.0.0.1', resolve))
    await sensor.settled()
    const told = sensor.records.slice(from).filter((one) => one.kind === 'udp-flow' && one.remotePort === port)
    expect(told).toMatchObject([{ protocol: 'udp', remoteAddress: new Uint8Array(IPV4), actor: { pid: process.pid } }])
    socket.close()
    peer.close()
  })

  it('gives the questions and answers of a name look-up as they were sent', async () => {
    // In a network of its own, so that port 53 is free.
    const script = `
      use Socket; socket(S, AF_INET, SOCK_DGRAM, 17); bind(S, sockaddr_in(53, INADDR_LOOPBACK));
      socket(C, AF_INET, SOCK_DGRAM, 17); connect(C, sockaddr_in(53, INADDR_LOOPBACK));
      send(C, 'question' . 'q' x 600, 0); $from = recv(S, $b, 2000, 0); send(S, 'answer', 0, $from); recv(C, $b, 512, 0); print $$`
    const done = spawnSync('unshare', ['--net', 'sh', '-c', 'ip link set lo up && exec perl -e "$0"', script])
    const pid = Number(String(done.stdout))
    expect(pid, String(done.stderr)).toBeGreaterThan(0)
    const sent = await sensor.next('dns-sent', ({ actor }) => actor?.pid === pid)
    const received = await sensor.next('dns-received', ({ actor }) => actor?.pid === pid)
    expect(Buffer.from(sent.payload.bytes).toString()).toBe(`question${'q'.repeat(504)}`)
    expect(sent.payload.total).toBe(608)
    expect(Buffer.from(received.payload.bytes).toString()).toBe('answer')
    expect(received).toMatchObject({ remotePort: 53, remoteAddress: new Uint8Array(IPV4), socketId: sent.socketId })
  })
})

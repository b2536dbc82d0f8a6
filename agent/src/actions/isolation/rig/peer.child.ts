/** A host of the test network: TCP and UDP echo on 443, 53 and 8080, a signing controller on 7443, and tries towards others on request. */
import { createSocket } from 'node:dgram'
import { connect, createServer, isIPv4, type Socket } from 'node:net'
import { createPrivateKey, sign } from 'node:crypto'

export type PeerCall =
  | { readonly call: 'tcp'; readonly ip: string; readonly port: number }
  | { readonly call: 'udp'; readonly ip: string; readonly port: number; readonly from?: number }
  /** Opens a connection and sends a byte every 20 ms; answers when it is open. */
  | { readonly call: 'stream'; readonly ip: string; readonly port: number }
  | { readonly call: 'received' }
  | { readonly call: 'mute'; readonly on: boolean }

const TIMEOUT_MS = 500
let received = 0
let mute = false
const controllerKey =
  process.argv[2] === undefined ? undefined : createPrivateKey(Buffer.from(process.argv[2], 'base64url').toString())

for (const port of [443, 8080]) {
  createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (data) => {
      received += data.length
      socket.write(data)
    })
  }).listen(port, '::')
}
for (const port of [53, 67, 443]) {
  const socket = createSocket({ type: 'udp6' })
  socket.on('message', (data, from) => {
    received++
    socket.send(data, from.port, from.address)
  })
  socket.on('error', () => undefined)
  socket.bind(port)
}
createServer((socket) => {
  socket.on('error', () => socket.destroy())
  socket.on('data', (nonce) => {
    if (controllerKey && !mute) socket.write(sign(null, nonce, controllerKey))
  })
}).listen(7443, '::')

const streams: Socket[] = []
function tcp(ip: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port, timeout: TIMEOUT_MS })
    const done = (answer: string) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => socket.write('x'))
    socket.once('data', () => done('echo'))
    socket.once('timeout', () => done('timeout'))
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'))
  })
}
function udp(ip: string, port: number, from: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv4(ip) ? 'udp4' : 'udp6')
    let over = false
    const done = (answer: string) => {
      if (over) return
      over = true
      clearTimeout(timer)
      socket.close()
      resolve(answer)
    }
    const timer = setTimeout(() => done('timeout'), TIMEOUT_MS)
    socket.once('message', () => done('echo'))
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'error'))
    socket.bind(from, () => {
      if (ip.endsWith('.255')) socket.setBroadcast(true)
      socket.send('x', port, ip, (error) => {
        if (error) done('code' in error ? String(error.code) : 'error')
      })
    })
  })
}
function stream(ip: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port })
    streams.push(socket)
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'))
    const timer = setInterval(() => socket.write('x'), 20)
    socket.once('close', () => clearInterval(timer))
    socket.once('data', () => resolve('echo'))
  })
}
async function answer(call: PeerCall): Promise<string> {
  switch (call.call) {
    case 'tcp':
      return tcp(call.ip, call.port)
    case 'udp':
      return udp(call.ip, call.port, call.from ?? 0)
    case 'stream':
      return stream(call.ip, call.port)
    case 'received':
      return String(received)
    case 'mute':
      mute = call.on
      return 'ok'
    default:
      throw new Error('unhandled call', { cause: call satisfies never })
  }
}

process.on('message', (message: { id: number; call: PeerCall }) => {
  void answer(message.call).then((value) => process.send?.({ id: message.id, value }))
})
process.on('disconnect', () => process.exit())
process.send?.({ ready: true })

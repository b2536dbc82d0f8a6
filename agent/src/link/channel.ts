/**
 * A WebSocket over TLS 1.3 whose other end is known by its public key: the signed trust file pins it (RFC 7469, 2.4), no authority is
 * asked. The pin is checked before the first byte of HTTP; only a host that is joining reads the trust file over the channel first.
 */
import { createHash, type X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { type Result, ok, reasonOf, refuse } from '@firebreak/shared/result.ts'
import { CHANNEL_BYTES, CHANNEL_LABEL } from '@firebreak/shared/trust/handshake.ts'
import { WIRE, WS_LIMITS } from '@firebreak/shared/wire/limits.ts'
import { WebSocket } from 'ws'
import { type HostPort, plainAddress } from './addresses.ts'
import type { ControllerAddress } from './controller-link.ts'

export interface Channel {
  readonly socket: WebSocket
  /** SHA-256 of the SubjectPublicKeyInfo that the other end showed, base64. */
  readonly spki: string
  /** Keying material of this TLS connection: its name in what both sides sign. */
  readonly binding: Uint8Array
  readonly peer: ControllerAddress
}

export type ChannelRefusal = 'unreachable' | 'wrong_certificate'

export interface ChannelRequest {
  readonly target: HostPort
  /** The address to connect to; the name goes into SNI and Host. */
  readonly address: ControllerAddress
  /** Public keys that are pinned; `undefined` only while joining, when the pin is checked by the caller. */
  readonly pins: readonly string[] | undefined
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export async function openChannel(request: ChannelRequest): Promise<Result<Channel, ChannelRefusal>> {
  const tls = await connectTls(request)
  if (!tls.ok) return tls
  const { socket: raw, spki } = tls.value
  if (request.pins && !request.pins.includes(spki)) {
    raw.destroy()
    return refuse(
      'wrong_certificate',
      `${request.target.host} shows a public key (${spki}) that the trust file does not pin`,
    )
  }
  const binding = raw.exportKeyingMaterial(CHANNEL_BYTES, CHANNEL_LABEL, Buffer.alloc(0))
  const peer = { ip: plainAddress(raw.remoteAddress ?? request.address.ip), port: request.address.port }
  const upgraded = await upgrade(raw, request)
  return upgraded.ok ? ok({ socket: upgraded.value, spki, binding, peer }) : upgraded
}

async function connectTls(
  request: ChannelRequest,
): Promise<Result<{ readonly socket: TLSSocket; readonly spki: string }, ChannelRefusal>> {
  const { target, address, timeoutMs } = request
  const socket = tlsConnect({
    host: address.ip,
    port: address.port,
    ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ALPNProtocols: ['http/1.1'],
    // The chain proves nothing here: the key is pinned below, before anything is sent.
    rejectUnauthorized: false,
  })
  socket.setNoDelay(true)
  const failed = await settled(socket, 'secureConnect', timeoutMs, request.signal)
  if (failed !== undefined) {
    socket.destroy()
    return refuse('unreachable', `${target.host}:${address.port} (${address.ip}): ${failed}`)
  }
  const certificate = socket.getPeerX509Certificate()
  if (!certificate) {
    socket.destroy()
    return refuse('wrong_certificate', `${target.host} shows no certificate`)
  }
  return ok({ socket, spki: spkiOf(certificate) })
}

export function spkiOf(certificate: X509Certificate): string {
  return createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64')
}

async function upgrade(raw: TLSSocket, request: ChannelRequest): Promise<Result<WebSocket, ChannelRefusal>> {
  const { target, timeoutMs } = request
  const host = isIP(target.host) === 6 ? `[${target.host}]` : target.host
  const socket = new WebSocket(`wss://${host}:${target.port}${WIRE.path}`, [WIRE.subprotocol], {
    ...WS_LIMITS,
    createConnection: () => raw,
    followRedirects: false,
    handshakeTimeout: timeoutMs,
    autoPong: true,
  })
  socket.binaryType = 'nodebuffer'
  socket.on('error', () => undefined) // each error is followed by `close`, which its owner hears
  const failed = await settled(socket, 'open', timeoutMs, request.signal)
  if (failed !== undefined || socket.protocol !== WIRE.subprotocol) {
    socket.terminate()
    raw.destroy()
    return refuse('unreachable', `${target.host}:${target.port}: ${failed ?? 'it does not speak firebreak'}`)
  }
  return ok(socket)
}

interface Hearing {
  once(name: string, listener: (thrown?: unknown) => void): unknown
  off(name: string, listener: (thrown?: unknown) => void): unknown
}

/** `undefined` when `name` came; otherwise why it did not. */
function settled(source: Hearing, name: string, timeoutMs: number, signal?: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const finish = (why: string | undefined) => {
      clearTimeout(timer)
      source.off(name, good)
      source.off('error', bad)
      source.off('close', closed)
      signal?.removeEventListener('abort', aborted)
      resolve(why)
    }
    const good = () => finish(undefined)
    const bad = (thrown?: unknown) => {
      source.once('error', () => undefined) // a socket may fail twice; nobody listens any more
      finish(reasonOf(thrown))
    }
    const closed = () => finish('the connection was closed')
    const aborted = () => finish('stopped')
    const timer = setTimeout(() => finish(`no answer within ${timeoutMs} ms`), timeoutMs)
    source.once(name, good)
    source.once('error', bad)
    source.once('close', closed)
    if (signal?.aborted) finish('stopped')
    else signal?.addEventListener('abort', aborted, { once: true })
  })
}

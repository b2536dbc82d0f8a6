/** Control messages of a channel that is not authenticated yet, one at a time and within a time limit. */
import { type Result, ok, refuse } from '@firebreak/shared/result.ts'
import { decodeFrame, encodeControl } from '@firebreak/shared/wire/frame.ts'
import { WIRE } from '@firebreak/shared/wire/limits.ts'
import { type AgentMessage, type ControllerMessage, parseControllerMessage } from '@firebreak/shared/wire/messages.ts'
import type { RawData, WebSocket } from 'ws'

/** The challenge, the welcome, and what may come right behind it; each at most one WebSocket message of 512 KiB. */
const MAX_WAITING_FRAMES = 64

export type MailRefusal = 'unreachable' | 'malformed' | 'too_large' | 'timeout'

export interface Mail<T extends ControllerMessage['t']> {
  readonly message: Extract<ControllerMessage, { t: T }>
  /** The JSON text as it came: what both sides sign over. */
  readonly raw: Uint8Array
}
type Refusal = Extract<ControllerMessage, { t: 'refused' }>

export interface Mailbox {
  /** The JSON text that was sent. */
  send(message: AgentMessage): Uint8Array
  /** The next message, which must be of this kind; a `refused` comes back as itself. */
  next<T extends ControllerMessage['t']>(kind: T, timeoutMs: number): Promise<Result<Mail<T> | Refusal, MailRefusal>>
  /** Stops listening; messages that came meanwhile and were not taken. */
  close(): readonly Buffer[]
}

export function openMailbox(socket: WebSocket): Mailbox {
  const waiting: Buffer[] = []
  let wake: (() => void) | undefined
  let closed: string | undefined
  const hear = (data: RawData, isBinary: boolean) => {
    if (!isBinary) socket.close(1003)
    // Whoever is at the other end has not shown who it is: what it sends ahead takes no more memory than this.
    else if (waiting.length >= MAX_WAITING_FRAMES) socket.terminate()
    else waiting.push(bufferOf(data))
    wake?.()
  }
  const end = (code: number) => {
    closed = `the controller closed the connection (${code})`
    wake?.()
  }
  socket.on('message', hear)
  socket.on('close', end)
  return {
    send(message) {
      const raw = Buffer.from(JSON.stringify(message))
      socket.send(encodeControl(message))
      return raw
    },
    async next<T extends ControllerMessage['t']>(
      kind: T,
      timeoutMs: number,
    ): Promise<Result<Mail<T> | Refusal, MailRefusal>> {
      if (waiting.length === 0 && closed === undefined) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, timeoutMs)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        wake = undefined
      }
      const frame = waiting.shift()
      if (!frame)
        return closed === undefined
          ? refuse('timeout', `no ${kind} within ${timeoutMs} ms`)
          : refuse('unreachable', closed)
      if (frame.length > WIRE.maxPreAuthFrameBytes)
        return refuse('too_large', `${frame.length} bytes before the handshake`)
      const decoded = decodeFrame(frame)
      if (!decoded.ok) return decoded
      if (decoded.value.kind !== 'control') return refuse('malformed', `a ${decoded.value.kind} before the handshake`)
      const raw = decoded.value.bytes
      const parsed = parseControllerMessage(raw)
      if (!parsed.ok) return parsed
      if (parsed.value.t === 'refused') return ok(parsed.value)
      if (parsed.value.t !== kind) return refuse('malformed', `a ${parsed.value.t} where a ${kind} was due`)
      return ok({ message: parsed.value as Extract<ControllerMessage, { t: T }>, raw })
    },
    close() {
      socket.off('message', hear)
      socket.off('close', end)
      return waiting
    },
  }
}

export function isRefusal<T extends ControllerMessage['t']>(mail: Mail<T> | Refusal): mail is Refusal {
  return 't' in mail
}

export function bufferOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data)
}

import { createHash, randomBytes } from 'node:crypto'
import { Fault } from './result.ts'

declare const brand: unique symbol
/** An id of one kind; an id of another kind does not fit in its place. */
export type Id<Kind extends string> = string & { readonly [brand]: Kind }

/** `base32(sha256("fb.agent.v1" || public key))`, 26 characters: an agent is its key. */
export type AgentId = Id<'agent'>
export type CommandId = Id<'command'>
export type AlertId = Id<'alert'>
export type IncidentId = Id<'incident'>
export type SignalId = Id<'signal'>
export type RunId = Id<'run'>
export type EventId = Id<'event'>

const AGENT_ID = /^[a-z2-7]{26}$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
export const AGENT_ID_PATTERN: string = AGENT_ID.source
export const UUID_PATTERN: string = UUID.source

export function agentIdOf(publicKey: Uint8Array): AgentId {
  const digest = createHash('sha256').update('fb.agent.v1').update(publicKey).digest()
  return base32(digest).slice(0, 26) as AgentId
}

export function parseAgentId(text: string): AgentId {
  if (!AGENT_ID.test(text)) throw new Fault('bad_id', `not an agent id: ${JSON.stringify(text.slice(0, 64))}`)
  return text as AgentId
}

export function isUuid(text: string): boolean {
  return UUID.test(text)
}

/** RFC 9562 UUID version 7: sorts by time (ms), the rest is random. */
export function uuidv7(nowMs: number, random: (size: number) => Uint8Array = randomBytes): string {
  const bytes = new Uint8Array(16)
  bytes.set(random(10), 6)
  new DataView(bytes.buffer).setUint32(0, Math.floor(nowMs / 0x10000))
  new DataView(bytes.buffer).setUint16(4, nowMs % 0x10000)
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = Buffer.from(bytes.buffer).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

export function newId<Kind extends string>(nowMs: number, random?: (size: number) => Uint8Array): Id<Kind> {
  return uuidv7(nowMs, random) as Id<Kind>
}

/** RFC 4648 base32, lower case, without padding. */
function base32(bytes: Uint8Array): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
  let out = ''
  let buffer = 0
  let bits = 0
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += alphabet[(buffer >> bits) & 31]
      buffer &= (1 << bits) - 1
    }
  }
  if (bits > 0) out += alphabet[(buffer << (5 - bits)) & 31]
  return out
}

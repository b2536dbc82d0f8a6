import { describe, expect, it } from 'vitest'
import type { HostFacts } from '../wire/messages.ts'
import {
  challengeMessage,
  digest,
  enrolMessage,
  enrolProof,
  isEnrolProof,
  proofMessage,
  sessionOf,
} from './handshake.ts'

const bytes = (text: string) => Buffer.from(text)
const parts = {
  hello: bytes('hello'),
  serverNonce: bytes('nonce'),
  serverTime: '2026-01-01T00:00:00Z',
  channel: bytes('channel'),
}
const facts: HostFacts = { hostname: 'web-1', os: 'linux', architecture: 'x64', addresses: [], agent_version: '0.1.0' }
const enrol = {
  hello: bytes('hello'),
  challenge: bytes('challenge'),
  channel: bytes('channel'),
  publicKey: Buffer.alloc(32, 1),
  facts,
}

describe('handshake', () => {
  it('signs something else as soon as purpose, hello, nonce, time, trust or channel differ', () => {
    const trust = digest(bytes('trust'))
    const messages = [
      challengeMessage('session', parts, trust),
      challengeMessage('enrol', parts, trust),
      challengeMessage('session', { ...parts, hello: bytes('hellp') }, trust),
      challengeMessage('session', { ...parts, serverNonce: bytes('other') }, trust),
      challengeMessage('session', { ...parts, serverTime: '2026-01-01T00:00:01Z' }, trust),
      challengeMessage('session', { ...parts, channel: bytes('man in the middle') }, trust),
      challengeMessage('session', parts, digest(bytes('other trust'))),
      proofMessage(parts.hello, bytes('challenge'), parts.channel),
      proofMessage(parts.hello, bytes('challenge'), bytes('man in the middle')),
    ]
    expect(new Set(messages.map((message) => Buffer.from(message).toString('hex'))).size).toBe(messages.length)
  })

  it('names a session by all that was said', () => {
    const names = [
      sessionOf(bytes('a'), bytes('b'), bytes('c')),
      sessionOf(bytes('x'), bytes('b'), bytes('c')),
      sessionOf(bytes('a'), bytes('x'), bytes('c')),
      sessionOf(bytes('a'), bytes('b'), bytes('x')),
    ]
    expect(new Set(names).size).toBe(4)
  })

  it('accepts an enrolment only for the token, key, host and channel it was made for', () => {
    const tokenKey = digest(bytes('token'))
    const proof = enrolProof(tokenKey, enrol)
    expect(isEnrolProof(tokenKey, enrol, proof)).toBe(true)
    expect(isEnrolProof(digest(bytes('other token')), enrol, proof)).toBe(false)
    expect(isEnrolProof(tokenKey, { ...enrol, publicKey: Buffer.alloc(32, 2) }, proof)).toBe(false)
    expect(isEnrolProof(tokenKey, { ...enrol, channel: bytes('man in the middle') }, proof)).toBe(false)
    expect(isEnrolProof(tokenKey, { ...enrol, facts: { ...facts, hostname: 'web-2' } }, proof)).toBe(false)
    expect(isEnrolProof(tokenKey, enrol, proof.subarray(1))).toBe(false)
    expect(Buffer.from(enrolMessage(enrol)).includes(proof)).toBe(false)
  })
})

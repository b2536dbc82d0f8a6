import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { generateSeed, signingKeyOf, verify } from '../trust/ed25519.ts'
import {
  type BatchHeader,
  batchLines,
  batchMessage,
  batchSequence,
  decodeFrame,
  encodeBatch,
  encodeCommand,
  encodeControl,
  type SealedBatch,
  zstdStored,
} from './frame.ts'
import { WIRE } from './limits.ts'

const EPOCH = '0190a000-0000-7000-8000-000000000000'
const SESSION = 'ab'.repeat(32)
const key = signingKeyOf(generateSeed())
const sign = (message: Uint8Array) => key.sign(message)
const header = (changes: Partial<BatchHeader> = {}): BatchHeader => ({
  epoch: EPOCH,
  class: 'process',
  first_seq: 1,
  last_seq: 2,
  count: 2,
  body_bytes: 16,
  gaps: [],
  ...changes,
})
const lines = [Buffer.from('{"a":1}'), Buffer.from('{"b":2}')]
const batchOf = (frame: Uint8Array): SealedBatch => {
  const decoded = decodeFrame(frame)
  if (!decoded.ok || decoded.value.kind !== 'batch') throw new Error('not a batch')
  return decoded.value.batch
}

describe('frames', () => {
  it('carry a control message there and back, small or large', () => {
    for (const nonce of ['x', 'x'.repeat(10_000)]) {
      const decoded = decodeFrame(encodeControl({ t: 'confirm', nonce }))
      expect(
        decoded.ok && decoded.value.kind === 'control' && JSON.parse(Buffer.from(decoded.value.bytes).toString()),
      ).toEqual({ t: 'confirm', nonce })
    }
  })

  it('carry what is small as zstd without the work of compressing it', () => {
    for (const length of [0, 1, 255, 256, 257, 4_095, 65_535]) {
      const content = Buffer.alloc(length, 'event ')
      expect(zstdDecompressSync(zstdStored(content)).equals(content)).toBe(true)
    }
  })

  it('carry a command as the very bytes', () => {
    expect(decodeFrame(encodeCommand(Buffer.from('{ "x" : 1}')))).toMatchObject({
      ok: true,
      value: { kind: 'command', envelope: Buffer.from('{ "x" : 1}') },
    })
  })

  it('carry a batch whose signature covers session, header and body', () => {
    const batch = batchOf(encodeBatch(header(), lines, SESSION, sign))
    expect(batch.header).toEqual(header())
    const decoded = batchLines(batch)
    expect(decoded.ok && decoded.value.map((line) => Buffer.from(line).toString())).toEqual(['{"a":1}', '{"b":2}'])
    const holds = (session: string, headerBytes: Uint8Array, body: Uint8Array) =>
      verify(key.publicKey, batchMessage(session, headerBytes, body), batch.signature)
    expect(holds(SESSION, batch.headerBytes, batch.body)).toBe(true)
    expect(holds('cd'.repeat(32), batch.headerBytes, batch.body)).toBe(false)
    expect(holds(SESSION, Buffer.from(JSON.stringify(header({ class: 'file' }))), batch.body)).toBe(false)
    expect(holds(SESSION, batch.headerBytes, zstdCompressSync(Buffer.from('other')))).toBe(false)
  })

  it('number events around the gaps', () => {
    const numbers = [
      ...batchSequence(
        header({
          first_seq: 5,
          last_seq: 12,
          count: 4,
          gaps: [
            { from: 5, to: 6, reason: 'spool_full' },
            { from: 9, to: 10, reason: 'invalid' },
          ],
        }),
      ),
    ]
    expect(numbers).toEqual([7, 8, 11, 12])
  })

  it.each<[string, Partial<BatchHeader>]>([
    ['count does not add up', { count: 3 }],
    ['numbers run backwards', { first_seq: 3 }],
    ['number zero', { first_seq: 0, count: 3 }],
    ['gap outside', { gaps: [{ from: 2, to: 3, reason: 'invalid' }] }],
    [
      'gaps out of order',
      {
        last_seq: 4,
        gaps: [
          { from: 3, to: 3, reason: 'invalid' },
          { from: 2, to: 2, reason: 'invalid' },
        ],
      },
    ],
  ])('refuse a batch whose %s', (_, changes) => {
    expect(decodeFrame(encodeBatch(header(changes), lines, SESSION, sign))).toMatchObject({
      ok: false,
      code: 'malformed',
    })
  })

  it('refuse a bomb at the limit, without unpacking it', () => {
    const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024))
    expect(decodeFrame(Buffer.concat([Buffer.of(2), bomb]))).toMatchObject({ ok: false, code: 'too_large' })
    const batch = batchOf(encodeBatch(header(), lines, SESSION, sign))
    expect(batchLines({ ...batch, body: bomb })).toMatchObject({ ok: false, code: 'too_large' })
    expect(bomb.length).toBeLessThan(WIRE.maxFrameBytes)
  })

  it('refuse a body that is not what its header says', () => {
    const batch = batchOf(encodeBatch(header(), lines, SESSION, sign))
    expect(batchLines({ ...batch, header: header({ body_bytes: 17 }) })).toMatchObject({ ok: false, code: 'malformed' })
    expect(batchLines({ ...batch, header: header({ last_seq: 3, count: 3 }) })).toMatchObject({
      ok: false,
      code: 'malformed',
    })
    expect(batchLines({ ...batch, body: Buffer.from('not zstd') })).toMatchObject({ ok: false, code: 'malformed' })
  })

  it('never throw on any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 0, max: 5 }), (bytes, kind) => {
        const decoded = decodeFrame(Buffer.concat([Buffer.of(kind), bytes]))
        if (decoded.ok && decoded.value.kind === 'batch') batchLines(decoded.value.batch)
      }),
      { numRuns: 2_000 },
    )
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDnsMessage } from './dns-message.ts'

const label = (text: string | Buffer) => Buffer.concat([Buffer.of(Buffer.from(text).length), Buffer.from(text)])
const name = (...labels: (string | Buffer)[]) => Buffer.concat([...labels.map(label), Buffer.of(0)])
const u16 = (...values: number[]) => Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]))
const question = (type: number, ...labels: (string | Buffer)[]) => Buffer.concat([name(...labels), u16(type, 1)])
const header = (flags: number, answers: number) => u16(0x1234, flags, 1, answers, 0, 0)
const record = (type: number, data: Buffer, ttl = 60) =>
  Buffer.concat([Buffer.of(0xc0, 12), u16(type, 1, 0, ttl, data.length), data])

describe('a DNS message', () => {
  it('tells what was asked', () => {
    const asked = Buffer.concat([header(0x0100, 0), question(28, 'www', 'example', 'com')])
    expect(parseDnsMessage(asked)).toEqual({
      id: '4660',
      type: 'query',
      question: { name: 'www.example.com', type: 'AAAA', class: 'IN' },
    })
  })

  it('tells the answer with its addresses, texts and the names between, compressed or not', () => {
    const answered = Buffer.concat([
      header(0x8180, 4),
      question(1, 'a', 'test'),
      record(5, name('b', 'test')),
      record(1, Buffer.of(192, 0, 2, 7)),
      record(28, Buffer.concat([Buffer.of(0x20, 1, 0x0d, 0xb8), Buffer.alloc(11), Buffer.of(1)])),
      record(16, Buffer.concat([label('v=x '), label('y')])),
    ])
    expect(parseDnsMessage(answered)).toMatchObject({
      type: 'answer',
      response_code: 'NOERROR',
      resolved_ip: ['192.0.2.7', '2001:db8::1'],
      answers: [
        { name: 'a.test', type: 'CNAME', data: 'b.test', ttl: 60 },
        { type: 'A', data: '192.0.2.7' },
        { type: 'AAAA', data: '2001:db8::1' },
        { type: 'TXT', data: 'v=x y' },
      ],
    })
  })

  it('says that a name is not there', () => {
    const answered = Buffer.concat([header(0x8183, 0), question(1, 'nowhere', 'test')])
    expect(parseDnsMessage(answered)).toMatchObject({ type: 'answer', response_code: 'NXDOMAIN' })
  })

  it('keeps bytes that are no text as escapes, and a dot inside of a label apart from the dots between', () => {
    const asked = Buffer.concat([header(0, 0), question(16, Buffer.of(0x61, 0xff), 'x.y')])
    expect(parseDnsMessage(asked)?.question?.name).toBe(String.raw`a\xff.x\.y`)
  })

  it('gives the records that are whole when the datagram was cut', () => {
    const whole = Buffer.concat([
      header(0x8180, 2),
      question(1, 'a'),
      record(1, Buffer.of(1, 2, 3, 4)),
      record(1, Buffer.of(5, 6, 7, 8)),
    ])
    expect(parseDnsMessage(whole.subarray(0, -2))?.resolved_ip).toEqual(['1.2.3.4'])
  })

  it('is not read in circles', () => {
    const circle = Buffer.concat([header(0, 0), Buffer.of(0xc0, 12), u16(1, 1)])
    expect(parseDnsMessage(circle)).toBeUndefined()
  })

  it('may be anything', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void parseDnsMessage(bytes)))
  })
})

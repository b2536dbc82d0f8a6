import { describe, expect, it } from 'vitest'
import { commandLineOf } from './command-line.ts'
import { textOfBytes } from './escaped-bytes.ts'

describe('text from bytes of the kernel', () => {
  it('keeps UTF-8 as it is and shows every other byte', () => {
    expect(textOfBytes(Buffer.from('grüße 🔥\n'))).toBe('grüße 🔥\n')
    expect(textOfBytes(Buffer.of(0x61, 0xff, 0x62))).toBe(String.raw`a\xffb`)
    expect(textOfBytes(Buffer.of(0xc0, 0xaf))).toBe(String.raw`\xc0\xaf`)
    expect(textOfBytes(Buffer.of(0xed, 0xa0, 0x80))).toBe(String.raw`\xed\xa0\x80`)
    expect(textOfBytes(Buffer.from([0xf0, 0x9f, 0x94]))).toBe(String.raw`\xf0\x9f\x94`)
  })

  it('never makes two different names the same', () => {
    expect(textOfBytes(Buffer.of(0xfe))).not.toBe(textOfBytes(Buffer.of(0xff)))
  })
})

describe('a command line', () => {
  it('keeps empty arguments and does not count the padding of a program that wrote its own title', () => {
    expect(commandLineOf(Buffer.from('a\0\0b\0'))).toMatchObject({ args: ['a', '', 'b'], argsCount: 3, text: 'a  b' })
    expect(commandLineOf(Buffer.from('sshd: root@pts/0\0\0\0\0\0'))).toMatchObject({
      args: ['sshd: root@pts/0'],
      argsCount: 1,
    })
    expect(commandLineOf(Buffer.from('nginx: master'))).toMatchObject({ args: ['nginx: master'], argsCount: 1 })
    expect(commandLineOf(Buffer.alloc(0))).toMatchObject({ args: [], argsCount: 0, text: '' })
  })

  it('counts a hundred thousand arguments and keeps as many as a field may have', () => {
    const line = commandLineOf(Buffer.from('x\0'.repeat(50_000)))
    expect(line.argsCount).toBe(50_000)
    expect(line.args.length).toBe(512)
    expect(line.argsCut?.bytes).toBe(99_999)
    expect(line.text.length).toBe(32_768)
  })
})

import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../../disk/temporary-folder.fake.ts'
import { listFolder, readBounded, readLines, stampOf } from './bounded-file.ts'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)

it('reads a file up to the limit, and not past it', async () => {
  writeFileSync(at('small'), 'abc')
  truncateSync(at('small'), 3)
  expect(await readBounded(at('small'), 3)).toEqual({ ok: true, value: Buffer.from('abc') })
  expect(await readBounded(at('small'), 2)).toMatchObject({ ok: false, code: 'too_large' })
  writeFileSync(at('bytes'), Buffer.from([0x61, 0xff, 0x0a, 0x62]))
  expect(await readLines(at('bytes'), 10)).toEqual({ ok: true, value: ['a\\xff', 'b'] })
})

it('reads files of the kernel, which say that they are empty', async () => {
  const read = await readBounded('/proc/self/status', 100_000)
  expect(read.ok && read.value.toString()).toContain('Name:')
  expect(await readBounded('/proc/self/status', 10)).toMatchObject({ ok: false, code: 'too_large' })
})

it('opens no FIFO, no device, no folder, follows no loop', async () => {
  execFileSync('mkfifo', [at('fifo')])
  mkdirSync(at('sub'))
  symlinkSync(at('loop'), at('loop'))
  symlinkSync('/dev/zero', at('zero'))
  for (const name of ['fifo', 'sub', 'zero'])
    expect(await readBounded(at(name), 10)).toMatchObject({ ok: false, code: 'not_a_file' })
  expect(await readBounded(at('loop'), 10)).toMatchObject({ ok: false, code: 'failed' })
  expect(await readBounded(at('nothing'), 10)).toMatchObject({ ok: false, code: 'absent' })
})

it('gives a file back whole or not at all while somebody writes into it', async () => {
  const contents = ['a', 'b'].map((letter) => letter.repeat(50_000))
  writeFileSync(at('busy'), contents[0] ?? '')
  const writer = { isOver: false }
  const writing = (async () => {
    for (let n = 0; !writer.isOver; n++) {
      writeFileSync(at('busy'), contents[n % 2] ?? '')
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  const codes = new Set<string>()
  for (let n = 0; n < 40; n++) {
    const read = await readBounded(at('busy'), 1_000_000)
    if (!read.ok) codes.add(read.code)
    else expect(new Set(read.value.toString()).size).toBeLessThanOrEqual(1)
  }
  writer.isOver = true
  await writing
  expect([...codes].filter((code) => code !== 'unsteady')).toEqual([])
})

it('lists a folder up to a limit and stamps what is there', async () => {
  mkdirSync(at('many'))
  for (let n = 0; n < 5; n++) writeFileSync(at(`many/${n}`), '')
  expect(await listFolder(at('many'), 3)).toMatchObject({
    names: ['0', '1', '2'],
    why: expect.stringContaining('3 names'),
  })
  expect(await listFolder(at('absent'), 3)).toEqual({ names: [] })
  const before = await stampOf(at('small'))
  writeFileSync(at('small'), 'abcd')
  expect(await stampOf(at('small'))).not.toBe(before)
  expect(await stampOf(at('absent'))).toBe('')
})

import { createHash } from 'node:crypto'
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '@firebreak/shared/clock.ts'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { RecordedEmit } from './collector.fake.ts'
import type { Collector } from './collector.ts'
import { createFileCollector } from './file.ts'
import { Sources } from './sources.ts'
import { createPathFilter, expandPath } from './watched-paths.ts'

const config = {
  enabled: true,
  paths: [] as string[],
  exclude: [] as string[],
  max_files: 1_000,
  max_depth: 3,
  hash_max_bytes: 1 << 20,
  rename_window_ms: 100,
}
let folder = ''
let collector: Collector | undefined
let emit = new RecordedEmit()
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'files-'))
  emit = new RecordedEmit()
})
afterEach(async () => {
  await collector?.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function watch(changes: Partial<typeof config> = {}) {
  collector = createFileCollector(
    { clock: systemClock, hostName: 'web-1', root: '/', sources: new Sources(systemClock) },
    { ...config, paths: [folder], ...changes },
  )
  await collector.start(emit)
}
const find = (action: string, path: string) =>
  emit.find(`${action} of ${path}`, (event) => event.event.action === action && event.file?.path === path)
const sha256 = (content: string) => createHash('sha256').update(content).digest('hex')

it('says nothing about what was there before', async () => {
  writeFileSync(join(folder, 'old'), 'x')
  await watch()
  writeFileSync(join(folder, 'new'), 'x')
  await find('file-created', join(folder, 'new'))
  expect(emit.events.map((event) => event.file?.name)).toEqual(['new'])
})

it('tells a new file with owner, mode, size and digest, and a later write', async () => {
  await watch()
  const path = join(folder, 'drop.sh')
  writeFileSync(path, '#!/bin/sh\n', { mode: 0o644 })
  const created = await find('file-created', path)
  expect(created.event).toMatchObject({ category: ['file'], type: ['creation'] })
  expect(created.file).toMatchObject({
    name: 'drop.sh',
    directory: folder,
    extension: 'sh',
    type: 'file',
    mode: '0644',
    uid: String(process.getuid?.() ?? 0),
  })
  writeFileSync(path, '#!/bin/sh\nid\n')
  await emit.find('the digest of the second content', (event) => event.file?.hash?.sha256 === sha256('#!/bin/sh\nid\n'))
})

it('tells a change of the mode, with the mode before', async () => {
  const path = join(folder, 'tool')
  writeFileSync(path, 'x', { mode: 0o644 })
  await watch()
  chmodSync(path, 0o4755)
  const event = await find('file-mode-changed', path)
  expect(event.file).toMatchObject({ mode: '4755', previous: { mode: '0644' } })
})

it('tells a rename as one event, within a folder and across folders, and no deletion', async () => {
  mkdirSync(join(folder, 'sub'))
  const [a, b, c] = ['a', 'b', 'sub/c'].map((name) => join(folder, name)) as [string, string, string]
  writeFileSync(a, 'x')
  await watch()
  renameSync(a, b)
  expect((await find('file-renamed', b)).file?.previous?.path).toBe(a)
  renameSync(b, c)
  expect((await find('file-renamed', c)).file?.previous?.path).toBe(b)
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(emit.events.map((event) => event.event.action)).toEqual(['file-renamed', 'file-renamed'])
})

it('tells a deletion, and a second name of the same file as a new file', async () => {
  const path = join(folder, 'secret')
  writeFileSync(path, 'x')
  await watch()
  linkSync(path, join(folder, 'second'))
  await find('file-created', join(folder, 'second'))
  rmSync(path)
  expect((await find('file-deleted', path)).event.type).toEqual(['deletion'])
})

it('looks at a link, never through it', async () => {
  await watch()
  symlinkSync('/etc/shadow', join(folder, 'link'))
  const event = await find('file-created', join(folder, 'link'))
  expect(event.file?.type).toBe('symlink')
  expect(event.file?.hash).toBeUndefined()
})

it('leaves out a time that no calendar of ours holds', async () => {
  await watch()
  const path = join(folder, 'future')
  writeFileSync(path, 'x')
  utimesSync(path, 1, 400_000_000_000)
  await emit.find('the file', (event) => event.file?.path === path)
})

it('gives no digest to a file above the limit', async () => {
  await watch({ hash_max_bytes: 10 })
  writeFileSync(join(folder, 'large'), 'x'.repeat(11))
  expect((await find('file-created', join(folder, 'large'))).file?.hash).toBeUndefined()
})

it('watches no more than it may, and says so', async () => {
  for (let n = 0; n < 20; n++) writeFileSync(join(folder, `f${n}`), '')
  await watch({ max_files: 5 })
  expect(collector?.health()).toMatchObject({ state: 'degraded', why: expect.stringContaining('max_files (5)') })
})

it('does not look deeper than it is told, nor into what is excluded', async () => {
  mkdirSync(join(folder, '1/2/3/4/5'), { recursive: true })
  mkdirSync(join(folder, 'skip'))
  await watch({ exclude: [join(folder, 'sk*')] })
  writeFileSync(join(folder, '1/2/3/4/5/deep'), '')
  writeFileSync(join(folder, 'skip/hidden'), '')
  writeFileSync(join(folder, '1/2/3/seen'), '')
  await find('file-created', join(folder, '1/2/3/seen'))
  expect(emit.events.every((event) => event.file?.name === 'seen')).toBe(true)
})

it('reads * as a piece of one path part, and waits for what does not exist yet', () => {
  for (const name of ['alice', 'bob']) mkdirSync(join(folder, 'home', name), { recursive: true })
  expect(expandPath('/home/*/.ssh', folder).sort()).toEqual(
    ['alice', 'bob'].map((name) => join(folder, 'home', name, '.ssh')),
  )
  expect(expandPath('/etc/cron[x]', folder)).toEqual([join(folder, 'etc/cron[x]')])
  const isExcluded = createPathFilter(['/tmp/systemd-private-*'])
  expect(isExcluded('/tmp/systemd-private-1/x')).toBe(true)
  expect(isExcluded('/tmp/systemd')).toBe(false)
})

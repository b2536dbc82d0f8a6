import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { packTar } from 'modern-tar'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startCli } from './cli.fixture.ts'
import type { ImportReport } from './events-import.ts'
import { PaceClock, shiftToNow } from './import-pace.ts'

const record = (at: string, more: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({
    EventID: 1,
    Channel: 'Microsoft-Windows-Sysmon/Operational',
    Hostname: 'WS6',
    UtcTime: at,
    Image: String.raw`C:\a.exe`,
    ...more,
  })
const ATTACK = [
  record('2020-06-10 02:51:04.000'),
  'no JSON',
  record('2020-06-10 02:51:14.000', { Hostname: 'DC1' }),
  record('2020-06-10 02:53:04.000'),
].join('\n')
const AUDIT = [
  'type=SYSCALL msg=audit(1604994496.155:1): arch=c000003e syscall=59 success=yes pid=7 exe="/usr/bin/id"',
  'type=EXECVE msg=audit(1604994496.155:1): argc=1 a0="id"',
  'type=EOE msg=audit(1604994496.155:1): ',
].join('\n')

let cli: Awaited<ReturnType<typeof startCli>>
let folder: string
beforeEach(async () => {
  cli = await startCli()
  folder = await mkdtemp(join(tmpdir(), 'events-import-'))
})
afterEach(async () => {
  await cli.stop()
  await rm(folder, { recursive: true })
})

const put = async (name: string, content: string | Uint8Array) => {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}
const stored = async () =>
  (await cli.door.state.db.selectFrom('ingest_batches').select('count').execute()).reduce(
    (sum, { count }) => sum + count,
    0,
  )

describe('firebreak events import', () => {
  it('stores what it can, counts what it refuses with the line, and ends with 8 when something was refused', async () => {
    const ran = await cli.run(['events', 'import', await put('attack.jsonl', ATTACK), await put('audit.log', AUDIT)])
    expect(ran.code).toBe(8)
    expect(ran.out).toContain('attack.jsonl: 1 refused, not_json')
    expect(ran.out).toContain('  line 2: ')
    expect(ran.out).toContain('6 records = 5 stored (4 events of 3 hosts) + 1 refused')
    expect(await stored()).toBe(4)
  })

  it('takes the same content in once, however it is packed, and says so', async () => {
    const first = await cli.run(['events', 'import', '--json', await put('a.jsonl', ATTACK)])
    for (const [name, content] of [
      ['b.jsonl.gz', gzipSync(ATTACK)],
      ['c.jsonl.zst', zstdCompressSync(ATTACK)],
    ] as const) {
      const again = await cli.run(['events', 'import', '--json', await put(name, content)])
      expect((again.json() as ImportReport).files).toMatchObject([{ state: 'known', records: 4 }])
    }
    expect((first.json() as ImportReport).files[0]?.state).toBe('stored')
    expect(await stored()).toBe(3)
    const asked = await cli.run(['events', 'import', '--json', '--again', join(folder, 'a.jsonl')])
    expect((asked.json() as ImportReport).files[0]?.state).toBe('stored')
    expect(await stored()).toBe(6)
  })

  it('takes the members of a tar one by one, and goes on past a file that cannot be read', async () => {
    const tar = await packTar([
      { header: { name: './one.jsonl', size: ATTACK.length, type: 'file' }, body: ATTACK },
      { header: { name: 'folder', size: 0, type: 'directory' } },
      { header: { name: '../../two.log', size: AUDIT.length, type: 'file' }, body: AUDIT },
    ])
    const broken = await put('broken.gz', gzipSync(ATTACK).subarray(0, 40))
    const ran = await cli.run(['events', 'import', '--json', broken, await put('all.tar.zst', zstdCompressSync(tar))])
    expect(ran.code).toBe(8)
    expect((ran.json() as ImportReport).files.map(({ file, state }) => [file, state])).toEqual([
      ['broken.gz', 'failed'],
      ['all.tar.zst!one.jsonl', 'stored'],
      ['all.tar.zst!../../two.log', 'stored'],
    ])
  })

  it('only looks with --dry-run, and counts the same', async () => {
    const path = await put('attack.jsonl', ATTACK)
    const looked = (
      await cli.run(['events', 'import', '--json', '--dry-run', path], { env: { FIREBREAK_API: 'http://127.0.0.1:9' } })
    ).json() as ImportReport
    expect(await stored()).toBe(0)
    const done = (await cli.run(['events', 'import', '--json', path])).json() as ImportReport
    const { files: _looked, ...counts } = looked
    const { files: _done, ...others } = done
    expect(counts).toEqual(others)
    expect(counts).toMatchObject({
      records: 4,
      stored_records: 3,
      refused_records: 1,
      refused: { not_json: 1 },
      hosts: 2,
    })
  })

  it('keeps the gaps of the recording at the original pace, shorter ones at a faster', async () => {
    const path = await put('attack.jsonl', ATTACK)
    const progress: number[] = []
    const onSleep = async () => {
      const [row] = await cli.door.state.db
        .selectFrom('imports')
        .select('lines')
        .orderBy('attempt', 'desc')
        .limit(1)
        .execute()
      progress.push(row?.lines ?? 0)
    }
    const now = Date.UTC(2026, 10, 24, 12)
    await cli.run(['events', 'import', '--pace', 'original', path], { onSleep, now })
    // The broken line has no time of its own: it goes with the one before it.
    expect(progress).toEqual([2, 3])
    progress.length = 0
    await cli.run(['events', 'import', '--pace', '10x', '--again', path], { onSleep, now })
    expect(progress).toEqual([2, 3])
    const clock = new PaceClock(10, 1_000)
    expect([clock.due(0), clock.due(10_000), clock.due(undefined), clock.due(5_000), clock.due(120_000)]).toEqual([
      1_000, 2_000, 2_000, 2_000, 13_000,
    ])
    expect((await cli.run(['events', 'import', '--pace', 'fast', path])).code).toBe(2)
  })

  it('moves the times so that the recording ends when its replay does', async () => {
    const span = { firstMs: 1_000, lastMs: 121_000 }
    expect(span.lastMs + shiftToNow(span, Number.POSITIVE_INFINITY, 5_000_000)).toBe(5_000_000)
    expect(span.firstMs + shiftToNow(span, 1, 5_000_000)).toBe(5_000_000)
    expect(span.lastMs + shiftToNow(span, 10, 5_000_000)).toBe(5_012_000)
    const now = Date.UTC(2026, 10, 24, 12)
    await cli.run(['events', 'import', '--shift-time', 'now', await put('attack.jsonl', ATTACK)], { now })
    const row = await cli.door.state.db.selectFrom('imports').select('shift_ms').executeTakeFirstOrThrow()
    expect(Date.UTC(2020, 5, 10, 2, 53, 4) + (row.shift_ms ?? 0)).toBe(now)
  })

  it('gives all records to the host that is named, and nothing to one with an impossible name', async () => {
    const path = await put('attack.jsonl', ATTACK)
    const ran = await cli.run(['events', 'import', '--json', '--host', 'web-1', path])
    expect((ran.json() as ImportReport).hosts).toBe(1)
    expect((await cli.run(['events', 'import', '--host', 'a b', path])).code).toBe(2)
    const hosts = await cli.run(['hosts', 'list'])
    expect(hosts.out).toMatch(/web-1\s+imported/)
  })
})

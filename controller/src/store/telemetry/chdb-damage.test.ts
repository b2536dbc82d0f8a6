import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  cpSync,
  globSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
  closeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openTelemetryStore } from './chdb-store.ts'
import { EVENTS } from './event-table.ts'
import { ledgerPath } from './part-ledger.ts'

let root: string
let sound: string
beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'fb-damage-'))
  sound = join(root, 'sound')
  const store = await openTelemetryStore(sound)
  const epoch = randomUUID()
  for (const day of ['01', '02', '03'])
    await store.insert(
      day,
      Array.from({ length: 300 }, (_, i) => ({
        agentId: `agent-${i % 3}`,
        epoch,
        class: 'process',
        seq: Number(day) * 1_000 + i,
        ingestedAt: `2026-03-${day}T10:00:00.000Z`,
        json: Buffer.from(
          JSON.stringify({
            '@timestamp': `2026-03-${day}T09:00:00.000Z`,
            event: { category: ['process'], type: ['start'], action: 'x' },
            process: { name: `n${i}`, command_line: `run ${randomUUID()}` },
          }),
        ),
      })),
    )
  await store.close()
}, 60_000)
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A copy of the store, and the folder of one of its parts. */
function copy(name: string): { readonly dir: string; readonly part: string } {
  const dir = join(root, name)
  cpSync(sound, dir, { recursive: true })
  const part = globSync('store/*/*/*_2_2_0', { cwd: dir })
    .map((path) => join(dir, path))
    .find((path) => statSync(path).isDirectory())
  if (part === undefined) throw new Error('the store has no second part')
  return { dir, part }
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const file = openSync(path, 'r+')
  writeSync(file, bytes, 0, bytes.length, at)
  closeSync(file)
}

/** Opens one after the other in a process of its own: whether the engine survives is part of the question. A line for each. */
function openInChild(dirs: readonly string[]): readonly string[] {
  const script = `import { openTelemetryStore } from ${JSON.stringify(new URL('chdb-store.ts', import.meta.url).href)}
    for (const dir of process.argv.slice(1))
      try { const store = await openTelemetryStore(dir); console.log('opened', await store.count()); await store.close() }
      catch (fault) { console.log(fault.code, fault.message) }`
  const run = spawnSync(process.execPath, ['--input-type=module-typescript', '-e', script, ...dirs], {
    encoding: 'utf8',
  })
  expect([run.signal, run.status]).toEqual([null, 0])
  return run.stdout.trimEnd().split('\n')
}

const DAMAGES: readonly [string, (of: { readonly dir: string; readonly part: string }) => void, RegExp][] = [
  [
    'a cut file',
    ({ part }) => truncateSync(join(part, 'data.bin'), 1_000),
    /^telemetry_damaged .*cannot be read \(broken-on-start/,
  ],
  [
    'flipped bytes',
    ({ part }) => overwrite(join(part, 'data.bin'), 3_000, Buffer.alloc(4, 0xff)),
    /^telemetry_damaged .*damaged \(.*[Cc]hecksum/,
  ],
  [
    'flipped bytes of an index',
    ({ part }) => overwrite(join(part, 'skp_idx_words.dct.idx'), 100, Buffer.alloc(4, 0xff)),
    /^telemetry_damaged/,
  ],
  ['a missing list of columns', ({ part }) => rmSync(join(part, 'columns.txt')), /^telemetry_damaged .*cannot be read/],
  ['a missing file of data', ({ part }) => rmSync(join(part, 'data.bin')), /^telemetry_damaged .*cannot be read/],
  [
    'a missing part',
    ({ part }) => rmSync(part, { recursive: true }),
    /^telemetry_damaged .*2026-03-\d\d process: 0 of 300 events/,
  ],
  [
    'a missing definition',
    ({ dir }) => rmSync(definitionOf(dir)),
    /^telemetry_damaged .*the definition of events is missing/,
  ],
  [
    'an unreadable definition',
    ({ dir }) => writeFileSync(definitionOf(dir), 'garbage'),
    /^telemetry_unreadable .*firebreak restore/,
  ],
]

describe('a telemetry store that was damaged on disk', () => {
  it('is refused at each start, with what is wrong and the way to restore', () => {
    const dirs = DAMAGES.map(([name, damage]) => {
      const of = copy(name.replaceAll(' ', '-'))
      damage(of)
      return of.dir
    })
    for (const time of ['first', 'second']) {
      const said = openInChild(dirs)
      for (const [i, [name, , expected]] of DAMAGES.entries()) {
        expect([name, said[i]]).toEqual([
          name,
          time === 'first' ? expect.stringMatching(expected) : expect.stringMatching(/^telemetry_/),
        ])
        expect(said[i]).toContain('firebreak restore')
      }
    }
  }, 60_000)

  it('never kills the process, whichever file is hurt, and is opened where nothing is lost by it', () => {
    const again = copy('checksums')
    rmSync(join(again.part, 'checksums.txt'))
    const files = readdirSync(copy('list').part).filter((_, at) => at % 4 === 0)
    const dirs = files.map((file, i) => {
      const { dir, part } = copy(`file-${i}`)
      const path = join(part, file)
      overwrite(path, Math.floor(statSync(path).size / 2), Buffer.of(0xa5, 0x5a, 0xff))
      return dir
    })
    const [first, ...others] = openInChild([again.dir, ...dirs])
    expect(first).toBe('opened 900')
    expect(others.length).toBe(files.length)
    for (const line of others) expect(line).toMatch(/^(telemetry_damaged|opened 900)/)
  }, 60_000)

  it('opens again without those events once the operator has moved away what the message names', () => {
    const { dir, part } = copy('moved')
    truncateSync(join(part, 'data.bin'), 1_000)
    const [said = ''] = openInChild([dir])
    const files = /move away (.*)$/m.exec(said)?.[1]?.split(' and ') ?? []
    expect(files).toContain(ledgerPath(dir))
    for (const file of files) rmSync(file, { recursive: true })
    expect(openInChild([dir])).toEqual(['opened 600'])
  }, 60_000)

  it('says that it is damaged when a search meets damage that came later', async () => {
    const { dir, part } = copy('later')
    const store = await openTelemetryStore(dir)
    overwrite(join(part, 'data.bin'), 3_000, Buffer.alloc(40, 0xff))
    const asked = store.select({ sql: `select sum(length(raw)) as n from ${EVENTS}`, params: {} })
    await expect(asked).rejects.toMatchObject({ code: 'telemetry_damaged' })
    expect(store.healthy()).toBe(false)
    await store.close()
  })
})

function definitionOf(dir: string): string {
  const [path] = globSync('store/*/*/events.sql', { cwd: dir })
  if (path === undefined) throw new Error('the store has no definition of events')
  return join(dir, path)
}

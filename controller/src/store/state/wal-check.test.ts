import { closeSync, copyFileSync, mkdtempSync, openSync, rmSync, statSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStateStore } from './sqlite-store.ts'
import { walDamage } from './wal-check.ts'

const PAGE = 4_096
const FRAME = PAGE + 24
let dir: string
let path: string
let live: DatabaseSync

/** A log with many commits in it, as a killed controller leaves it. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'fb-wal-'))
  const source = join(dir, 'live.db')
  await (await openStateStore(source)).close()
  live = new DatabaseSync(source)
  live.exec('pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 0')
  for (let i = 0; i < 20; i++) live.exec(`insert into meta (key, value) values ('k${i}', '${'x'.repeat(3_000)}')`)
  path = join(dir, 'copy.db')
})
afterAll(() => {
  live.close()
  rmSync(dir, { recursive: true, force: true })
})

function fresh(): number {
  copyFileSync(join(dir, 'live.db'), path)
  copyFileSync(join(dir, 'live.db-wal'), `${path}-wal`)
  rmSync(`${path}-shm`, { force: true })
  return statSync(`${path}-wal`).size
}
function flip(at: number): void {
  const file = openSync(`${path}-wal`, 'r+')
  writeSync(file, Buffer.of(0xa5, 0x5a, 0xff), 0, 3, at)
  closeSync(file)
}

describe('the write-ahead log of the state', () => {
  it('is sound when it is whole, and when the last commit was torn by a crash', () => {
    const size = fresh()
    expect(walDamage(path)).toBeUndefined()
    truncateSync(`${path}-wal`, size - 1_000)
    expect(walDamage(path)).toBeUndefined()
    fresh()
    flip(size - 2_000)
    expect(walDamage(path)).toBeUndefined()
    expect(walDamage(join(dir, 'nothing.db'))).toBeUndefined()
  })

  it.each([
    ['the content of an early commit', 32 + FRAME * 2 + 24 + 1_000],
    ['the head of an early commit', 32 + FRAME * 2 + 1],
    ['the round that an early commit belongs to', 32 + FRAME * 2 + 9],
    ['its own head', 17],
  ])('is refused at open when %s was damaged, instead of forgetting all commits since', async (_, at) => {
    fresh()
    flip(at)
    await expect(openStateStore(path)).rejects.toMatchObject({
      code: 'state_damaged',
      message: expect.stringContaining('restore it from a backup') as string,
    })
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(32)
  })
})

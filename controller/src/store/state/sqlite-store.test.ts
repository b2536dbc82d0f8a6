import {
  closeSync,
  fdatasyncSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Kysely, sql } from 'kysely'
import { Migrator } from 'kysely/migration'
import { MIGRATIONS } from './migrations.ts'
import { nodeSqliteDialect } from './node-sqlite-dialect.ts'
import { openStateStore } from './sqlite-store.ts'
import type { StateStore, Tx } from './state-store.ts'

let dir: string
let path: string
let store: StateStore | undefined

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fb-state-'))
  path = join(dir, 'state.db')
})
afterEach(async () => {
  await store?.close()
  store = undefined
  rmSync(dir, { recursive: true, force: true })
})

const put =
  (key: string, value = 'v') =>
  async (tx: Tx) => {
    await tx.insertInto('meta').values({ key, value }).execute()
  }
const keys = async (from: StateStore) =>
  (await from.db.selectFrom('meta').select('key').orderBy('key').execute()).map((row) => row.key)

describe('the state store', () => {
  it('shows nothing that is not committed, and everything that is after a restart', async () => {
    store = await openStateStore(path)
    const seen = await store.write(async (tx) => {
      await put('a')(tx)
      return (await keys(store as StateStore)).length
    })
    expect(seen).toBe(0)
    expect(await keys(store)).toEqual(['a'])
    await store.close()
    store = await openStateStore(path)
    expect(await keys(store)).toEqual(['a'])
  })

  it('takes back only the work that threw when several share one commit', async () => {
    store = await openStateStore(path)
    const results = await Promise.allSettled([
      store.write(put('a')),
      store.write(async (tx) => {
        await put('b')(tx)
        throw new Error('no')
      }),
      store.write(put('c')),
      store.write(put('a')),
    ])
    expect(results.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected'])
    expect(await keys(store)).toEqual(['a', 'c'])
    expect(store.healthy()).toBe(true)
  })

  it('says so when the disk is full, keeps what was there, and recovers by itself', async () => {
    store = await openStateStore(path)
    await store.write(put('a'))
    await store.write(async (tx) => {
      const { rows } = await sql<{ page_count: number }>`pragma page_count`.execute(tx)
      await sql`pragma max_page_count = ${sql.lit(rows[0]?.page_count ?? 0)}`.execute(tx)
    })
    const big = 'x'.repeat(1_000_000)
    const results = await Promise.allSettled([store.write(put('b')), store.write(put('big', big))])
    expect(results.map((r) => r.status)).toEqual(['rejected', 'rejected'])
    await expect(store.write(put('big', big))).rejects.toMatchObject({ code: 'state_unwritable' })
    expect(store.healthy()).toBe(false)
    await expect.poll(() => store?.healthy(), { timeout: 5_000 }).toBe(true)
    expect((await keys(store)).filter((key) => key !== 'last_probe')).toEqual(['a'])
  })

  it('says that something is in only after the disk has it, and goes on working meanwhile', async () => {
    const flushes: (() => void)[] = []
    store = await openStateStore(path, (file) => {
      fdatasyncSync(file)
      return flushes.length < 1
        ? Promise.resolve(void flushes.push(() => {}))
        : new Promise((done) => flushes.push(done))
    })
    const said: string[] = []
    const first = store.write(put('a')).then(() => said.push('a'))
    await expect.poll(() => flushes.length).toBe(2)
    const second = store.write(put('b')).then(() => said.push('b'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    // No second commit while the first may still be torn: a power cut would look like damage.
    expect([said, await keys(store), flushes.length]).toEqual([[], ['a'], 2])
    flushes[1]?.()
    await first
    await expect.poll(() => flushes.length).toBe(3)
    expect(said).toEqual(['a'])
    flushes[2]?.()
    await second
    expect(await keys(store)).toEqual(['a', 'b'])
  })

  it('takes nothing more once the disk has failed to flush, and says what to do', async () => {
    let isFailing = false
    store = await openStateStore(path, async () => {
      if (isFailing) throw new Error('EIO: i/o error, fdatasync')
    })
    await store.write(put('a'))
    isFailing = true
    const lost = { code: 'state_unwritable', message: expect.stringMatching(/EIO.*started again/) as unknown }
    await expect(store.write(put('b'))).rejects.toMatchObject(lost)
    isFailing = false
    await expect(store.write(put('c'))).rejects.toMatchObject(lost)
    expect(store.healthy()).toBe(false)
  })

  it('refuses to start on a damaged file and leaves it as it is', async () => {
    store = await openStateStore(path)
    await store.write(async (tx) => {
      for (let i = 0; i < 400; i++) await put(`key-${i}`, 'v'.repeat(400))(tx)
    })
    await store.close()
    store = undefined
    const descriptor = openSync(path, 'r+')
    writeSync(descriptor, Buffer.alloc(8_192, 0xa5), 0, 8_192, 4_096 * 20)
    closeSync(descriptor)
    const before = readFileSync(path)
    await expect(openStateStore(path)).rejects.toMatchObject({ code: 'state_damaged' })
    expect(readFileSync(path).equals(before)).toBe(true)
    writeFileSync(path, 'this is no database at all, whatever its name says'.repeat(100))
    await expect(openStateStore(path)).rejects.toMatchObject({ code: 'state_damaged' })
    truncateSync(path, 0)
  })

  it('refuses a state that a newer version wrote', async () => {
    store = await openStateStore(path)
    await store.close()
    store = undefined
    const raw = new DatabaseSync(path)
    raw.exec("insert into kysely_migration (name, timestamp) values ('9999-later', '2027')")
    raw.close()
    await expect(openStateStore(path)).rejects.toMatchObject({ code: 'state_newer' })
  })

  it('keeps the events that wait in a state of the version before, and lets their text go with their batch', async () => {
    const raw = new DatabaseSync(path)
    const db = new Kysely<never>({ dialect: nodeSqliteDialect(raw) })
    const { '0001-first-tables': first } = MIGRATIONS
    const migrator = new Migrator({ db, provider: { getMigrations: async () => ({ '0001-first-tables': first! }) } })
    expect((await migrator.migrateToLatest()).error).toBeUndefined()
    raw.exec(`pragma foreign_keys = off; insert into ingest_batches
      (id, agent_id, epoch, class, first_seq, last_seq, count, gaps, body, body_bytes, received_at)
      values (7, 'a', 'e', 'process', 1, 1, 1, '[]', x'0102', 9, 't')`)
    await db.destroy()
    store = await openStateStore(path)
    const bodies = () => store?.db.selectFrom('ingest_bodies').selectAll().execute()
    expect(await bodies()).toEqual([{ batch_id: 7, body: Uint8Array.of(1, 2) }])
    await store.write((tx) => tx.deleteFrom('ingest_batches').execute())
    expect(await bodies()).toEqual([])
  })

  it('keeps a token from being used more often than it may', async () => {
    store = await openStateStore(path)
    const token = {
      token_id: 't',
      key_wrapped: '',
      group_name: '',
      created_by: '',
      created_at: '',
      expires_at: '',
      max_uses: 1,
      uses: 2,
      revoked_at: null,
    }
    await expect(store.write(async (tx) => tx.insertInto('join_tokens').values(token).execute())).rejects.toThrow(
      /join_tokens_uses/,
    )
  })
})

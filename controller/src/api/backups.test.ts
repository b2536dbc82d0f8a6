import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BackupView } from '../store/backup/index.ts'
import { type ApiUnderTest, fitsItsSchema, startApi } from './api.fixture.ts'

let door: ApiUnderTest
beforeAll(async () => {
  door = await startApi()
})
afterAll(async () => {
  await door.stop()
})

const ask = async (name: unknown, role: 'admin' | 'engineer' = 'admin') =>
  await door.ask(role, { method: 'POST', url: '/api/v1/system/backups', payload: { name } })

const shown = async (name: string) =>
  (await door.ask('admin', { url: `/api/v1/system/backups/${name}` })).json<BackupView>()

describe('a backup that is asked for', () => {
  it('is made in the folder of backups, can be followed to its end, and stands in the audit log', async () => {
    const begun = await ask('first')
    expect([begun.statusCode, begun.json<BackupView>()]).toEqual([202, expect.objectContaining({ state: 'running' })])
    await expect.poll(async () => (await shown('first')).state, { timeout: 10_000 }).toBe('done')
    const view = await shown('first')
    expect(fitsItsSchema(door.api, 'GET', '/api/v1/system/backups/:name', 200, view)).toEqual([])
    expect(existsSync(join(view.path, 'manifest.json'))).toBe(true)
    const audited = await door.state.db
      .selectFrom('audit')
      .select(['actor', 'action'])
      .where('object_type', '=', 'backup')
      .execute()
    expect(audited).toEqual([
      { actor: 'user:admin-1', action: 'backup.store.started' },
      { actor: 'user:admin-1', action: 'backup.store.made' },
    ])
    expect((await ask('first')).json()).toMatchObject({ code: 'backup_exists' })
  })

  it.each(['../outside', '/etc/x', '.hidden', '', 'a/b', 7])('is not written to %s', async (name) => {
    expect((await ask(name)).statusCode).toBe(400)
  })

  it('is the only one while it is being made', async () => {
    const both = await Promise.all([ask('one'), ask('other')])
    expect(both.map(({ statusCode }) => statusCode).toSorted((a, b) => a - b)).toEqual([202, 409])
    expect(both.find(({ statusCode }) => statusCode === 409)?.json()).toMatchObject({ code: 'backup_running' })
    await expect.poll(async () => (await shown(both[0]?.statusCode === 202 ? 'one' : 'other')).state).toBe('done')
  })

  it('is the administrator’s alone', async () => {
    expect((await ask('second', 'engineer')).statusCode).toBe(403)
  })

  it('that could not be made says why, and nothing of it lies in the folder', async () => {
    await door.state.write((tx) =>
      tx
        .updateTable('audit')
        .set({ sha256: '0'.repeat(64) })
        .where('n', '=', 1)
        .execute(),
    )
    await ask('third')
    await expect.poll(async () => (await shown('third')).state).toBe('failed')
    const { why, path } = await shown('third')
    expect(why).toContain('the audit log does not hold')
    expect(existsSync(path)).toBe(false)
  })
})

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

describe('a backup that is asked for', () => {
  it('is made in the folder of backups, can be followed to its end, and stands in the audit log', async () => {
    const begun = await ask('first')
    expect([begun.statusCode, begun.json<BackupView>()]).toEqual([202, expect.objectContaining({ state: 'running' })])
    const shown = async () => (await door.ask('admin', { url: '/api/v1/system/backups/first' })).json<BackupView>()
    await expect.poll(async () => (await shown()).state, { timeout: 10_000 }).toBe('done')
    const view = await shown()
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

  it('is the administrator’s alone', async () => {
    expect((await ask('second', 'engineer')).statusCode).toBe(403)
  })
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ClickhouseServer, openClickhouseEngine } from './clickhouse-engine.ts'
import { type RigServer, startClickhouseRig } from './clickhouse-server.rig.ts'
import { openStore } from './clickhouse-store.ts'
import { DATABASE } from './event-table.ts'
import { LOOK_FIRST_AT, telemetryContract } from './telemetry-store.contract.ts'

telemetryContract('over HTTP', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fb-clickhouse-'))
  const rig = await startClickhouseRig(dir, 'firebreak', 'secret')
  return {
    open: async () =>
      await openStore(
        await openClickhouseEngine({ url: rig.url, username: 'firebreak', password: 'secret' }),
        undefined,
        LOOK_FIRST_AT,
      ),
    end: async () => {
      await rig.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
})

/** A server of one's own: what it has in its database `firebreak` is dropped. */
const url = process.env['FIREBREAK_TEST_CLICKHOUSE_URL']
if (url !== undefined) {
  const server: ClickhouseServer = {
    url,
    username: process.env['FIREBREAK_TEST_CLICKHOUSE_USER'] ?? 'default',
    password: process.env['FIREBREAK_TEST_CLICKHOUSE_PASSWORD'] ?? '',
  }
  telemetryContract(`at ${url}`, async () => {
    const drop = async () => {
      const engine = await openClickhouseEngine(server)
      await engine.command(`drop database if exists ${DATABASE} sync`)
      await engine.close()
    }
    await drop()
    return {
      open: async () => await openStore(await openClickhouseEngine(server), undefined, LOOK_FIRST_AT),
      end: drop,
    }
  })
}

describe('a ClickHouse server that is not as it should be', () => {
  let dir: string
  let rig: RigServer
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'fb-clickhouse-'))
    rig = await startClickhouseRig(dir, 'firebreak', 'secret')
  })
  afterAll(async () => {
    rmSync(dir, { recursive: true, force: true })
  })

  it('is named when it does not let us in, without the password', async () => {
    const opening = openClickhouseEngine({ url: rig.url, username: 'firebreak', password: 'wrong-word' })
    await expect(opening).rejects.toMatchObject({
      code: 'telemetry_refused',
      message: expect.stringContaining('does not let firebreak in') as string,
    })
    await expect(opening).rejects.not.toMatchObject({ message: expect.stringContaining('wrong-word') as string })
  })

  it('is named when it does not answer, and an insert fails without being taken', async () => {
    const store = await openStore(
      await openClickhouseEngine({ url: rig.url, username: 'firebreak', password: 'secret' }),
    )
    await rig.stop()
    const line = {
      agentId: 'a',
      epoch: '01a20d6d-5b90-7c9b-8378-2e328fd2af15',
      class: 'process',
      seq: 1,
      ingestedAt: '2026-01-01T00:00:00.000Z',
    }
    await expect(store.insert('t', [{ ...line, json: Buffer.from('{}') }])).rejects.toMatchObject({
      code: 'telemetry_unwritable',
    })
    expect(store.healthy()).toBe(false)
    await expect(store.count()).rejects.toMatchObject({ code: 'telemetry_unreadable' })
    await store.close()
    await expect(
      openClickhouseEngine({ url: rig.url, username: 'firebreak', password: 'secret' }),
    ).rejects.toMatchObject({
      code: 'telemetry_unreachable',
    })
  })
})
